//! The `WorkerCluster` API types: the source of the CustomResourceDefinition, of its reference and of every name.
//!
//! No client and no behaviour lives here: `operator` decides, this crate says what can be said.

pub mod crd;
pub mod names;
pub mod rbac;
pub mod spec;
pub mod status;
pub mod template;

pub use spec::{
    Adaptive, Affinity, Amount, Autoscaling, Balancing, CpuMetric, Disruption, Hang, HangSignal, Http, Ipc,
    LIVE_FIELDS, Metric, NodeLoss, PodReplacementPolicy, QueueMetric, Ready, Recycle, RedisListSource,
    RedisStreamSource, Restart, Rollout, SecretKey, SingleFlight, WorkerCluster, WorkerClusterSpec, WorkerCount,
    WorkerMetrics, Workers,
};
pub use status::{AutoscalingStatus, MetricStatus, ReloadStatus, RolloutStatus, WorkerClusterStatus, WorkerTotals};
pub use template::PodTemplate;
