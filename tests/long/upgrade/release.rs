//! The chart's release: upgraded with other values and rolled back by helm; who leads; which primary a pod has.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Space, kubectl::root, observer::text};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::process::Command;

const NAMESPACE: &str = "workercluster-system";
const NAME: &str = "workercluster";

/// The release with its present revision.
#[derive(Clone, Debug)]
pub struct Release {
    revision: u64,
}

/// Who leads, and since when.
#[derive(Debug)]
pub struct Leader {
    pub holder: String,
    /// As in `creationTimestamp`: whole seconds.
    pub since: String,
}

// === impl Release ===

impl Release {
    /// As it is now.
    pub async fn now() -> Result<Self> {
        let status: Value = serde_json::from_str(&helm(&["status", NAME, "--output", "json"]).await?)?;
        Ok(Self { revision: status["version"].as_u64().context("no version of the release")? })
    }

    /// The same chart with this value beside those that the release has; the operators are made anew. Returns when they are ready.
    pub async fn upgrade(self, value: &'static str) -> Result<()> {
        let chart = root().join("charts/workercluster-operator");
        let chart = chart.to_str().context("the chart's path")?;
        helm(&["upgrade", NAME, chart, "--reuse-values", "--set", value, "--wait", "--timeout", "180s"]).await.map(drop)
    }

    /// Back to what this was.
    pub async fn rollback(self) -> Result<()> {
        let revision = self.revision.to_string();
        helm(&["rollback", NAME, &revision, "--wait", "--timeout", "180s"]).await.map(drop)
    }
}

async fn helm(arguments: &[&str]) -> Result<String> {
    let output = Command::new("helm").args(["--namespace", NAMESPACE]).args(arguments).output().await?;
    ensure!(output.status.success(), "helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The holder of the operators' Lease.
pub async fn leader(space: &Space) -> Result<Leader> {
    let leases = Api::<Lease>::namespaced(space.client.clone(), NAMESPACE).list(&ListParams::default()).await?;
    for lease in leases {
        let Some(spec) = lease.spec else { continue };
        if let (Some(holder), Some(since)) =
            (spec.holder_identity.filter(|holder| !holder.is_empty()), spec.acquire_time)
        {
            return Ok(Leader { holder, since: since.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
        }
    }
    bail!("nobody leads")
}

/// The image of the primary that a pod was built with.
pub fn init_image(pod: &Value) -> &str {
    text(pod, "/spec/initContainers/0/image")
}
