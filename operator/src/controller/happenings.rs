//! What is worth an event: pods that came and went, and every new reason of trouble.

use std::borrow::Borrow;

use crds::WorkerClusterStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    compose::{Facts, had_reason},
    events::Happening,
    observe::Seen,
};
use crate::{decide::replicas::RemovalReason, status, text::short_hash};

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
        let bad = if kind == "Stalled" { "True" } else { "False" };
        let is_bad = |condition: &Condition| condition.status == bad || condition.reason == status::STATS_UNUSABLE;
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

/// Names, the first five of many.
pub fn listed<T: Borrow<str>>(names: &[T]) -> String {
    let shown = names.iter().take(5).map(Borrow::borrow).collect::<Vec<&str>>().join(", ");
    match names.len() {
        1 => format!("pod {shown}"),
        number @ 2..=5 => format!("{number} pods: {shown}"),
        number => format!("{number} pods: {shown} and {} more", number - 5),
    }
}
