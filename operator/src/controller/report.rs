//! What users see: status, written only when it says something new, and events.

use std::time::Duration;

use crds::{AutoscalingStatus, WorkerClusterStatus, WorkerTotals, names};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{SignedDuration, Timestamp},
};
use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use primary_protocol::WarningReason;

use super::{Error, apply::Outcome, context::Context, events::Happening, observe::Seen, revisions::Target};
use crate::{
    api::ApiError,
    build::{Problem, Valid, validate::Category},
    decide::{
        autoscale::Decision as Scaling,
        progress::{self, Progress},
        replicas::{Decision, RemovalReason, Strategy},
    },
    status::{self, Workers},
    text::short_hash,
    view::{Key, PodView},
};

/// What the steps before found.
pub struct Facts<'a> {
    pub checked: &'a Result<Valid, Vec<Problem>>,
    pub scaling: Option<&'a Scaling>,
    pub wanted: i32,
    /// What pods are built from, if there is anything.
    pub target: Option<&'a Target>,
    pub decision: &'a Decision,
    pub outcome: &'a Outcome,
    /// What is to be told first.
    pub told: Option<Happening>,
}

/// Figures that change all the time are written no more often than this.
const FIGURES_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Writes a changed number of replicas to status before it is acted on, and returns what is to be told about it.
pub async fn commit(context: &Context, seen: &mut Seen, scaling: &Scaling) -> Result<Option<Happening>, ApiError> {
    let before = seen.cluster.status.clone().unwrap_or_default();
    let decided = before.autoscaling.as_ref().map(|autoscaling| autoscaling.desired_replicas);
    if decided == Some(scaling.desired) {
        return Ok(None);
    }
    let old = decided.unwrap_or(seen.cluster.spec.replicas);
    let scaled = old != scaling.desired;
    let autoscaling = autoscaling_status(scaling, before.autoscaling.as_ref(), seen.wall, scaled);
    let conditions = if scaled {
        status::unsettled(before.conditions, scaling.desired, before.ready_replicas, seen.wall)
    } else {
        before.conditions
    };
    write(context, seen, WorkerClusterStatus { autoscaling: Some(autoscaling), conditions, ..before }).await?;
    if !scaled {
        return Ok(None);
    }
    let up = scaling.desired > old;
    context.metrics.scaled(up, scaling.reason.as_str());
    let (reason, direction) = if up { ("ScaledUp", "up") } else { ("ScaledDown", "down") };
    let note =
        format!("{direction} from {old} to {} replicas ({}): {}", scaling.desired, scaling.reason, scaling.message);
    Ok(Some(Happening::normal(reason, format!("Scale{old}To{}", scaling.desired), note)))
}

/// Writes the decided number to the spec too, where others look.
pub async fn mirror(context: &Context, seen: &Seen, desired: i32) -> Result<(), ApiError> {
    if seen.cluster.spec.replicas == desired {
        return Ok(());
    }
    let version = seen.cluster.metadata.resource_version.clone().unwrap_or_default();
    let mark = Some((version.clone(), desired));
    if context.memory(&seen.key, |memory| memory.mirrored == mark) {
        return Ok(()); // written already; the watch has not shown it yet
    }
    match context.api.scale(&seen.namespace, &seen.name, &version, desired).await {
        Err(error) if error.code() == Some(409) => return Ok(()), // it changed meanwhile: the watch brings it, and a new look
        written => written?,
    }
    context.memory(&seen.key, |memory| memory.mirrored = mark);
    Ok(())
}

/// Writes status where it changed, and publishes what happened. Returns when the next look is due.
pub async fn report(context: &Context, seen: &mut Seen, facts: &Facts<'_>) -> Result<Option<Duration>, ApiError> {
    let before = seen.cluster.status.clone().unwrap_or_default();
    let (status, wake) = compose(context, seen, facts, &before);
    let happenings = facts.told.iter().cloned().chain(happenings(seen, facts, &before, &status)).collect();
    if differs(&before, &status) {
        write(context, seen, status).await?;
    }
    context.events.publish(&reference(seen), happenings).await;
    Ok(wake)
}

fn compose(
    context: &Context,
    seen: &Seen,
    facts: &Facts<'_>,
    before: &WorkerClusterStatus,
) -> (WorkerClusterStatus, Option<Duration>) {
    let generation = seen.cluster.metadata.generation.unwrap_or(0);
    // As the writes of this pass left them.
    let pods = context.cache.pods.of(&seen.key);
    let owned: Vec<_> = pods.iter().filter(|pod| pod.controller.as_deref() == Some(&seen.uid)).collect();
    let active: Vec<_> = owned.iter().copied().filter(|pod| pod.is_active()).collect();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let ready = active.iter().filter(|pod| pod.is_ready()).count();
    let min_ready = seconds(seen.cluster.spec.rollout.min_ready_seconds);
    let available = |pods: &mut dyn Iterator<Item = &PodView>| {
        count(pods.filter(|pod| pod.is_available(min_ready, seen.wall)).count())
    };
    // Where nothing can be built there is nothing to be outdated against.
    let current = |pod: &&PodView| facts.target.is_none_or(|target| pod.revision.as_deref() == Some(&target.hash));
    let updated: Vec<&PodView> = active.iter().copied().filter(current).collect();
    let outage = seen.nodes.outage().map(ToString::to_string);
    let progress = facts.target.map(|target| {
        progress::look(&progress::Input {
            before: before.rollout.as_ref(),
            revision: target.number,
            updated: (before.updated_replicas, count(updated.len())),
            updated_available: available(&mut updated.iter().copied()),
            outdated: count(active.len() - updated.len()),
            wanted: facts.wanted,
            paused: seen.cluster.spec.rollout.paused || outage.is_some(),
            was_paused: had_reason(before, status::PAUSED) || had_reason(before, status::NODES_LOST),
            deadline: seconds(seen.cluster.spec.rollout.progress_deadline_seconds),
            now: seen.wall,
        })
    });
    let stats: Vec<_> = active.iter().filter_map(|pod| Some((pod.name.as_str(), seen.stats(&pod.uid)?))).collect();
    let mut totals = WorkerTotals::default();
    for (_, stats) in &stats {
        totals.ready += i64::from(stats.workers.ready);
        totals.total += i64::from(stats.workers.desired);
        totals.restarts = totals.restarts.saturating_add(i64::try_from(stats.workers.restarts).unwrap_or(i64::MAX));
    }
    let warned = stats.iter().find_map(|(pod, stats)| {
        let warning = stats.warnings.first()?;
        Some((*pod, reason(warning.reason), warning.message.as_str()))
    });
    let workers = match warned {
        Some((pod, reason, message)) => Workers::Warned { pod, reason, message },
        None if active.is_empty() => Workers::None,
        None if stats.is_empty() => Workers::Unknown,
        None => Workers::Well { ready: totals.ready, total: totals.total },
    };
    let troubled = active.iter().chain(&owned).find_map(|pod| Some((pod.name.as_str(), pod.trouble.as_deref()?)));
    let rejection = context.memory(&seen.key, |memory| memory.rejection.clone());
    let foreign = facts.outcome.foreign.as_deref().unwrap_or_default();
    let nothing = Vec::new();
    let strategy = Strategy::of(&seen.cluster.spec, usize::try_from(facts.wanted).unwrap_or(0));
    let conditions = status::conditions(
        &status::Facts {
            problems: facts.checked.as_ref().err().unwrap_or(&nothing),
            wanted: facts.wanted,
            active: count(active.len()),
            ready: count(ready),
            available: available(&mut active.iter().copied()),
            least: facts.wanted.saturating_sub(count(strategy.unavailable)),
            updated: count(updated.len()),
            rolling: facts.decision.rolling,
            awaiting: count(facts.decision.awaiting),
            paused: seen.cluster.spec.rollout.paused,
            exceeded: progress.as_ref().is_some_and(|progress| progress.exceeded),
            deadline_seconds: seen.cluster.spec.rollout.progress_deadline_seconds,
            rejection: rejection.as_deref(),
            outage: outage.as_deref(),
            silence: seen.nodes.silence(owned.iter().copied()).as_deref(),
            foreign,
            trouble: troubled,
            workers,
            scaling: facts.scaling.map(|scaling| (&scaling.scaling_active, &scaling.scaling_limited)),
        },
        &before.conditions,
        generation,
        seen.wall,
    );
    let wake = progress.as_ref().and_then(|progress| progress.wake);
    let told = WorkerClusterStatus {
        replicas: count(active.len()),
        ready_replicas: count(ready),
        available_replicas: available(&mut active.iter().copied()),
        updated_replicas: count(updated.len()),
        rollout: progress.map_or_else(|| before.rollout.clone(), |Progress { status, .. }| Some(status)),
        terminating_replicas: count(owned.iter().filter(|pod| pod.deleting).count()),
        workers: totals,
        selector: format!("{}={}", names::LABEL_NAME, seen.name),
        observed_generation: generation,
        current_revision: facts.target.map_or_else(|| before.current_revision.clone(), |target| target.hash.clone()),
        conditions,
        autoscaling: facts
            .scaling
            .map(|scaling| autoscaling_status(scaling, before.autoscaling.as_ref(), seen.wall, false)),
    };
    (told, wake)
}

fn had_reason(status: &WorkerClusterStatus, reason: &str) -> bool {
    status.conditions.iter().any(|condition| condition.reason == reason)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn reason(reason: WarningReason) -> &'static str {
    match reason {
        WarningReason::PortBoundByWorker => "PortBoundByWorker",
        WarningReason::CrashLoop => "CrashLoop",
        WarningReason::NeverReady => "NeverReady",
        WarningReason::CommandNotFound => "CommandNotFound",
        WarningReason::ChannelSwallowed => "ChannelSwallowed",
        WarningReason::Unknown => "WorkersWarn",
    }
}

/// The decision as status shows it. The figures are those of before for a while, so that status is not written each second.
fn autoscaling_status(
    scaling: &Scaling,
    before: Option<&AutoscalingStatus>,
    now: Timestamp,
    scaled: bool,
) -> AutoscalingStatus {
    let now = Timestamp::from_second(now.as_second()).map_or(Time(now), Time);
    let fresh = AutoscalingStatus {
        desired_replicas: scaling.desired,
        reason: scaling.reason.to_string(),
        message: scaling.message.clone(),
        last_scale_time: if scaled {
            Some(now.clone())
        } else {
            before.and_then(|before| before.last_scale_time.clone())
        },
        sampled_at: scaling.sampled_at.and_then(|at| Timestamp::from_second(at.as_second()).ok()).map(Time),
        metrics: scaling.metrics.clone(),
    };
    match before {
        Some(before) if !scaled && same_decision(before, &fresh) && !figures_due(before, &now) => before.clone(),
        _ => fresh,
    }
}

fn same_decision(a: &AutoscalingStatus, b: &AutoscalingStatus) -> bool {
    let errors =
        |status: &AutoscalingStatus| status.metrics.iter().map(|metric| metric.error.clone()).collect::<Vec<_>>();
    a.desired_replicas == b.desired_replicas && a.reason == b.reason && errors(a) == errors(b)
}

fn figures_due(before: &AutoscalingStatus, now: &Time) -> bool {
    before.sampled_at.as_ref().is_none_or(|at| now.0.duration_since(at.0) >= FIGURES_EVERY)
}

/// Whether status says something new. The time of the figures alone is nothing new.
fn differs(before: &WorkerClusterStatus, after: &WorkerClusterStatus) -> bool {
    let bare = |status: &WorkerClusterStatus| {
        let mut status = status.clone();
        if let Some(autoscaling) = &mut status.autoscaling {
            autoscaling.sampled_at = None;
        }
        status
    };
    bare(before) != bare(after)
}

async fn write(context: &Context, seen: &mut Seen, status: WorkerClusterStatus) -> Result<(), ApiError> {
    let body = serde_json::to_value(&status).unwrap_or_default();
    let written = std::sync::Arc::new(context.api.apply_status(&seen.namespace, &seen.name, &seen.uid, &body).await?);
    context.memory(&seen.key, |memory| memory.written = Some(written.clone()));
    seen.cluster = written;
    Ok(())
}

/// What is worth an event: pods that came and went, and every new reason of trouble.
fn happenings(
    seen: &Seen,
    facts: &Facts<'_>,
    before: &WorkerClusterStatus,
    after: &WorkerClusterStatus,
) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let created = &facts.outcome.created;
    if let Some(first) = created.first() {
        let note = format!("created {}", listed(created.iter().map(String::as_str)));
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
            let note = format!("deleted {} ({})", listed(gone.iter().copied()), why.as_str());
            happenings.push(Happening::normal("PodsDeleted", format!("Delete-{first}"), note));
        }
    }
    for kind in ["Stalled", "WorkersHealthy", "ScalingActive", "Ready"] {
        let of =
            |status: &WorkerClusterStatus| status.conditions.iter().find(|condition| condition.type_ == kind).cloned();
        let bad = if kind == "Stalled" { "True" } else { "False" };
        let Some(now) = of(after).filter(|condition| condition.status == bad) else { continue };
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
    for pod in seen.owned().iter().filter(|pod| pod.is_finished() && !pod.deleting && pod.trouble.is_some()) {
        // Told once: by the pass that replaces it.
        if !created.is_empty() {
            let note = format!("pod {} failed: {}", pod.name, pod.trouble.as_deref().unwrap_or_default());
            happenings.push(Happening::warning("PodFailed", format!("Replace-{}", pod.name), note));
        }
    }
    happenings
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("pod {shown}"),
        number @ 2..=5 => format!("{number} pods: {shown}"),
        number => format!("{number} pods: {shown} and {} more", number - 5),
    }
}

fn reference(seen: &Seen) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{}/v1alpha1", names::GROUP)),
        kind: Some("WorkerCluster".into()),
        name: Some(seen.name.clone()),
        namespace: Some(seen.namespace.clone()),
        uid: Some(seen.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The resource itself cannot be read: an older operator, or a schema that was changed by hand.
pub async fn unreadable(context: &Context, key: &Key, invalid: &InvalidObject) -> Result<Action, Error> {
    let problem = [Problem { path: "spec".into(), message: invalid.error.clone(), category: Category::InvalidSpec }];
    let facts = status::Facts {
        problems: &problem,
        wanted: 0,
        active: 0,
        ready: 0,
        available: 0,
        least: 0,
        updated: 0,
        rolling: false,
        awaiting: 0,
        paused: false,
        exceeded: false,
        deadline_seconds: 0,
        rejection: None,
        outage: None,
        silence: None,
        foreign: &[],
        trouble: None,
        workers: Workers::Unknown,
        scaling: None,
    };
    let generation = invalid.metadata.generation.unwrap_or(0);
    let uid = invalid.metadata.uid.clone().unwrap_or_default();
    if context.memory(key, |memory| memory.unreadable) != Some(generation) {
        let conditions = status::conditions(&facts, &[], generation, Timestamp::now());
        let status = serde_json::json!({"observedGeneration": generation, "conditions": conditions});
        context.api.patch_conditions(&key.namespace, &key.name, &uid, &status).await?;
        context.memory(key, |memory| memory.unreadable = Some(generation));
    }
    Ok(Action::requeue(Duration::from_secs(600)))
}
