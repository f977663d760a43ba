//! All about one WorkerCluster in one value: what `status` prints as text, JSON or YAML.

use crds::{AutoscalingStatus, WorkerTotals};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::{cluster::Cluster, events, pods, progress::Verdict, revisions};

/// One screen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub name: String,
    pub namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Whether the operator has seen the present spec.
    pub observed: bool,
    pub replicas: Replicas,
    pub rollout: Rollout,
    pub workers: WorkerTotals,
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    pub pods: Vec<pods::Row>,
    /// The latest last.
    pub events: Vec<events::Row>,
    /// What could not be looked at, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// Numbers of replicas (pods).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicas {
    pub wanted: i64,
    pub ready: i32,
    pub updated: i32,
    pub available: i32,
    pub outdated: i64,
    pub retiring: i32,
    pub terminating: i32,
}

/// Where the rollout stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Number of the current revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    pub hash: String,
    /// Images of the spec's containers.
    pub images: String,
    pub paused: bool,
    /// `Done`, `Waiting` or `Failed`.
    pub state: &'static str,
    pub message: String,
}

/// Puts it together.
pub fn overview(
    cluster: &Cluster,
    verdict: &Verdict,
    pods: Vec<pods::Row>,
    events: Vec<events::Row>,
    unseen: Vec<String>,
) -> Overview {
    let status = &cluster.status;
    let (state, message) = match verdict {
        Verdict::Done(message) => ("Done", message),
        Verdict::Waiting(message) => ("Waiting", message),
        Verdict::Failed(message) => ("Failed", message),
    };
    Overview {
        name: cluster.name.clone(),
        namespace: cluster.namespace.clone(),
        created: cluster.created,
        observed: cluster.is_observed(),
        replicas: Replicas {
            wanted: cluster.wanted(),
            ready: status.ready_replicas,
            updated: status.updated_replicas,
            available: status.available_replicas,
            outdated: cluster.outdated(),
            retiring: status.retiring_replicas,
            terminating: status.terminating_replicas,
        },
        rollout: Rollout {
            revision: status.rollout.as_ref().map(|rollout| rollout.revision),
            hash: status.current_revision.clone(),
            images: revisions::images(&cluster.spec),
            paused: cluster.is_paused(),
            state,
            message: message.strip_prefix(&format!("{}: ", cluster.name)).unwrap_or(message).into(),
        },
        workers: status.workers,
        conditions: status.conditions.clone(),
        autoscaling: status.autoscaling.clone(),
        pods,
        events,
        unseen,
    }
}
