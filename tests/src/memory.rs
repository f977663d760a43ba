//! Memory of processes in pods, as the kernel of the node tells it.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::Space;

/// Resident memory of a process, and how it was read.
#[derive(Clone, Debug)]
pub struct Resident {
    /// KiB now.
    pub kib: u64,
    /// The most KiB that it ever had; the present where only that is known.
    pub most_kib: u64,
    /// Where the figure is from.
    pub from: &'static str,
}

/// `VmRSS` and `VmHWM` of a `/proc/PID/status`.
///
/// # Errors
/// Where it has none.
pub fn of_status(status: &str, from: &'static str) -> Result<Resident> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .with_context(|| format!("no {name} in {status}"))
    };
    Ok(Resident { kib: field("VmRSS")?, most_kib: field("VmHWM")?, from })
}

// === impl Space ===

impl Space {
    /// Resident memory of the operator: by `/proc` where the node is a container on this machine, as in kind; else what the kubelet says
    /// of its anonymous memory, which leaves out the program's own pages.
    ///
    /// # Errors
    /// Where there is no operator, or nobody says anything.
    pub async fn operator_memory(&self) -> Result<Resident> {
        let pod = self.operator().await?;
        let uid = pod.uid().context("no UID")?;
        match of_pod(&uid, "operator") {
            Some(status) => of_status(&status, "VmRSS in /proc"),
            None => self.kubelet_memory(&pod).await,
        }
    }

    /// The pod of the operator that works: the one whose name the Lease has.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn operator(&self) -> Result<Pod> {
        let params = ListParams::default().labels("app.kubernetes.io/name=workercluster-operator");
        let pods = Api::<Pod>::all(self.client.clone()).list(&params).await?;
        let leases = Api::<Lease>::all(self.client.clone()).list(&ListParams::default()).await?;
        let holds = |pod: &Pod| {
            let holder = Some(pod.name_any());
            leases.items.iter().any(|lease| {
                lease.namespace() == pod.namespace()
                    && lease.spec.as_ref().is_some_and(|spec| spec.holder_identity == holder)
            })
        };
        pods.items.into_iter().find(holds).context("no operator works")
    }

    async fn kubelet_memory(&self, pod: &Pod) -> Result<Resident> {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("no node")?;
        let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/stats/summary")).body(Vec::new())?;
        let summary: Value = tokio::time::timeout(Duration::from_secs(10), self.client.request(request)).await??;
        let pods = summary["pods"].as_array().into_iter().flatten();
        let mut found = pods.filter(|other| other["podRef"]["uid"] == pod.metadata.uid.as_deref().unwrap_or_default());
        match found.next().and_then(|pod| pod["containers"][0]["memory"]["rssBytes"].as_u64()) {
            Some(bytes) => Ok(Resident { kib: bytes / 1024, most_kib: bytes / 1024, from: "rssBytes of the kubelet" }),
            None => bail!("the kubelet does not know the operator's memory yet"),
        }
    }
}

/// The status of the process `name` in a pod, where its node shares this machine's kernel.
fn of_pod(uid: &str, name: &str) -> Option<String> {
    let names = [uid.to_owned(), uid.replace('-', "_")];
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            names.iter().any(|name| cgroup.contains(name.as_str()))
        })
        .filter_map(|process| fs::read_to_string(process.join("status")).ok())
        .find(|status| status.lines().next().is_some_and(|line| line.trim_start_matches("Name:").trim() == name))
}
