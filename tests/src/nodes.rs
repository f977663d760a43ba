//! Three nodes in three zones, and what can happen to them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Space, kubectl::root, until};

/// A control plane, which takes pods too, and two workers; zones a, b and c.
pub struct Nodes {
    space: std::sync::Arc<Space>,
    /// The node with the API server, which nothing is done to.
    pub control_plane: String,
    /// The others.
    pub workers: [String; 2],
}

const ZONE: &str = "topology.kubernetes.io/zone";
const PLANE: &str = "node-role.kubernetes.io/control-plane";
/// A node is found silent within kube-controller-manager's grace period of 50 s and its look of 5 s; the rest is for a busy machine.
const SILENCE: Duration = Duration::from_secs(90);
/// From the start of a node's machine until it is Ready.
const START: Duration = Duration::from_secs(120);

// === impl Nodes ===

impl Nodes {
    /// Runs `test` with three nodes, and puts them back as they were, whatever came of it.
    ///
    /// # Errors
    /// The test's own, or where there are not three.
    pub async fn run<F>(test: &str, body: impl FnOnce(std::sync::Arc<Space>, std::sync::Arc<Self>) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        Space::run(test, |space| async move {
            let nodes = std::sync::Arc::new(Self::find(space.clone()).await?);
            let result = match nodes.prepare().await {
                Ok(()) => body(space, nodes.clone()).await,
                Err(error) => Err(error),
            };
            let restored = nodes.restore().await;
            result.and(restored)
        })
        .await
    }

    async fn find(space: std::sync::Arc<Space>) -> Result<Self> {
        let all = Api::<Node>::all(space.client.clone()).list(&ListParams::default().labels("type!=kwok")).await?;
        let (planes, workers): (Vec<_>, Vec<_>) = all.items.iter().partition(|node| node.labels().contains_key(PLANE));
        let names = |nodes: &[&Node]| nodes.iter().map(|node| node.name_any()).collect::<Vec<_>>();
        let workers = <[String; 2]>::try_from(names(&workers)).map_err(|found| anyhow::anyhow!("workers: {found:?}"));
        let control_plane = names(&planes).pop().context("no control plane")?;
        Ok(Self { space, control_plane, workers: workers.context("this needs: WORKERS=2 make cluster")? })
    }

    async fn prepare(&self) -> Result<()> {
        for (node, zone) in [(&self.control_plane, "a"), (&self.workers[0], "b"), (&self.workers[1], "c")] {
            self.space.kubectl(&["label", "--overwrite", "node", node, &format!("{ZONE}={zone}")]).await?;
        }
        self.taint(&self.control_plane, &format!("{PLANE}:NoSchedule-")).await
    }

    async fn restore(&self) -> Result<()> {
        for worker in &self.workers {
            // Each fails where there is nothing to put right.
            let _ = self.machine(worker, "unpause").await;
            let _ = self.machine(worker, "start").await;
            let _ = self.taint(worker, "e2e-").await;
            self.space.kubectl(&["uncordon", worker]).await?;
        }
        self.taint(&self.control_plane, &format!("{PLANE}=:NoSchedule")).await?;
        for worker in &self.workers {
            self.ready(worker).await?;
        }
        Ok(())
    }

    /// Sets a taint, or with a `-` at its end takes it off.
    ///
    /// # Errors
    /// What kubectl says, but for a taint that is not there.
    pub async fn taint(&self, node: &str, taint: &str) -> Result<()> {
        match self.space.kubectl(&["taint", "--overwrite", "node", node, taint]).await {
            Err(error) if taint.ends_with('-') && error.to_string().contains("not found") => Ok(()),
            done => done.map(drop),
        }
    }

    /// Does something to the node's machine, as `tests/cluster/node` has it, and says when it was done.
    ///
    /// # Errors
    /// Where that fails.
    pub async fn machine(&self, node: &str, what: &str) -> Result<Instant> {
        let begun = Instant::now();
        let output = Command::new(root().join("tests/cluster/node")).args([node, what]).output().await?;
        ensure!(output.status.success(), "{node} {what}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(begun)
    }

    /// Waits until the API server knows the node to be silent.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn silent(&self, node: &str) -> Result<()> {
        self.health(node, false, SILENCE).await
    }

    /// Waits until the node is Ready.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn ready(&self, node: &str) -> Result<()> {
        self.health(node, true, START).await
    }

    async fn health(&self, node: &str, ready: bool, patience: Duration) -> Result<()> {
        let api = Api::<Node>::all(self.space.client.clone());
        until(&format!("node {node} Ready={ready}"), patience, async || {
            let found = api.get(node).await?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            let status = conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|found| found.status);
            let is_ready = status.as_deref() == Some("True");
            Ok(if is_ready == ready { Ok(()) } else { Err(format!("{status:?}")) })
        })
        .await
    }
}

/// Spreads the pods of a WorkerCluster over the zones that can take them, as evenly as can be.
pub fn spread(cluster: &mut Value) {
    let name = cluster["metadata"]["name"].clone();
    cluster["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        // Without this the zone of a lost node stays one that pods are wanted in, and the ones that take their place wait.
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {(crds::names::LABEL_NAME): name}}
    }]);
}
