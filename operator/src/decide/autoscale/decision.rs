//! What a decision says: the number, why, and what goes to status.

use std::fmt;

use crds::MetricStatus;
use jiff::Timestamp;

use super::history::History;

/// A decided number of replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The number of replicas that is wanted from now on.
    pub desired: i32,
    /// Why, in one word: `status.autoscaling.reason`, the event's reason, a metric's label.
    pub reason: Reason,
    /// The same in a sentence, with figures; it changes as often as they do.
    pub message: String,
    /// Each metric in the order of the spec.
    pub metrics: Vec<MetricStatus>,
    /// When the oldest figure in it was taken; `None` while nothing is known.
    pub sampled_at: Option<Timestamp>,
    /// When fewer replicas may be wanted at the earliest, while the stabilisation window holds the number.
    pub held_until: Option<Timestamp>,
    /// The condition `ScalingActive`: whether the metrics are known.
    pub scaling_active: ConditionData,
    /// The condition `ScalingLimited`: whether something other than the metrics holds the number.
    pub scaling_limited: ConditionData,
    /// For the next call.
    pub history: History,
}

/// A condition without its times and generation. Its message holds no figure that changes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionData {
    /// Whether it is `"True"`.
    pub status: bool,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// Why the number of replicas is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Processor time asks for it.
    CpuUtilization,
    /// A queue's length asks for it.
    QueueLength,
    /// Requests that wait or are in flight ask for it.
    RequestsInFlight,
    /// They ask for it by their sudden rise.
    RequestsSurge,
    /// Fewer are asked for, and more were within the stabilisation window.
    ScaleDownStabilized,
    /// Fewer are asked for, and no more may be removed so soon.
    ScaleDownRateLimited,
    /// Fewer are asked for while most nodes are lost: by those that can be seen.
    NodesLost,
    /// More are asked for than `maxReplicas`.
    AtMaxReplicas,
    /// Fewer are asked for than `minReplicas`.
    AtMinReplicas,
    /// Fewer are asked for by the metrics that are known, and another is unknown.
    MetricsPartlyUnknown,
    /// No metric is known.
    MetricsUnknown,
}

// === impl Reason ===

impl Reason {
    /// The reason as Kubernetes writes reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CpuUtilization => "CpuUtilization",
            Self::QueueLength => "QueueLength",
            Self::RequestsInFlight => "RequestsInFlight",
            Self::RequestsSurge => "RequestsSurge",
            Self::ScaleDownStabilized => "ScaleDownStabilized",
            Self::ScaleDownRateLimited => "ScaleDownRateLimited",
            Self::NodesLost => "NodesLost",
            Self::AtMaxReplicas => "AtMaxReplicas",
            Self::AtMinReplicas => "AtMinReplicas",
            Self::MetricsPartlyUnknown => "MetricsPartlyUnknown",
            Self::MetricsUnknown => "MetricsUnknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
