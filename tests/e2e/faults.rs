//! What fails is replaced, and nothing is replaced in a hurry without end.

mod back_off;
mod kill;
mod replaced;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use e2e::{Space, space::PATIENCE, until};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// A program that can be killed, started by itself, and made to take too much memory.
const SERVER: &str = include_str!("faults/server.js");

/// Restarts of containers by the pod's UID.
fn restarts(pods: &[Pod]) -> BTreeMap<String, i32> {
    let restarts = |pod: &Pod| {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        containers.map(|container| container.restart_count).sum()
    };
    pods.iter().map(|pod| (pod.uid().unwrap_or_default(), restarts(pod))).collect()
}

/// Waits for the event of this reason about `web`, of which there is no second one.
async fn told_once(space: &Space, reason: &str) -> Result<()> {
    let told = until(&format!("an event {reason}"), PATIENCE, async || {
        let events = space.events("web").await?;
        let told = events.iter().filter(|(found, _)| found == reason).count();
        Ok(if told > 0 { Ok(told) } else { Err(format!("{events:?}")) })
    })
    .await?;
    ensure!(told == 1, "{told} events {reason}");
    Ok(())
}
