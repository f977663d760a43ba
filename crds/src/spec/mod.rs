//! `spec`: what a user asks for.

mod amount;
mod autoscaling;
mod disruption;
mod http;
mod rollout;
mod upkeep;
mod workers;

pub use amount::Amount;
pub use autoscaling::{Autoscaling, CpuMetric, Metric, QueueMetric, RedisListSource, RedisStreamSource, SecretKey};
pub use disruption::{Disruption, NodeLoss, PodReplacementPolicy};
pub use http::{Affinity, Balancing, Http, SingleFlight};
use kube::{CustomResource, KubeSchema};
pub use rollout::Rollout;
use serde::{Deserialize, Serialize};
pub use upkeep::{Adaptive, Hang, HangSignal, Recycle};
pub use workers::{Ipc, LIVE_FIELDS, Ready, Restart, WorkerCount, WorkerMetrics, Workers};

use crate::{status::WorkerClusterStatus, template::PodTemplate};

/// A clustered service: replicas (pods), each with a primary that forks and watches several workers of one command.
#[derive(Clone, Debug, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "workercluster.dev",
    version = "v1alpha1",
    kind = "WorkerCluster",
    namespaced,
    status = "WorkerClusterStatus",
    derive = "PartialEq",
    shortname = "wc",
    category = "workers",
    doc = "WorkerCluster is a clustered service: replicas (pods), each with a primary that forks, feeds and watches several workers of one command.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas", description = "Replicas asked for"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "Replicas that are ready"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.workers.ready", description = "Workers that are ready, in all replicas"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why the WorkerCluster is ready, or is not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.currentRevision", priority = "1", description = "Revision that new pods are built from"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.workers.restarts", priority = "1", description = "Workers that were forked again, in the present pods"),
    printcolumn(name = "Last Scale", type_ = "string", json_path = ".status.autoscaling.reason", priority = "1", description = "Why the autoscaler decided as it did"),
    validation = Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label (lower-case letters, digits and '-', beginning with a letter) of at most 52 characters, because pods and Services are named after it")
        .field_path(".metadata.name"),
    validation = Rule::new("!has(self.spec.http) || self.spec.http.balancing != 'Passing' || self.spec.workers.ipc != 'None'")
        .message("balancing Passing hands connections over Node's channel: set workers.ipc to Auto or Node, or use Shared")
        .field_path(".spec.http.balancing"),
    validation = Rule::new("!has(self.spec.http) || !has(self.spec.http.slowStartSeconds) || self.spec.http.slowStartSeconds == 0 || self.spec.http.balancing == 'Steered'")
        .message("slowStartSeconds needs balancing Steered: otherwise whoever is free takes the next connection")
        .field_path(".spec.http.slowStartSeconds"),
    validation = Rule::new("!has(self.spec.http) || self.spec.http.balancing == 'Queue' || !(has(self.spec.http.maxInFlightPerWorker) || has(self.spec.http.queue) || (has(self.spec.http.trustForwarded) && self.spec.http.trustForwarded) || has(self.spec.http.readyPath) || has(self.spec.http.singleFlight) || has(self.spec.http.affinity))")
        .message("maxInFlightPerWorker, queue, trustForwarded, readyPath, singleFlight and affinity need balancing Queue: otherwise the primary sees connections, and no requests")
        .field_path(".spec.http.balancing"),
    validation = Rule::new("!has(self.spec.autoscaling) || !self.spec.autoscaling.metrics.exists(m, has(m.requests)) || (has(self.spec.http) && self.spec.http.balancing == 'Queue')")
        .message("the metric requests needs http.balancing Queue: otherwise the primary sees connections, and no requests")
        .field_path(".spec.autoscaling.metrics"),
    validation = Rule::new("self.spec.workers.ready != 'Http' || (has(self.spec.http) && self.spec.http.balancing == 'Queue')")
        .message("ready Http needs http.balancing Queue: otherwise a request cannot be sent to one worker")
        .field_path(".spec.workers.ready"),
    validation = Rule::new("!has(self.spec.workers.recycle) || !has(self.spec.workers.recycle.requests) || (has(self.spec.http) && self.spec.http.balancing == 'Queue')")
        .message("recycle.requests needs http.balancing Queue: otherwise nobody counts a worker's requests")
        .field_path(".spec.workers.recycle.requests"),
    validation = Rule::new("!self.spec.workers.shutdownMessage || self.spec.workers.ipc != 'None'")
        .message("the message `shutdown` goes over Node's channel: set workers.ipc to Auto or Node, or remove shutdownMessage")
        .field_path(".spec.workers.shutdownMessage"),
    validation = Rule::new("self.spec.workers.metrics == 'None' || self.spec.workers.ipc != 'None'")
        .message("workers are asked for their metrics on Node's channel: set workers.ipc to Auto or Node, or metrics to None")
        .field_path(".spec.workers.metrics"),
)]
#[serde(rename_all = "camelCase")]
pub struct WorkerClusterSpec {
    /// Number of replicas (pods). Default 1. With `autoscaling` the operator writes its decision here and ignores what
    /// others write; without it `kubectl scale` and a HorizontalPodAutoscaler may set it.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: i32,

    /// The pod to run, as in a Deployment (core/v1 `PodTemplateSpec`). The container named `worker`, or the only one, is the user's
    /// program; its `command` is required, because the primary starts it. No default.
    pub template: PodTemplate,

    /// The workers (processes) in each pod. Default: one for each processor of the container's limit.
    #[serde(default)]
    pub workers: Workers,

    /// Serve HTTP: the port that all workers share, and a Service for it. Default: none, nothing is listened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,

    /// Let the operator choose the number of replicas. Default: none, `replicas` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// How pods of one revision give way to those of the next.
    #[serde(default)]
    pub rollout: Rollout,

    /// Keep evictions within bounds: a `PodDisruptionBudget` for the replicas. Default: none, evictions are not held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,

    /// When the pod that takes the place of one that is ending is made. `TerminationStarted`: at once. `TerminationComplete`: when the
    /// other's containers have ended, so that never more pods than wanted and surge run. Default TerminationStarted.
    #[serde(default)]
    pub pod_replacement_policy: PodReplacementPolicy,

    /// What becomes of pods on a node that does not answer. `Default`: Kubernetes evicts them after five minutes. `Fast`: after ten seconds,
    /// by tolerations in the pod, unless the template has its own. Part of the revision. Default Default.
    #[serde(default)]
    pub node_loss: NodeLoss,

    /// Failed pods that are kept to be looked at; older ones are deleted. Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_pods_history_limit: i32,
}

fn three() -> i32 {
    3
}

fn one() -> i32 {
    1
}
