//! What the operator wants of the workers, made settings of the machine; each error names the field and what is possible.

use std::time::Duration;

use primary_protocol::remote::{LiveCount, LiveWorkers};

use crate::config::{Count, values};
use crate::count::{self, Processors};
use crate::machine::{Adaptive, Backoff, Hang, Recycle, Settings, signal_number};

/// The settings that follow from `wanted` and from those that cannot change while the primary runs.
///
/// # Errors
/// In words, beginning with the field.
pub fn settings(wanted: &LiveWorkers, standing: &Settings, processors: Processors) -> Result<Settings, String> {
    let field = |name: &'static str| move |why: String| format!("workers.{name}: {why}");
    let count = count(wanted)?;
    let adaptive = match wanted.adaptive {
        None => None,
        Some(bounds) => {
            let bounds = values::adaptive(&format!("{}-{}", bounds.min, bounds.max)).map_err(field("adaptive"))?;
            Some(Adaptive { min: bounds.min, max: bounds.max })
        }
    };
    Ok(Settings {
        count: count::resolve(count, processors),
        adaptive,
        backoff: backoff(wanted).map_err(field("restart"))?,
        hang: hang(wanted).map_err(field("hang"))?,
        recycle: Recycle {
            container_percent: standing.recycle.container_percent,
            ..recycle(wanted).map_err(field("recycle"))?
        },
        ..standing.clone()
    })
}

/// How many workers are wanted.
///
/// # Errors
/// In words, beginning with the field.
pub fn count(wanted: &LiveWorkers) -> Result<Count, String> {
    let read = match &wanted.count {
        None => Ok(Count::Auto),
        Some(LiveCount::Number(number)) => number.to_string().parse(),
        Some(LiveCount::Word(word)) => word.parse(),
    };
    read.map_err(|why| format!("workers.count: {why}"))
}

fn backoff(wanted: &LiveWorkers) -> Result<Backoff, String> {
    let restart = wanted.restart.unwrap_or_default();
    let standard = Backoff::default();
    let given = |value: Option<u64>, read: fn(&str) -> Result<Duration, String>, standard: Duration| {
        value.map_or(Ok(standard), |value| read(&value.to_string()))
    };
    let backoff = Backoff {
        initial: given(restart.initial_milliseconds, values::milliseconds, standard.initial)?,
        max: given(restart.max_seconds, values::seconds, standard.max)?,
        reset_after: given(restart.reset_after_seconds, values::seconds, standard.reset_after)?,
    };
    if backoff.initial > backoff.max {
        return Err("initialMilliseconds is more than maxSeconds: lower the first or raise the second".to_string());
    }
    Ok(backoff)
}

fn hang(wanted: &LiveWorkers) -> Result<Option<Hang>, String> {
    let Some(hang) = &wanted.hang else { return Ok(None) };
    let signal = hang.signal.as_deref().map_or(Ok(libc::SIGABRT), |name| {
        signal_number(name).ok_or_else(|| format!("{name} is no signal that can end a program, as SIGABRT is"))
    })?;
    let Some(after) = hang.timeout_seconds else { return Ok(None) };
    Ok(Some(Hang { after: values::timeout(&after.to_string())?, signal }))
}

fn recycle(wanted: &LiveWorkers) -> Result<Recycle, String> {
    let Some(recycle) = &wanted.recycle else { return Ok(Recycle::default()) };
    Ok(Recycle {
        container_percent: None,
        memory: recycle.memory.as_deref().map(values::bytes).transpose()?,
        requests: recycle.requests.filter(|requests| *requests > 0),
        age: recycle.age_seconds.map(|age| values::age(&age.to_string())).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSORS: Processors =
        Processors { limit_millicores: Some(3000), request_millicores: 0, affinity: 8, in_container: true };

    fn standing() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            count: 9,
            adaptive: Some(Adaptive { min: 1, max: 2 }),
            startup: second,
            drain: 7 * second,
            endpoints_delay: 5 * second,
            backoff: Backoff { initial: second, max: second, reset_after: second },
            hang: Some(Hang { after: second, signal: 1 }),
            recycle: Recycle { memory: Some(1), container_percent: Some(85), age: None, requests: None },
        }
    }

    fn given(document: &str) -> Result<Settings, String> {
        let wanted = serde_json::from_str(document).map_err(|error| error.to_string())?;
        settings(&wanted, &standing(), PROCESSORS)
    }

    #[test]
    fn what_is_missing_is_as_by_default_and_what_cannot_change_stays() {
        let settings = given("{}").unwrap();
        let expected = Settings {
            count: 3,
            adaptive: None,
            backoff: Backoff::default(),
            hang: None,
            recycle: Recycle { container_percent: Some(85), ..Recycle::default() },
            ..standing()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn every_field_is_taken() {
        let document = r#"{"count": 4, "adaptive": {"min": 2, "max": 6}, "restart": {"initialMilliseconds": 50, "maxSeconds": 3},
            "hang": {"timeoutSeconds": 9, "signal": "SIGQUIT"}, "recycle": {"memory": "256Mi", "ageSeconds": 3600}}"#;
        let settings = given(document).unwrap();
        assert_eq!((settings.count, settings.adaptive), (4, Some(Adaptive { min: 2, max: 6 })));
        assert_eq!(
            (settings.backoff.initial, settings.backoff.max),
            (Duration::from_millis(50), Duration::from_secs(3))
        );
        assert_eq!(settings.hang, Some(Hang { after: Duration::from_secs(9), signal: libc::SIGQUIT }));
        let recycle = Recycle {
            memory: Some(256 << 20),
            container_percent: Some(85),
            age: Some(Duration::from_secs(3600)),
            requests: None,
        };
        assert_eq!(settings.recycle, recycle);
    }

    #[test]
    fn an_error_names_the_field() {
        for (document, words) in [
            (r#"{"count": 0}"#, "workers.count: give a number"),
            (r#"{"count": "many"}"#, "workers.count: give a number"),
            (r#"{"adaptive": {"min": 3, "max": 2}}"#, "workers.adaptive: give the least"),
            (r#"{"restart": {"initialMilliseconds": 5000, "maxSeconds": 1}}"#, "workers.restart: initialMilliseconds"),
            (r#"{"hang": {"timeoutSeconds": 0}}"#, "workers.hang: give whole seconds"),
            (r#"{"hang": {"timeoutSeconds": 1, "signal": "SIGWHAT"}}"#, "workers.hang: SIGWHAT"),
            (r#"{"recycle": {"memory": "1"}}"#, "workers.recycle: give a size"),
            (r#"{"recycle": {"cows": 1}}"#, "cows"),
        ] {
            assert!(given(document).is_err_and(|why| why.contains(words)), "{document}: {:?}", given(document));
        }
    }
}
