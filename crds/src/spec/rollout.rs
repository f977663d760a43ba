//! `spec.rollout`: how pods of one revision give way to those of the next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Amount;

/// How pods of one revision give way to those of the next. `replicas` and `autoscaling` change without a rollout.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!((self.maxSurge == 0 || self.maxSurge == '0%') && (self.maxUnavailable == 0 || self.maxUnavailable == '0%'))",
    "message": "maxSurge and maxUnavailable must not both be 0: no pod could be replaced",
    "fieldPath": ".maxSurge"
}, {
    "rule": "self.progressDeadlineSeconds > self.minReadySeconds",
    "message": "progressDeadlineSeconds must be more than minReadySeconds, or every rollout would miss it",
    "fieldPath": ".progressDeadlineSeconds"
}]))]
pub struct Rollout {
    /// Pods above the wanted number while a rollout goes on: a number, or a share of the wanted ones, rounded up. Default 25%.
    pub max_surge: Amount,
    /// Pods that may be missing from the wanted number of available ones while a rollout goes on: a number, or a share, rounded down.
    /// Default 0: there are never fewer than before.
    pub max_unavailable: Amount,
    /// Seconds that a pod must be ready without a break to count as available. Default 0.
    #[schemars(range(min = 0, max = 86400))]
    pub min_ready_seconds: i64,
    /// Seconds without any progress of a rollout after which the condition Progressing says `ProgressDeadlineExceeded`; the rollout goes
    /// on all the same. Must be more than `minReadySeconds`. Default 600.
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: i64,
    /// Whether a changed template, `workers` or `http` waits: until this is false, missing pods are made from the revision before.
    /// Default false.
    pub paused: bool,
    /// Old revisions that are kept to go back to (`kubectl wc rollout undo`). Default 10.
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,
}

// === impl Rollout ===

impl Default for Rollout {
    /// A Deployment's figures, but that none is missing at any time.
    fn default() -> Self {
        Self {
            max_surge: Amount::Percent(25),
            max_unavailable: Amount::Count(0),
            min_ready_seconds: 0,
            progress_deadline_seconds: 600,
            paused: false,
            revision_history_limit: 10,
        }
    }
}
