//! What is worth an event: pods that came and went, and every new reason of trouble.

use std::{borrow::Borrow, time::Duration};

use crds::{ReloadStatus, WorkerClusterStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::time::Instant;

use super::{
    compose::{Facts, had_reason},
    events::Happening,
    observe::Seen,
};
use crate::{
    decide::{
        complaints::{Complaint, Told},
        deaths::{Deaths, Died, Replica},
        replicas::RemovalReason,
    },
    status,
    text::short_hash,
};

/// What is worth an event: pods that came and went, and every new reason of trouble.
pub fn happenings(
    seen: &Seen,
    facts: &Facts<'_>,
    before: &WorkerClusterStatus,
    after: &WorkerClusterStatus,
) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let created = &facts.outcome.created;
    if let Some(first) = created.first() {
        let note = format!("created {}", listed(created));
        happenings.push(Happening::normal("PodsCreated", format!("Create-{first}"), note));
    }
    for why in
        [RemovalReason::ScaledDown, RemovalReason::Replaced, RemovalReason::NeverReady, RemovalReason::FailedHistory]
    {
        let gone: Vec<&str> = facts
            .outcome
            .deleted
            .iter()
            .filter(|removal| removal.why == why)
            .map(|removal| removal.name.as_str())
            .collect();
        if let Some(first) = gone.first() {
            let note = format!("deleted {} ({})", listed(&gone), why.as_str());
            happenings.push(Happening::normal("PodsDeleted", format!("Delete-{first}"), note));
        }
    }
    for kind in ["Stalled", "WorkersHealthy", "ScalingActive", "Ready"] {
        let of =
            |status: &WorkerClusterStatus| status.conditions.iter().find(|condition| condition.type_ == kind).cloned();
        // What is wrong with workers is told by `unwell`, each reason for itself.
        let bad = match kind {
            "Stalled" => Some("True"),
            "WorkersHealthy" => None,
            _ => Some("False"),
        };
        let is_bad =
            |condition: &Condition| Some(&*condition.status) == bad || condition.reason == status::STATS_UNUSABLE;
        let Some(now) = of(after).filter(is_bad) else { continue };
        let old = of(before);
        // What an autoscaler has just begun to read is not known yet, which is no news. Its message holds no figure
        // that changes by itself, and neither does that of Stalled: another message is another matter.
        let first = kind == "ScalingActive" && old.is_none();
        let same = |old: &Condition| {
            old.status == now.status
                && old.reason == now.reason
                && (!matches!(kind, "ScalingActive" | "Stalled") || old.message == now.message)
        };
        let known = first || old.as_ref().is_some_and(same);
        let told = matches!(kind, "Ready") && !matches!(now.reason.as_str(), "PodRejected" | status::NODES_LOST);
        if !known && !told {
            let action = format!("{kind}-{}", short_hash(&[&now.message]));
            happenings.push(Happening::warning(now.reason.clone(), action, now.message.clone()));
        }
    }
    if had_reason(before, status::NODES_LOST) && seen.nodes.outage().is_none() {
        let note = "enough nodes answer again: what was held back is done now";
        happenings.push(Happening::normal("NodesBack", "Resume", note));
    }
    // Told once: by the pass that replaces it.
    if !created.is_empty() {
        for pod in seen.owned().iter().filter(|pod| pod.is_finished() && !pod.deleting && pod.trouble.is_some()) {
            let note = format!("pod {} failed: {}", pod.name, pod.trouble.as_deref().unwrap_or_default());
            happenings.push(Happening::warning("PodFailed", format!("Replace-{}", pod.name), note));
        }
    }
    happenings
}

/// What is newly wrong with workers: an event for each reason. `told` is what has been told of it.
pub fn unwell(
    told: &mut Option<Told>,
    complaints: &[Complaint],
    before: &WorkerClusterStatus,
    now: Instant,
) -> Vec<Happening> {
    let now = now.into_std();
    let recalled = || {
        let condition = before.conditions.iter().find(|condition| condition.type_ == "WorkersHealthy");
        condition.map(|condition| Told::recalled(&condition.reason, &condition.message, now)).unwrap_or_default()
    };
    let news = told.get_or_insert_with(recalled).news(complaints, now);
    let happening = |complaint: &Complaint| {
        let note = complaint.to_string();
        Happening::warning(complaint.reason, format!("WorkersHealthy-{}", short_hash(&[&note])), note)
    };
    news.into_iter().map(happening).collect()
}

/// A reload that failed, told once for each. `told` is the last that was.
pub fn failed_reload(
    told: &mut Option<String>,
    name: &str,
    before: Option<&ReloadStatus>,
    after: Option<&ReloadStatus>,
) -> Option<Happening> {
    let failed = |reload: &&ReloadStatus| reload.failure.is_some();
    // Written by the pass that told it, of this operator or of one before: while its primary does not answer the failure is not in status.
    if let Some(reload) = before.filter(failed) {
        *told = Some(reload.id.clone());
    }
    let reload = after.filter(failed).filter(|reload| told.as_ref() != Some(&reload.id))?;
    *told = Some(reload.id.clone());
    let note = format!(
        "{}; {} of {} replicas have fresh workers, and the others keep theirs: look at the log of that pod, and reload again: kubectl wc reload {name}",
        reload.failure.as_deref().unwrap_or_default(),
        reload.done_replicas,
        reload.replicas
    );
    Some(Happening::warning("ReloadFailed", format!("Reload-{}", short_hash(&[&reload.id])), note))
}

/// Workers that ended and were not asked to, and in which time there is more to tell of them.
pub fn deaths(deaths: &mut Deaths, seen: &Seen) -> (Vec<Happening>, Option<Duration>) {
    let owned = seen.owned();
    let replicas = owned.iter().map(|pod| Replica { uid: &pod.uid, name: &pod.name, stats: seen.stats(&pod.uid) });
    let (told, wake) = deaths.look(replicas, seen.now.into_std());
    let happening =
        |died: Died| Happening::warning(died.reason, format!("Deaths-{}", short_hash(&[&died.note])), died.note);
    (told.into_iter().map(happening).collect(), wake)
}

/// Names, the first five of many.
pub fn listed<T: Borrow<str>>(names: &[T]) -> String {
    let shown = names.iter().take(5).map(Borrow::borrow).collect::<Vec<&str>>().join(", ");
    match names.len() {
        1 => format!("pod {shown}"),
        number @ 2..=5 => format!("{number} pods: {shown}"),
        number => format!("{number} pods: {shown} and {} more", number - 5),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use primary_protocol::WarningReason;

    use super::*;
    use crate::decide::complaints::complaints;

    fn warns(reason: &str, message: &str) -> WorkerClusterStatus {
        let condition = Condition {
            type_: "WorkersHealthy".into(),
            status: "False".into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        WorkerClusterStatus { conditions: vec![condition], ..WorkerClusterStatus::default() }
    }

    #[test]
    fn a_new_severe_reason_is_told_beside_one_that_has_lasted_for_long() {
        let (mut told, now) = (None, Instant::now());
        let swallowed = || ("web-1", WarningReason::ChannelSwallowed, "Run the script.".into());
        let before = warns("ChannelSwallowed", "pod web-1: Run the script.");
        assert_eq!(unwell(&mut told, &complaints([swallowed()]), &before, now), [], "an operator before has told it");
        let hung = complaints([swallowed(), ("web-2", WarningReason::Hung, "No progress.".into())]);
        let news = unwell(&mut told, &hung, &before, now);
        let told_of = news.iter().map(|news| (&*news.reason, &*news.note, news.warning)).collect::<Vec<_>>();
        assert_eq!(told_of, [("WorkersHung", "pod web-2: No progress.", true)]);
        assert_eq!(unwell(&mut told, &hung, &before, now + Duration::from_secs(900)), []);
    }
    #[test]
    fn a_reload_that_failed_is_told_once_with_pod_and_cause_and_how_far_it_came() {
        let reload = |id: &str, failure: Option<&str>| ReloadStatus {
            id: id.into(),
            replicas: 3,
            done_replicas: 1,
            failure: failure.map(Into::into),
            ..ReloadStatus::default()
        };
        let (running, failed) = (reload("x", None), reload("x", Some("pod web-2: exit code 1")));
        let mut told = None;
        let mut tell = |before: &ReloadStatus, after: &ReloadStatus| {
            failed_reload(&mut told, "web", Some(before), Some(after))
                .map(|event| (event.warning, event.reason, event.note))
        };
        assert_eq!(tell(&running, &running), None);
        let (warning, reason, note) = tell(&running, &failed).unwrap();
        assert!(warning && reason == "ReloadFailed", "{reason}");
        assert!(note.starts_with("pod web-2: exit code 1; 1 of 3 replicas have fresh workers"), "{note}");
        assert_eq!(tell(&failed, &running), None, "its primary is silent");
        assert_eq!(tell(&running, &failed), None, "and speaks again");
        assert!(tell(&failed, &reload("y", Some("pod web-1: exit code 1"))).is_some(), "another reload");
        let mut told = None;
        failed_reload(&mut told, "web", Some(&failed), Some(&running));
        assert_eq!(
            failed_reload(&mut told, "web", Some(&running), Some(&failed)),
            None,
            "an operator before has told it"
        );
    }
}
