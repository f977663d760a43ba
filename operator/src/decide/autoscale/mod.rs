//! How many replicas a WorkerCluster with `spec.autoscaling` should have: one call a tick, the same answer for the same arguments.
//!
//! The stages, each of which returns a value and its reason: one recommendation for each metric, the highest of the known
//! ([`combine`]), the hold while most nodes are lost, the stabilisation window, the rate of removal and the bounds ([`limit`]). `docs/design/0004-autoscaling.md` says
//! why, and where this differs from a HorizontalPodAutoscaler on purpose.

mod combine;
mod cpu;
mod decision;
mod explain;
mod history;
mod input;
mod limit;
mod pods;
mod queue;
mod request;
mod requests;
#[cfg(test)]
mod tests;

use combine::Combined;
#[cfg(test)]
pub use decision::Reason;
pub use decision::{ConditionData, Decision};
pub use history::History;
pub use input::{CpuRequest, Demand, Input, Metric, Now, Phase, Pod, Policy, Reading, Ready, ReadyStatus, Sample};
pub use request::worker_cpu_request;

/// Decides the number of replicas. To be called each second, also while the readings stay the same: a pause of more than 30 s begins
/// the stabilisation window anew, because nobody knows what would have been asked for in it.
#[must_use]
pub fn decide(input: &Input, history: &History, now: Now) -> Decision {
    let mut history = history.clone();
    history.note_current(input.current, now.elapsed, &input.policy);
    let total = requests::total(&input.pods, input.policy.sample_max_age, now.wall);
    match &total {
        Ok(total) => history.note_demand(total.with_silent(), now.elapsed, &input.policy),
        Err(_) => history.note_no_demand(now.elapsed),
    }
    let assess = |metric| combine::assess(metric, input, &total, history.demands(), now);
    let findings: Vec<_> = input.metrics.iter().map(assess).collect();
    if findings.iter().any(combine::Finding::is_surge) {
        history.note_surge(now.elapsed);
    }
    let combined = combine::combine(&findings, input.current);
    let stages = match combined {
        Combined::Asks { replicas, reason } => {
            let held = limit::hold(replicas, input.current, &input.policy);
            history.note_recommendation(held.value(), now.elapsed, &input.policy);
            let stabilised = limit::stabilise(held.value(), input.current, &history, now.elapsed, &input.policy);
            let rated = limit::rate(stabilised, input.current, &history, now.elapsed, &input.policy);
            limit::Stages::new(replicas, reason).then(held).then(stabilised).then(rated)
        }
        Combined::Hold { reason } => {
            history.note_unknown(input.current, now.elapsed, &input.policy);
            limit::Stages::new(input.current, reason)
        }
    };
    let stages = stages.then(limit::bound(stages.value(), input));
    history.note_desired(stages.value());
    explain::decision(input, &findings, &stages, history, now)
}
