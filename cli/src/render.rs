//! The overview and the list as text.

use std::fmt::Write;

use jiff::Timestamp;

use crate::{
    age::age,
    cluster::Cluster,
    overview::Overview,
    style::{Style, Tone, harmless},
    table::{Cell, cell, table},
};

/// One screen about one WorkerCluster.
pub fn screen(overview: &Overview, style: Style, now: Timestamp) -> String {
    let mut text = head(overview, style, now);
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            let _ = write!(text, "\n{}\n{body}", style.paint(Tone::Bold, title));
        }
    };
    section("Conditions", conditions(overview, style, now));
    section("Autoscaling", autoscaling(overview, style, now));
    section("Pods", pods(overview, style, now));
    section("Events", events(overview, style, now));
    for unseen in &overview.unseen {
        let _ = writeln!(text, "\n{}", style.paint(Tone::Warn, &harmless(unseen)));
    }
    text
}

fn head(overview: &Overview, style: Style, now: Timestamp) -> String {
    let replicas = &overview.replicas;
    let rollout = &overview.rollout;
    let tone = match rollout.state {
        "Done" => Tone::Good,
        "Failed" => Tone::Bad,
        _ => Tone::Warn,
    };
    let enough = if i64::from(replicas.ready) >= replicas.wanted { Tone::Good } else { Tone::Warn };
    let number = rollout.revision.map_or_else(|| "none yet".to_owned(), |number| number.to_string());
    let hash = if rollout.hash.is_empty() { String::new() } else { format!(" ({})", rollout.hash) };
    let workers = &overview.workers;
    let paused = if rollout.paused { style.paint(Tone::Warn, "   paused") } else { String::new() };
    let mut text = format!(
        "{}   namespace {}{}\n\n",
        style.paint(Tone::Bold, &overview.name),
        overview.namespace,
        match age(overview.created, now) {
            age if age.is_empty() => age,
            age => format!("   {age} old"),
        }
    );
    for (title, line) in [
        (
            "Replicas",
            format!(
                "{} wanted   {}   {} updated   {} available   {} outdated   {} retiring   {} terminating",
                replicas.wanted,
                style.paint(enough, &format!("{} ready", replicas.ready)),
                replicas.updated,
                replicas.available,
                replicas.outdated,
                replicas.retiring,
                replicas.terminating
            ),
        ),
        ("Revision", format!("{number}{hash}{paused}")),
        ("Rollout", style.paint(tone, &harmless(&rollout.message))),
        ("Images", harmless(&rollout.images)),
        ("Workers", format!("{} of {} ready   {} restarts", workers.ready, workers.total, workers.restarts)),
    ] {
        let _ = writeln!(text, "{}{}{line}", style.paint(Tone::Dim, title), " ".repeat(11 - title.len()));
    }
    text
}

/// Conditions whose being true is bad news.
const BAD_WHEN_TRUE: [&str; 3] = ["Stalled", "Reconciling", "ScalingLimited"];

fn conditions(overview: &Overview, style: Style, now: Timestamp) -> String {
    let rows = overview.conditions.iter().map(|condition| {
        let reversed = BAD_WHEN_TRUE.contains(&condition.type_.as_str());
        let tone = match (condition.status.as_str(), condition.type_.as_str()) {
            // Both are the usual state of what is at rest, or at work.
            ("False", "Progressing") if condition.reason != "ProgressDeadlineExceeded" => Tone::Plain,
            ("True", "Reconciling" | "ScalingLimited") | ("Unknown", _) => Tone::Warn,
            ("True", _) if reversed => Tone::Bad,
            ("False", _) if !reversed => Tone::Bad,
            _ => Tone::Good,
        };
        vec![
            cell(&condition.type_),
            Cell(condition.status.clone(), tone),
            cell(&condition.reason),
            cell(age(Some(condition.last_transition_time.0), now)),
            cell(&condition.message),
        ]
    });
    table(style, 2, &["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], &rows.collect::<Vec<_>>())
}

fn autoscaling(overview: &Overview, style: Style, now: Timestamp) -> String {
    let Some(autoscaling) = &overview.autoscaling else { return String::new() };
    let when = match age(autoscaling.last_scale_time.as_ref().map(|time| time.0), now) {
        age if age.is_empty() => "never changed".into(),
        age => format!("last changed {age} ago"),
    };
    let mut text = format!(
        "  {} replicas, {}: {} ({when})\n",
        autoscaling.desired_replicas,
        harmless(&autoscaling.reason),
        harmless(&autoscaling.message)
    );
    let unknown = || Cell("unknown".into(), Tone::Warn);
    let rows = autoscaling.metrics.iter().map(|metric| {
        vec![
            cell(&metric.name),
            metric.current.as_ref().map_or_else(unknown, cell),
            cell(&metric.target),
            metric.recommended_replicas.map_or_else(unknown, cell),
            Cell(metric.error.clone().unwrap_or_default(), Tone::Bad),
        ]
    });
    text += &table(style, 2, &["METRIC", "CURRENT", "TARGET", "RECOMMENDS", "ERROR"], &rows.collect::<Vec<_>>());
    text
}

fn pods(overview: &Overview, style: Style, now: Timestamp) -> String {
    let rows = overview.pods.iter().map(|pod| {
        let ready = if pod.ready { Cell("yes".into(), Tone::Good) } else { Cell("no".into(), Tone::Warn) };
        let new = if pod.revision == overview.rollout.hash { Tone::Plain } else { Tone::Dim };
        vec![
            cell(&pod.name),
            Cell(pod.revision.clone(), new),
            ready,
            cell(&pod.phase),
            cell(pod.node.as_deref().unwrap_or("-")),
            cell(pod.restarts),
            cell(age(pod.created, now)),
            Cell(pod.trouble.clone().unwrap_or_default(), Tone::Bad),
        ]
    });
    let head = ["NAME", "REVISION", "READY", "PHASE", "NODE", "RESTARTS", "AGE", "TROUBLE"];
    table(style, 2, &head, &rows.collect::<Vec<_>>())
}

fn events(overview: &Overview, style: Style, now: Timestamp) -> String {
    let rows = overview.events.iter().map(|event| {
        let tone = if event.warning { Tone::Warn } else { Tone::Plain };
        vec![cell(age(event.last, now)), cell(event.count), Cell(event.reason.clone(), tone), cell(&event.message)]
    });
    table(style, 2, &["LAST", "COUNT", "REASON", "MESSAGE"], &rows.collect::<Vec<_>>())
}

/// A list of WorkerClusters, one a line.
pub fn list(clusters: &[Cluster], all: bool, style: Style, now: Timestamp) -> String {
    let rows = clusters.iter().map(|cluster| {
        let status = &cluster.status;
        let ready = cluster.condition("Ready");
        let tone = match ready.map(|ready| ready.status.as_str()) {
            Some("True") if cluster.is_observed() => Tone::Good,
            Some("True") | None => Tone::Warn,
            Some(_) => Tone::Bad,
        };
        let reason = ready.map_or_else(|| "not seen by an operator yet".to_owned(), |ready| ready.reason.clone());
        let number = status.rollout.as_ref().map_or_else(|| "-".to_owned(), |rollout| rollout.revision.to_string());
        let mut row = vec![
            cell(&cluster.name),
            cell(format!("{}/{}", status.ready_replicas, cluster.wanted())),
            cell(status.updated_replicas),
            cell(status.available_replicas),
            cell(format!("{}/{}", status.workers.ready, status.workers.total)),
            cell(number),
            Cell(if cluster.is_paused() { format!("{reason}, paused") } else { reason }, tone),
            cell(age(cluster.created, now)),
        ];
        if all {
            row.insert(0, cell(&cluster.namespace));
        }
        row
    });
    let mut head = vec!["NAME", "READY", "UPDATED", "AVAILABLE", "WORKERS", "REVISION", "STATUS", "AGE"];
    if all {
        head.insert(0, "NAMESPACE");
    }
    table(style, 0, &head, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cluster::tests::{cluster, condition},
        events,
        overview::overview,
        pods,
        progress::{Pending, judge},
    };

    const PLAIN: Style = Style { colour: false, terminal: false };

    fn now() -> Timestamp {
        "2026-01-01T00:05:00Z".parse().unwrap()
    }

    fn example() -> Overview {
        let cluster = cluster(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {
                "conditions": [condition("Ready", "True", "AllReplicasReady", "2 of 2 replicas ready")],
                "autoscaling": {"desiredReplicas": 2, "reason": "Steady", "message": "within the target", "metrics": [
                    {"name": "cpu", "current": "40 %", "target": "70 %", "recommendedReplicas": 2}, {"name": "queue", "target": "5", "error": "connection refused"}]}
            }
        }));
        let pod = pods::Row {
            name: "web-a".into(),
            revision: "new".into(),
            ready: false,
            phase: "Pending".into(),
            node: None,
            restarts: 3,
            created: None,
            trouble: Some("worker ImagePullBackOff\n".into()),
        };
        let event = events::Row {
            warning: true,
            reason: "PodFailed".into(),
            message: "pod x".into(),
            count: 2,
            last: Some(now()),
        };
        let verdict = judge(&cluster, 0, Pending::Unknown, None);
        overview(&cluster, &verdict, vec![pod], vec![event], vec!["no right to list things".into()])
    }

    #[test]
    fn the_screen_has_every_part() {
        let text = screen(&example(), PLAIN, now());
        for part in [
            "web   namespace shop   5m old",
            "Replicas   2 wanted   2 ready   2 updated   2 available   0 outdated   0 retiring   0 terminating",
            "Revision   7 (new)",
            "Rollout    revision 7 (new) is rolled out",
            "Images     node:22",
            "Workers    4 of 4 ready   1 restarts",
            "  Ready   True     AllReplicasReady   5m      2 of 2 replicas ready",
            "2 replicas, Steady: within the target (never changed)",
            "  queue    unknown   5        unknown      connection refused",
            "  web-a   new        no      Pending   -      3                worker ImagePullBackOff",
            "  0s     2       PodFailed   pod x",
            "no right to list things",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn json_has_the_same() {
        let value = serde_json::to_value(example()).unwrap();
        assert_eq!(value.pointer("/rollout/state"), Some(&json!("Done")));
        assert_eq!(value.pointer("/pods/0/trouble"), Some(&json!("worker ImagePullBackOff\n")));
        assert_eq!(value.pointer("/replicas/wanted"), Some(&json!(2)));
    }

    #[test]
    fn the_list_tells_of_each_why_it_is_ready_or_not() {
        let paused = cluster(json!({
            "metadata": {"name": "api"}, "spec": {"rollout": {"paused": true}}, "status": {"conditions": [condition("Ready", "False", "RollingOut", "")]}
        }));
        let text = list(&[paused, cluster(json!({"status": null}))], true, PLAIN, now());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("NAMESPACE   NAME"), "{text}");
        assert!(lines[1].contains("RollingOut, paused") && lines[2].contains("not seen by an operator yet"), "{text}");
    }
}
