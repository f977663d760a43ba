//! From what was seen to the scaling decision's input; the decision itself is `decide::autoscale`.

use super::{context::Context, observe::Seen};
use crate::{
    decide::autoscale::{
        self, Decision, Demand, History, Input, Metric, Now, Policy, Reading, Ready, ReadyStatus, Sample,
    },
    view::{Phase, PodView, Readiness},
};

/// Decides, where `spec.autoscaling` asks for it, and remembers the history.
pub fn decide(context: &Context, seen: &Seen) -> Option<Decision> {
    let spec = seen.cluster.spec.autoscaling.as_ref()?;
    let decided = seen
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.autoscaling.as_ref())
        .map(|autoscaling| autoscaling.desired_replicas);
    let policy = Policy {
        sample_max_age: context.signals.sample_max_age(),
        nodes_lost: seen.nodes.outage().is_some(),
        ..Policy::fast(context.settings.downscale_stabilization)
    };
    let metrics = spec
        .metrics
        .iter()
        .zip(&seen.queues)
        .filter_map(|(metric, queue)| Metric::from_spec(metric, reading(seen, queue.as_ref(), &policy)));
    let input = Input {
        current: decided.unwrap_or(seen.cluster.spec.replicas),
        min: spec.min_replicas,
        max: spec.max_replicas,
        metrics: metrics.collect(),
        pods: seen.owned().into_iter().map(|pod| sampled(seen, pod)).collect(),
        policy,
    };
    let now = Now { elapsed: seen.now.saturating_duration_since(context.epoch), wall: seen.wall };
    Some(context.memory(&seen.key, |memory| {
        let history = memory.history.take().unwrap_or_else(|| History::starting_at(input.current, now.elapsed));
        let decision = autoscale::decide(&input, &history, now);
        memory.history = Some(decision.history.clone());
        decision
    }))
}

fn reading(
    seen: &Seen,
    queue: Option<&Result<crate::signal::QueueSource, String>>,
    policy: &Policy,
) -> Option<Reading> {
    match queue? {
        Ok(queue) => Some(seen.readings.queues.get(queue)?.reading(seen.now, policy.sample_max_age)),
        Err(error) => Some(Reading::Unknown { error: error.clone() }),
    }
}

fn sampled(seen: &Seen, pod: &PodView) -> autoscale::Pod {
    let ready = |status, moved: Option<k8s_openapi::jiff::Timestamp>| {
        Some(Ready { status, last_transition: moved.or(pod.started).unwrap_or(seen.wall) })
    };
    autoscale::Pod {
        name: pod.name.clone(),
        phase: match pod.phase {
            Phase::Pending => autoscale::Phase::Pending,
            Phase::Running => autoscale::Phase::Running,
            Phase::Succeeded => autoscale::Phase::Succeeded,
            Phase::Failed => autoscale::Phase::Failed,
            Phase::Unknown => autoscale::Phase::Unknown,
        },
        // Who serves out is on its way: its idle processor says nothing about those that serve.
        deleting: pod.deleting || seen.withdrawn.retiring.contains_key(&pod.uid),
        ready: match pod.readiness {
            Readiness::Ready(moved) => ready(ReadyStatus::True, Some(moved)),
            Readiness::NotReady(moved) => ready(ReadyStatus::False, moved),
            Readiness::Unknown(moved) => ready(ReadyStatus::Unknown, moved),
            Readiness::Absent => None,
        },
        started: pod.started,
        request: pod.cpu_request.clone(),
        sample: seen.readings.pods.get(&pod.uid).map_or(Sample::Missing, |reading| reading.sample(seen.now)),
        requests: seen.readings.pods.get(&pod.uid).map_or(Demand::Missing, |reading| reading.demand(seen.now)),
        trouble: seen.trouble(pod).map(|trouble| trouble.message.clone()),
    }
}
