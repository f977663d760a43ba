//! Status from what one pass saw and did.

use std::{borrow::Cow, time::Duration};

use crds::{AutoscalingStatus, WorkerClusterStatus, WorkerTotals, names};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use primary_protocol::{Stats, WarningReason};

use super::{apply::Outcome, context::Context, events::Happening, observe::Seen, revisions::Target};
use crate::{
    build::{Problem, Valid},
    decide::{
        autoscale::Decision as Scaling,
        complaints::{Complaint, Said, complaints},
        progress::{self, Progress},
        replicas::{Decision, Strategy},
    },
    signal::Trouble,
    status::{self, Workers},
    view::PodView,
};

/// What the steps before found.
pub struct Facts<'a> {
    pub checked: &'a Result<Valid, Vec<Problem>>,
    pub scaling: Option<&'a Scaling>,
    pub wanted: i32,
    /// What pods are built from, if there is anything.
    pub target: Option<&'a Target>,
    /// That is not what the spec asks for.
    pub given_up: bool,
    pub decision: &'a Decision,
    pub outcome: &'a Outcome,
    /// Why the spec's revision could not be kept, where the API server will refuse it again.
    pub refused: Option<&'a str>,
    /// What is to be told first.
    pub told: Vec<Happening>,
}

/// What one pass comes to.
pub struct Composed {
    /// Status as it should be now.
    pub status: WorkerClusterStatus,
    /// When the next look is due.
    pub wake: Option<Duration>,
    /// What is wrong with workers, the most severe first.
    pub complaints: Vec<Complaint>,
}

/// Figures that change all the time are written no more often than this.
const FIGURES_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Of a pod that no scheduler has spoken of.
const OVERLOOKED: &str =
    "not scheduled, and no scheduler says why; look at spec.template.spec.schedulerName and resourceClaims";

/// Status from what was seen and done.
pub fn compose(context: &Context, seen: &Seen, facts: &Facts<'_>, before: &WorkerClusterStatus) -> Composed {
    let generation = seen.cluster.metadata.generation.unwrap_or(0);
    // As the writes of this pass left them.
    let pods = context.cache.pods.of(&seen.key);
    let owned: Vec<_> =
        pods.iter().map(AsRef::as_ref).filter(|pod: &&PodView| pod.controller.as_deref() == Some(&seen.uid)).collect();
    // Who serves out is on its way already.
    let retires = |pod: &PodView| facts.decision.retire.contains(&pod.uid);
    let active: Vec<_> = owned.iter().copied().filter(|pod| pod.is_active() && !retires(pod)).collect();
    let ready = active.iter().filter(|pod| pod.is_ready()).count();
    let min_ready = seconds(seen.cluster.spec.rollout.min_ready_seconds);
    let available = |pods: &mut dyn Iterator<Item = &PodView>| {
        count(pods.filter(|pod| pod.is_available(min_ready, seen.wall)).count())
    };
    // Where nothing can be built there is nothing to be outdated against.
    let current = |pod: &&PodView| facts.target.is_none_or(|target| pod.revision.as_deref() == Some(&target.hash));
    let updated: Vec<&PodView> = active.iter().copied().filter(current).collect();
    let outage = seen.nodes.outage().map(ToString::to_string);
    let progress = progress(context, seen, facts, before, &active, &updated);
    let stats: Vec<_> = active.iter().filter_map(|pod| Some((pod.name.as_str(), seen.stats(&pod.uid)?))).collect();
    let totals = totals(&stats);
    let doubted: Vec<_> = active.iter().filter_map(|pod| Some((pod.name.as_str(), seen.trouble(pod)?))).collect();
    let complaints = complaints(active.iter().flat_map(|pod| said(pod, seen.stats(&pod.uid), seen.wall)));
    let workers = workers(&complaints, active.is_empty(), &stats, &totals, &doubted);
    let troubled = active.iter().chain(&owned).find_map(|pod| Some((pod.name.as_str(), pod.trouble.as_deref()?)));
    let overlooked = active.iter().filter_map(|pod| Some((pod.overlooked_in(seen.wall)?, pod.name.as_str()))).min();
    let overlooked = overlooked.filter(|_| troubled.is_none());
    let silent = overlooked.filter(|(wait, _)| wait.is_zero()).map(|(_, pod)| (pod, OVERLOOKED));
    let (rejection, foreign) = context.memory(&seen.key, |memory| (memory.rejection.clone(), memory.foreign.clone()));
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
            foreign: &foreign,
            refused: facts.refused,
            trouble: troubled.or(silent),
            workers,
            settings: seen.orders.settings(&active, &seen.readings),
            scaling: facts.scaling.map(|scaling| (&scaling.scaling_active, &scaling.scaling_limited)),
        },
        &before.conditions,
        generation,
        seen.wall,
    );
    let kills = active.iter().filter_map(|pod| pod.memory_kill.as_ref()?.told_for(seen.wall)).min();
    let waits = [progress.as_ref().and_then(|progress| progress.wake), overlooked.map(|(wait, _)| wait), kills];
    let wake = waits.into_iter().flatten().filter(|wait| !wait.is_zero()).min();
    let told = WorkerClusterStatus {
        replicas: count(active.len()),
        ready_replicas: count(ready),
        available_replicas: available(&mut active.iter().copied()),
        updated_replicas: count(updated.len()),
        rollout: progress.map_or_else(|| before.rollout.clone(), |Progress { status, .. }| Some(status)),
        reload: seen.orders.reload_status(),
        retiring_replicas: count(owned.iter().filter(|pod| pod.is_active() && retires(pod)).count()),
        terminating_replicas: count(owned.iter().filter(|pod| pod.deleting).count()),
        workers: totals,
        selector: format!("{}={}", names::LABEL_NAME, seen.name),
        // Of a revision that could not be kept nothing has been done yet.
        observed_generation: if facts.refused.is_some() { before.observed_generation } else { generation },
        current_revision: facts.target.map_or_else(|| before.current_revision.clone(), |target| target.hash.clone()),
        conditions,
        autoscaling: facts.scaling.map(|scaling| {
            let interval = context.signals.interval();
            autoscaling_status(scaling, before.autoscaling.as_ref(), interval, seen.wall, false)
        }),
    };
    Composed { status: told, wake, complaints }
}

/// How the rollout of the target comes on.
fn progress(
    context: &Context,
    seen: &Seen,
    facts: &Facts<'_>,
    before: &WorkerClusterStatus,
    active: &[&PodView],
    updated: &[&PodView],
) -> Option<Progress> {
    let rollout = &seen.cluster.spec.rollout;
    let min_ready = seconds(rollout.min_ready_seconds);
    let target = facts.target?;
    Some(progress::look(&progress::Input {
        before: before.rollout.as_ref(),
        revision: target.number,
        updated: count(updated.len()),
        updated_available: count(updated.iter().filter(|pod| pod.is_available(min_ready, seen.wall)).count()),
        outdated: count(active.len() - updated.len()),
        wanted: facts.wanted,
        paused: rollout.paused || facts.given_up || seen.nodes.outage().is_some(),
        was_paused: had_reason(before, status::PAUSED) || had_reason(before, status::NODES_LOST),
        deadline: seconds(rollout.progress_deadline_seconds),
        now: seen.wall,
        watched: context.watched(&seen.key, before.rollout.as_ref()),
        was_exceeded: had_reason(before, status::EXCEEDED),
    }))
}

fn totals(stats: &[(&str, &Stats)]) -> WorkerTotals {
    let mut totals = WorkerTotals::default();
    for (_, stats) in stats {
        totals.ready += i64::from(stats.workers.ready);
        totals.total += i64::from(stats.workers.desired);
        totals.restarts = totals.restarts.saturating_add(i64::try_from(stats.workers.restarts).unwrap_or(i64::MAX));
    }
    totals
}

/// What is wrong with a pod's workers: what its primary warns of, and what happened to the primary itself.
fn said<'a>(pod: &'a PodView, stats: Option<&'a Stats>, now: Timestamp) -> impl Iterator<Item = Said<'a>> {
    let warnings = stats.into_iter().flat_map(|stats| &stats.warnings);
    let warnings = warnings.map(|warning| (&*pod.name, warning.reason, Cow::Borrowed(&*warning.message)));
    let kill = pod.memory_kill.iter().filter(move |kill| kill.told_for(now).is_some());
    warnings.chain(kill.map(|kill| (&*pod.name, WarningReason::OutOfMemory, Cow::Owned(kill.message()))))
}

fn workers<'a>(
    complaints: &'a [Complaint],
    none: bool,
    stats: &[(&'a str, &'a Stats)],
    totals: &WorkerTotals,
    doubted: &[(&'a str, &'a Trouble)],
) -> Workers<'a> {
    // Where none can be reached it is the network, as far as anybody knows.
    let answered = !stats.is_empty() || doubted.iter().any(|(_, trouble)| trouble.is_answer());
    let first = doubted.iter().find(|(_, trouble)| trouble.is_answer()).or(doubted.first());
    match (complaints.first(), first) {
        (Some(worst), _) => Workers::Unwell { worst, all: complaints },
        _ if none => Workers::None,
        (None, Some((pod, trouble))) if answered => {
            Workers::Unusable { pod, message: &trouble.message, others: doubted.len() - 1 }
        }
        _ if stats.is_empty() => Workers::Unknown,
        _ => Workers::Well { ready: totals.ready, total: totals.total },
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Whether a condition had this reason.
pub fn had_reason(status: &WorkerClusterStatus, reason: &str) -> bool {
    status.conditions.iter().any(|condition| condition.reason == reason)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The decision as status shows it. The figures are those of before for a while, so that status is not written each second.
pub fn autoscaling_status(
    scaling: &Scaling,
    before: Option<&AutoscalingStatus>,
    interval: Duration,
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
        sample_interval_seconds: i64::try_from(interval.as_secs()).ok().filter(|seconds| *seconds > 1),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::autoscale::{ConditionData, History, Reason},
        view::{memory_kill::MemoryKill, pod::tests::pod},
    };

    #[test]
    fn a_container_that_was_killed_for_memory_is_told_as_a_worker_that_was() {
        let kill = MemoryKill { container: "worker".into(), at: Timestamp::UNIX_EPOCH };
        let killed = PodView { memory_kill: Some(kill), ..pod("web-1") };
        let told = |second| complaints(said(&killed, None, Timestamp::from_second(second).unwrap()));
        let first = &told(0)[0];
        assert_eq!((first.reason, &*first.pod), ("WorkersOutOfMemory", "web-1"));
        assert_eq!(told(600), []);
    }

    #[test]
    fn an_interval_of_more_than_a_second_is_told_and_with_the_next_figures() {
        let condition = ConditionData { status: true, reason: "x", message: String::new() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let scaling = |sampled| Scaling {
            desired: 3,
            reason: Reason::CpuUtilization,
            message: String::new(),
            metrics: Vec::new(),
            sampled_at: Some(at(sampled)),
            held_until: None,
            scaling_active: condition.clone(),
            scaling_limited: condition.clone(),
            history: History::starting_at(3, Duration::ZERO),
        };
        let told = |before: Option<&AutoscalingStatus>, interval, second| {
            autoscaling_status(&scaling(second), before, Duration::from_secs(interval), at(second), false)
        };
        let first = told(None, 1, 100);
        assert_eq!(first.sample_interval_seconds, None);
        assert_eq!(told(Some(&first), 3, 110), first, "a longer interval alone is no reason to write");
        assert_eq!(told(Some(&first), 3, 140).sample_interval_seconds, Some(3));
    }
}
