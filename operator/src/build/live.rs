//! What of `spec.workers` reaches pods that run: told to their primaries, and given to new pods by the environment. It is no part of a
//! revision, so that a change of it replaces no pod.

use crds::{LIVE_FIELDS, Restart, WorkerCount, Workers};
use primary_protocol::remote::{
    LiveAdaptive, LiveCount, LiveHang, LiveRecycle, LiveRestart, LiveWorkers, Wanted, WantedReload,
};
use serde_json::Value;

use crate::text::short_hash;

/// What a primary is to be told: only what differs from the defaults, so that one of an older version is not told of fields that it does not
/// know and the user does not use. Without peers: they come and go, and whether the settings have reached a replica is another question.
pub fn wanted(workers: &Workers, drained: bool, reload: Option<WantedReload>) -> Wanted {
    let wanted = Wanted { revision: String::new(), workers: live(workers), drained, reload, peers: None };
    // Strings, numbers and booleans only: there is no error.
    let text = serde_json::to_string(&wanted).unwrap_or_default();
    Wanted { revision: short_hash(&[&text]), ..wanted }
}

fn live(workers: &Workers) -> LiveWorkers {
    let standard = Restart::default();
    let restart = &workers.restart;
    let differing =
        |value: i64, standard: i64| (value != standard).then_some(value).and_then(|value| value.try_into().ok());
    let restart = LiveRestart {
        initial_milliseconds: differing(restart.initial_milliseconds, standard.initial_milliseconds),
        max_seconds: differing(restart.max_seconds, standard.max_seconds),
        reset_after_seconds: differing(restart.reset_after_seconds, standard.reset_after_seconds),
    };
    LiveWorkers {
        count: match workers.count {
            WorkerCount::Auto => None,
            WorkerCount::Fixed(count) => Some(LiveCount::Number(count.into())),
        },
        adaptive: workers.adaptive.map(|bounds| LiveAdaptive { min: bounds.min.into(), max: bounds.max.into() }),
        restart: Some(restart).filter(|restart| *restart != LiveRestart::default()),
        hang: workers.hang.as_ref().map(|hang| LiveHang {
            timeout_seconds: hang.timeout_seconds.try_into().ok(),
            signal: (hang.signal != crds::HangSignal::default()).then(|| hang.signal.name().to_owned()),
        }),
        recycle: workers.recycle.as_ref().map(|recycle| LiveRecycle {
            memory: recycle.memory.clone(),
            requests: recycle.requests.and_then(|requests| requests.try_into().ok()),
            age_seconds: recycle.age_seconds.and_then(|age| age.try_into().ok()),
        }),
    }
}

/// The same for a pod that begins: names and values of variables.
pub fn environment(workers: &Workers) -> Vec<(&'static str, String)> {
    let count = match workers.count {
        WorkerCount::Auto => "max".to_owned(),
        WorkerCount::Fixed(count) => count.to_string(),
    };
    let restart = &workers.restart;
    let mut environment = vec![
        ("INSTANCES", count),
        ("RESTART_INITIAL_MILLISECONDS", restart.initial_milliseconds.to_string()),
        ("RESTART_MAX_SECONDS", restart.max_seconds.to_string()),
        ("RESTART_RESET_AFTER_SECONDS", restart.reset_after_seconds.to_string()),
    ];
    if let Some(bounds) = workers.adaptive {
        environment.push(("ADAPTIVE", format!("{}-{}", bounds.min, bounds.max)));
    }
    if let Some(hang) = &workers.hang {
        environment.push(("HANG_TIMEOUT_SECONDS", hang.timeout_seconds.to_string()));
        environment.push(("HANG_SIGNAL", hang.signal.name().to_owned()));
    }
    if let Some(recycle) = &workers.recycle {
        environment.extend(recycle.memory.iter().map(|memory| ("RECYCLE_MEMORY", memory.clone())));
        environment.extend(recycle.requests.iter().map(|requests| ("RECYCLE_REQUESTS", requests.to_string())));
        environment.extend(recycle.age_seconds.iter().map(|age| ("RECYCLE_AGE_SECONDS", age.to_string())));
    }
    environment
}

/// Takes the live fields out of `workers`, as a revision keeps it.
pub fn take_out(workers: &mut Value) {
    if let Value::Object(workers) = workers {
        workers.retain(|field, _| !LIVE_FIELDS.contains(&field.as_str()));
    }
}

/// Puts the live fields of `now` in place of those of `then`.
pub fn put_in(then: &mut Value, now: &Value) {
    take_out(then);
    let Value::Object(then) = then else { return };
    for field in LIVE_FIELDS {
        if let Some(value) = now.get(field) {
            then.insert(field.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workers(value: Value) -> Workers {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nothing_is_told_where_all_is_as_by_default() {
        let told = wanted(&Workers::default(), false, None);
        assert_eq!(serde_json::to_value(&told).unwrap(), json!({"revision": told.revision}));
    }

    #[test]
    fn every_live_field_is_told_and_given_to_new_pods() {
        let all = workers(json!({
            "count": 3, "adaptive": {"min": 2, "max": 6}, "restart": {"maxSeconds": 5},
            "recycle": {"memory": "256Mi", "ageSeconds": 60}, "hang": {"timeoutSeconds": 9, "signal": "SIGQUIT"}
        }));
        let told = wanted(&all, true, Some(WantedReload { id: "x".into(), at_once: 2 }));
        assert_eq!(
            serde_json::to_value(&told).unwrap(),
            json!({
                "revision": told.revision, "drained": true, "reload": {"id": "x", "atOnce": 2},
                "workers": {
                    "count": 3, "adaptive": {"min": 2, "max": 6}, "restart": {"maxSeconds": 5},
                    "recycle": {"memory": "256Mi", "ageSeconds": 60}, "hang": {"timeoutSeconds": 9, "signal": "SIGQUIT"}
                }
            })
        );
        let given = environment(&all);
        for (name, value) in [
            ("INSTANCES", "3"),
            ("ADAPTIVE", "2-6"),
            ("RESTART_MAX_SECONDS", "5"),
            ("HANG_TIMEOUT_SECONDS", "9"),
            ("HANG_SIGNAL", "SIGQUIT"),
            ("RECYCLE_MEMORY", "256Mi"),
            ("RECYCLE_AGE_SECONDS", "60"),
        ] {
            assert!(given.contains(&(name, value.to_owned())), "{name}: {given:?}");
        }
    }

    #[test]
    fn another_wish_has_another_name() {
        let two = workers(json!({"count": 2}));
        let all = [
            wanted(&Workers::default(), false, None),
            wanted(&two, false, None),
            wanted(&two, true, None),
            wanted(&two, false, Some(WantedReload { id: "x".into(), at_once: 1 })),
        ];
        let names: std::collections::BTreeSet<_> = all.iter().map(|wanted| &wanted.revision).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(all[1], wanted(&two, false, None));
    }

    #[test]
    fn what_is_live_stays_as_it_is_now_when_a_revision_comes_back() {
        let mut then = json!({"count": 9, "drainSeconds": 5});
        put_in(&mut then, &json!({"recycle": {"memory": "1Gi"}, "drainSeconds": 7}));
        assert_eq!(then, json!({"drainSeconds": 5, "recycle": {"memory": "1Gi"}}));
    }
}
