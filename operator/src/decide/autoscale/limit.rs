//! What may be done at once of what the metrics ask for: window, rate, bounds. Each stage returns a value and, where it changed
//! it, the reason.

use std::time::Duration;

use super::{
    decision::Reason,
    history::History,
    input::{Input, Policy},
};

/// The result of a stage: a number, and the reason where the stage changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    value: i32,
    reason: Option<Reason>,
}

/// The results of all stages so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    asked: i32,
    value: i32,
    reason: Reason,
    limit: Option<Reason>,
}

/// Stage 3: not down while most nodes are lost. Load that nobody can measure is no reason to go down, nor is it one afterwards.
pub(super) fn hold(asked: i32, current: i32, policy: &Policy) -> Stage {
    let held = policy.nodes_lost && asked < current;
    Stage { value: if held { current } else { asked }, reason: held.then_some(Reason::NodesLost) }
}

/// Stage 4: up at once; down only to the highest recommendation of the window.
pub(super) fn stabilise(asked: i32, current: i32, history: &History, elapsed: Duration, policy: &Policy) -> Stage {
    if asked >= current {
        return Stage { value: asked, reason: None };
    }
    let highest = history.highest(elapsed, policy).unwrap_or(asked).max(asked);
    let value = highest.min(current);
    Stage { value, reason: (value > asked).then_some(Reason::ScaleDownStabilized) }
}

/// Stage 5: not more than a share of the replicas is removed in a period.
pub(super) fn rate(stage: Stage, current: i32, history: &History, elapsed: Duration, policy: &Policy) -> Stage {
    if stage.value >= current {
        return Stage { value: stage.value, reason: None };
    }
    let start = i64::from(current) - history.changed(elapsed, policy);
    let lowest = kept(start, policy.down_percent).min(current);
    let value = stage.value.max(lowest);
    Stage { value, reason: (value > stage.value).then_some(Reason::ScaleDownRateLimited) }
}

/// What `start` replicas are at least after `percent` of them may be removed; floating point and truncation as in a
/// HorizontalPodAutoscaler, so that 90 % of 10 removes all and 1 % of 5 removes one.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // saturates; replicas are far below 2^52
pub(super) fn kept(start: i64, percent: u32) -> i32 {
    (start as f64 * (1.0 - f64::from(percent) / 100.0)) as i32
}

/// Stage 6: the bounds, which stand above windows and rates.
pub(super) fn bound(value: i32, input: &Input) -> Stage {
    if value > input.max {
        Stage { value: input.max.max(0), reason: Some(Reason::AtMaxReplicas) }
    } else if value < input.min {
        Stage { value: input.min.max(0), reason: Some(Reason::AtMinReplicas) }
    } else {
        Stage { value, reason: None }
    }
}

// === impl Stage ===

impl Stage {
    /// The number.
    pub(super) fn value(self) -> i32 {
        self.value
    }
}

// === impl Stages ===

impl Stages {
    /// What the metrics ask for.
    pub(super) fn new(asked: i32, reason: Reason) -> Self {
        Self { asked, value: asked, reason, limit: None }
    }

    /// With the result of a further stage.
    pub(super) fn then(mut self, stage: Stage) -> Self {
        self.value = stage.value;
        if let Some(reason) = stage.reason {
            self.reason = reason;
            self.limit = Some(reason);
        }
        self
    }

    /// What the metrics ask for, before any limit.
    pub(super) fn asked(self) -> i32 {
        self.asked
    }

    /// The number so far.
    pub(super) fn value(self) -> i32 {
        self.value
    }

    /// Why it is so.
    pub(super) fn reason(self) -> Reason {
        self.reason
    }

    /// What last held it back.
    pub(super) fn limit(self) -> Option<Reason> {
        self.limit
    }
}
