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
#[cfg(test)]
mod tests;

use combine::Combined;
#[cfg(test)]
pub use decision::Reason;
pub use decision::{ConditionData, Decision};
pub use history::History;
pub use input::{CpuRequest, Input, Metric, Now, Phase, Pod, Policy, Reading, Ready, ReadyStatus, Sample};
pub use request::worker_cpu_request;

/// Decides the number of replicas. To be called each second, also while the readings stay the same: a pause of more than 30 s begins
/// the stabilisation window anew, because nobody knows what would have been asked for in it.
#[must_use]
pub fn decide(input: &Input, history: &History, now: Now) -> Decision {
    let findings: Vec<_> = input.metrics.iter().map(|metric| combine::assess(metric, input, now)).collect();
    let combined = combine::combine(&findings, input.current);
    let mut history = history.clone();
    history.note_current(input.current, now.elapsed, &input.policy);
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
