//! `spec.autoscaling`: the operator chooses the number of replicas.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds and metrics of the automatic number of replicas; the metric that asks for the most wins.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not be greater than maxReplicas"),
    validation = Rule::new("self.minReplicas > 0 || self.metrics.exists(m, has(m.queue))")
        .message("minReplicas: 0 needs a queue metric, because nothing else is seen while no replica runs")
)]
pub struct Autoscaling {
    /// Fewest replicas. 0 needs a queue metric. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10000))]
    pub min_replicas: i32,
    /// Most replicas. No default.
    #[schemars(range(min = 1, max = 10000))]
    pub max_replicas: i32,
    /// What the number of replicas follows, from 1 to 8 metrics; the highest recommendation wins. No default.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub metrics: Vec<Metric>,
}

fn one() -> i32 {
    1
}

/// One metric: exactly one of `cpu`, `requests` and `queue`.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.cpu) ? 1 : 0) + (has(self.requests) ? 1 : 0) + (has(self.queue) ? 1 : 0) == 1").message("set exactly one of cpu, requests and queue"))]
pub struct Metric {
    /// Processor time of the ready replicas, as a HorizontalPodAutoscaler reckons it. Default: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuMetric>,
    /// Requests that replicas have, or that wait in them; needs `http.balancing: Queue`. Default: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsMetric>,
    /// Items in a queue for each replica. Default: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueMetric>,
}

/// Processor time against what the containers request.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuMetric {
    /// Target: processor time that the worker container uses, in percent of what it requests, as a mean over the ready replicas. It
    /// needs `resources.requests.cpu`. No default; 70 is a good start.
    #[schemars(range(min = 1, max = 10000))]
    pub target_utilization: i32,
}

/// Requests against the places that the workers have for them.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestsMetric {
    /// Target: requests that wait or are with a worker, in percent of those that the workers of a replica may have at a time
    /// (`http.maxInFlightPerWorker` times workers, or times `workers.adaptive.max`). A mean over 60 seconds, and over 6 where it rises to twice what
    /// there is. No default; 70 is a good start.
    #[schemars(range(min = 1, max = 1000))]
    pub target_in_flight_percent: i32,
}

/// The length of a queue: exactly one of `redisList` and `redisStream`.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.redisList) != has(self.redisStream)").message("set exactly one of redisList and redisStream"))]
pub struct QueueMetric {
    /// A Redis list; its length (`LLEN`) is the demand. Default: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_list: Option<RedisListSource>,
    /// A consumer group of a Redis stream (Redis 7 or later); entries not yet delivered and entries not yet acknowledged are the
    /// demand. Default: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_stream: Option<RedisStreamSource>,
    /// Target: items for each replica, at least 1. No default.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub target_per_replica: i64,
}

/// A Redis list.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisListSource {
    /// Where Redis answers, as `host:port`. A host without a dot is a Service in the WorkerCluster's namespace. No default.
    #[schemars(length(min = 3, max = 259), regex(pattern = "^[A-Za-z0-9.:\\[\\]_-]+:[0-9]{1,5}$"))]
    pub address: String,
    /// The list's key. No default.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// Number of the Redis database. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub database: i32,
    /// The password: a key of a Secret in the same namespace, which the operator must be allowed to read (chart value
    /// `secretAccess.namespaces`). Default: no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
}

/// A consumer group of a Redis stream.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisStreamSource {
    /// Where Redis answers, as `host:port`. A host without a dot is a Service in the WorkerCluster's namespace. No default.
    #[schemars(length(min = 3, max = 259), regex(pattern = "^[A-Za-z0-9.:\\[\\]_-]+:[0-9]{1,5}$"))]
    pub address: String,
    /// The stream's key. No default.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// The consumer group. No default.
    #[schemars(length(min = 1, max = 1024))]
    pub group: String,
    /// Number of the Redis database. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub database: i32,
    /// The password: a key of a Secret in the same namespace, which the operator must be allowed to read (chart value
    /// `secretAccess.namespaces`). Default: no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
}

/// A key of a Secret in the WorkerCluster's namespace.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret. No default.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret. No default.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
