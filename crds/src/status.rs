//! `status`: what the operator saw and decided. Timestamps, never ages; nothing here changes while nothing happens.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw and decided.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerClusterStatus {
    /// Replicas (pods) that exist and neither retire nor end.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready_replicas: i32,
    /// Replicas that have been ready for `rollout.minReadySeconds`.
    pub available_replicas: i32,
    /// Replicas of the current revision.
    pub updated_replicas: i32,
    /// Replicas that are too many and serve out: not ready any more, and deleted when no worker of them holds a connection (with `balancing: Queue`: a
    /// request or a WebSocket), at the latest after `workers.drainSeconds`. Where more are wanted before, they are called back.
    pub retiring_replicas: i32,
    /// Replicas that are ending and not gone yet.
    pub terminating_replicas: i32,
    /// Workers in all replicas, as their primaries last said.
    pub workers: WorkerTotals,
    /// Label selector of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Generation of the spec that this status is about.
    pub observed_generation: i64,
    /// Revision that new pods are built from: a hash of the template, `workers`, `http` and `nodeLoss`. While the spec cannot be used, or
    /// `rollout.paused` holds, it is the last one that could.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// How far the current revision has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The reload that was ordered last (`kubectl wc reload`). Absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadStatus>,
    /// Ready, Available, Progressing, ScalingActive, ScalingLimited, WorkersHealthy, SettingsApplied, Reconciling and Stalled, each with the reason
    /// and what to do.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The autoscaler's last decision. Absent without `spec.autoscaling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
}

/// How far a revision has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Number of the current revision: each rollout, also one back, has the next higher.
    pub revision: i64,
    /// When the rollout last came on: more pods of the current revision than ever were available, or an older one went. Absent when it is
    /// complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<Time>,
    /// Replicas of the current revision that are available.
    pub updated_available_replicas: i32,
    /// The most that were so at a time until the rollout was complete: only more than that is progress.
    pub peak_available_replicas: i32,
    /// Replicas of older revisions.
    pub outdated_replicas: i32,
}

/// How far a reload has come: all workers replaced by fresh ones, replica by replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReloadStatus {
    /// The value of the annotation `workercluster.dev/reload` that ordered it.
    pub id: String,
    /// Replicas that it is about.
    pub replicas: i32,
    /// Replicas whose workers are all fresh.
    pub done_replicas: i32,
    /// What the next replica waits for: `pod X is not ready`. Absent where it waits for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Why it stopped: the pod in which a fresh worker did not get ready, and why. The other replicas keep their workers. Absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Numbers of workers, summed over the replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerTotals {
    /// Workers that are ready.
    pub ready: i64,
    /// Workers that the primaries are to keep.
    pub total: i64,
    /// Workers that were forked to replace one that ended, in the present pods.
    pub restarts: i64,
}

/// The autoscaler's last decision.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalingStatus {
    /// The decided number of replicas; `spec.replicas` mirrors it.
    pub desired_replicas: i32,
    /// Why the number is what it is, one word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in a sentence: figures, targets, and what held the number back.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the number last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    /// When the figures below were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled_at: Option<Time>,
    /// Seconds between two readings of each replica, where they are more than 1: in a cluster with more than 1000 replicas of all WorkerClusters
    /// one more for each further 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_interval_seconds: Option<i64>,
    /// Each metric in the order of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub metrics: Vec<MetricStatus>,
}

/// One metric, as last seen.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricStatus {
    /// Which metric: `cpu`, `requests`, or the queue's source and key.
    pub name: String,
    /// The figure, with its unit; absent while it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The target, with its unit.
    pub target: String,
    /// Replicas that this metric asks for; absent while it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended_replicas: Option<i32>,
    /// Why the figure is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
