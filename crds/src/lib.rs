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
    Autoscaling, Balancing, CpuMetric, Http, Ipc, Metric, QueueMetric, Ready, RedisListSource, RedisStreamSource,
    Restart, SecretKey, WorkerCluster, WorkerClusterSpec, WorkerCount, Workers,
};
pub use status::{AutoscalingStatus, MetricStatus, WorkerClusterStatus, WorkerTotals};
pub use template::PodTemplate;
