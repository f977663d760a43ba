//! What fails is replaced, and nothing is replaced in a hurry without end.

mod back_off;
mod kill;
mod replaced;

use std::collections::BTreeMap;

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
