//! What is done to a WorkerCluster: eight workloads, each from a settled beginning to a settled end.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Error, Result};
use crds::WorkerCluster;
use e2e::observer::{Observer, controller, is_active, is_ready, label};
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::{end_state::settled, lane::Lane};

/// Name of the WorkerCluster in every lane.
pub const NAME: &str = "web";
/// What is waited for in the course of a workload comes in this time, also when an operator was killed or stood still meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Items for each replica.
const PER_REPLICA: usize = 5;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// A WorkerCluster is created.
    Create,
    /// Three more replicas.
    ScaleUp,
    /// Three fewer.
    ScaleDown,
    /// Another template.
    Rollout,
    /// A template whose pods can never run, and back.
    Rollback,
    /// It is deleted while it grows.
    Delete,
    /// It is deleted without its pods, and created again.
    Adopt,
    /// A queue grows, and is emptied.
    Autoscale,
}

/// All of them.
pub const WORKLOADS: [Workload; 8] = [
    Workload::Create,
    Workload::ScaleUp,
    Workload::ScaleDown,
    Workload::Rollout,
    Workload::Rollback,
    Workload::Delete,
    Workload::Adopt,
    Workload::Autoscale,
];

const WORDS: [&str; 8] = ["create", "scale-up", "scale-down", "rollout", "rollback", "delete", "adopt", "autoscale"];

/// A workload with so many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scenario {
    /// What is done.
    pub workload: Workload,
    /// Replicas, or what they are reckoned from; at least 1.
    pub size: usize,
}

// === impl Workload ===

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = WORKLOADS.iter().position(|workload| workload == self);
        f.write_str(place.map_or("", |place| WORDS[place]))
    }
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let place = WORDS.iter().position(|word| *word == text);
        place
            .map(|place| WORKLOADS[place])
            .ok_or_else(|| anyhow::anyhow!("{text} is no workload: {}", WORDS.join(", ")))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workload, self.size)
    }
}

// === impl Scenario ===

impl Scenario {
    /// The WorkerCluster at the beginning; `None` where there is none.
    fn beginning(self, lane: &Lane) -> Option<Value> {
        let replicas = match self.workload {
            Workload::Create => return None,
            Workload::ScaleDown => self.size + 3,
            Workload::Autoscale => 1,
            _ => self.size,
        };
        let mut cluster = cluster(replicas);
        if self.workload == Workload::Autoscale {
            cluster["spec"]["autoscaling"] = json!({
                "minReplicas": 1, "maxReplicas": self.size + 3,
                "metrics": [{"queue": {"targetPerReplica": PER_REPLICA, "redisList": {"address": lane.redis.address(), "key": lane.namespace}}}]
            });
        }
        Some(cluster)
    }

    /// Brings the lane to the beginning, without faults.
    ///
    /// # Errors
    /// Where it does not settle.
    pub async fn set_up(self, lane: &Lane) -> Result<()> {
        if self.workload == Workload::Autoscale {
            lane.redis.empty(&lane.namespace).await?;
        }
        let Some(cluster) = self.beginning(lane) else { return Ok(()) };
        create(lane, cluster).await?;
        let there = |observer: &Observer| {
            if observer.objects("workerclusters").is_empty() {
                Err("no WorkerCluster yet".into())
            } else {
                settled(observer)
            }
        };
        lane.observer.until("a settled beginning", PATIENCE, there).await
    }

    /// Does it.
    ///
    /// # Errors
    /// Where a step on the way is not reached.
    pub async fn act(self, lane: &Lane) -> Result<()> {
        let clusters = lane.api::<WorkerCluster>();
        match self.workload {
            Workload::Create => create(lane, cluster(self.size)).await,
            Workload::ScaleUp => patch(lane, json!({"spec": {"replicas": self.size + 3}})).await,
            Workload::ScaleDown => patch(lane, json!({"spec": {"replicas": self.size}})).await,
            Workload::Rollout => patch(lane, template("second")).await,
            Workload::Rollback => {
                let known = revisions(&lane.observer);
                let mut broken = template("broken");
                broken["spec"]["template"]["spec"] = json!({"nodeSelector": {"type": "nowhere"}});
                patch(lane, broken).await?;
                lane.observer
                    .until("a pod of the broken revision", PATIENCE, |observer| {
                        let now = revisions(observer);
                        if now.iter().any(|revision| !known.contains(revision)) { Ok(()) } else { Err(now.join(" ")) }
                    })
                    .await?;
                let mut back = template("first");
                back["spec"]["template"]["spec"] = json!({"nodeSelector": {"type": "kwok"}});
                patch(lane, back).await
            }
            Workload::Delete => {
                patch(lane, json!({"spec": {"replicas": self.size + 3}})).await?;
                let size = self.size;
                lane.observer
                    .until("a further pod", PATIENCE, |observer| {
                        let pods = active(observer).len();
                        if pods > size { Ok(()) } else { Err(format!("{pods} pods")) }
                    })
                    .await?;
                clusters.delete(NAME, &DeleteParams::default()).await?;
                Ok(())
            }
            Workload::Adopt => {
                let orphan =
                    DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
                clusters.delete(NAME, &orphan).await?;
                lane.observer
                    .until("the WorkerCluster to be gone", PATIENCE, |observer| {
                        if observer.objects("workerclusters").is_empty() { Ok(()) } else { Err("it is there".into()) }
                    })
                    .await?;
                create(lane, cluster(self.size)).await
            }
            Workload::Autoscale => {
                let most = self.size + 3;
                lane.redis.push(&lane.namespace, PER_REPLICA * most).await?;
                lane.observer
                    .until("all replicas to be ready", PATIENCE, |observer| {
                        let ready = active(observer).iter().filter(|pod| is_ready(pod)).count();
                        if ready == most { Ok(()) } else { Err(format!("{ready} of {most}")) }
                    })
                    .await?;
                lane.redis.empty(&lane.namespace).await
            }
        }
    }
}

/// The pods that count.
#[must_use]
pub fn active(observer: &Observer) -> Vec<std::sync::Arc<Value>> {
    let mut pods = observer.objects("pods");
    pods.retain(|pod| {
        is_active(pod) && !label(pod, crds::names::LABEL_REVISION).is_empty() && !controller(pod).is_empty()
    });
    pods
}

fn revisions(observer: &Observer) -> Vec<String> {
    active(observer).iter().map(|pod| label(pod, crds::names::LABEL_REVISION).to_owned()).collect()
}

/// A WorkerCluster whose pods are simulated.
#[must_use]
pub fn cluster(replicas: usize) -> Value {
    json!({
        "apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "metadata": {"name": NAME},
        "spec": {
            "replicas": replicas, "workers": {"count": 1, "drainSeconds": 0}, "http": {"port": 8000},
            "template": {
                "metadata": {"annotations": {"faults": "first"}},
                "spec": {
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "containers": [{"name": "worker", "image": "none", "command": ["sleep", "infinity"]}]
                }
            }
        }
    })
}

/// A WorkerCluster whose pods nobody schedules: they are never ready, and cost as little as pods can.
#[must_use]
pub fn unscheduled(name: &str, replicas: usize) -> Value {
    let mut cluster = cluster(replicas);
    cluster["metadata"]["name"] = name.into();
    cluster["spec"]["template"]["spec"]["schedulerName"] = "nobody".into();
    cluster
}

fn template(word: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"faults": word}}}}})
}

/// Creates a WorkerCluster.
///
/// # Errors
/// What the API server says.
pub async fn create(lane: &Lane, cluster: Value) -> Result<()> {
    lane.api::<WorkerCluster>().create(&PostParams::default(), &serde_json::from_value(cluster)?).await?;
    Ok(())
}

async fn patch(lane: &Lane, patch: Value) -> Result<()> {
    lane.patch(NAME, patch).await
}
