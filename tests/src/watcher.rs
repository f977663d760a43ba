//! An observer of its own: follows a WorkerCluster's pods by watch events and keeps account of how many were ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::task::JoinHandle;

use crate::Space;

/// What was seen of the pods.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Ready pods that nobody has told to stop, after each event.
    pub ready: Vec<usize>,
    /// Pods that neither end nor are told to, after each event.
    pub active: Vec<usize>,
    /// UIDs of all pods that ever were there.
    pub uids: BTreeSet<String>,
}

/// Follows pods until it is stopped.
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<Result<()>>,
}

// === impl Watcher ===

impl Watcher {
    /// Begins with the pods that are there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn start(space: &Space, name: &str) -> Result<Self> {
        let api = space.api::<Pod>();
        let selector = format!("{}={name}", crds::names::LABEL_NAME);
        let list = api.list(&ListParams::default().labels(&selector)).await?;
        let mut pods: BTreeMap<String, Pod> =
            list.items.into_iter().map(|pod| (pod.uid().unwrap_or_default(), pod)).collect();
        let seen = Arc::new(Mutex::new(Seen::default()));
        note(&seen, &pods);
        let version = list.metadata.resource_version.context("a list without a version")?;
        let task = tokio::spawn({
            let seen = seen.clone();
            async move { follow(&api, &selector, version, &mut pods, &seen).await }
        });
        Ok(Self { seen, task })
    }

    /// What was seen until now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops, and tells what was seen.
    ///
    /// # Errors
    /// Where the watch broke: then something may have been missed.
    pub async fn stop(self) -> Result<Seen> {
        if self.task.is_finished() {
            self.task.await??;
            bail!("the watch ended early");
        }
        self.task.abort();
        Ok(self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

// === impl Seen ===

impl Seen {
    /// The fewest ready pods at any time.
    #[must_use]
    pub fn fewest_ready(&self) -> usize {
        self.ready.iter().copied().min().unwrap_or(0)
    }

    /// The most active pods at any time.
    #[must_use]
    pub fn most_active(&self) -> usize {
        self.active.iter().copied().max().unwrap_or(0)
    }
}

async fn follow(
    api: &Api<Pod>,
    selector: &str,
    mut version: String,
    pods: &mut BTreeMap<String, Pod>,
    seen: &Mutex<Seen>,
) -> Result<()> {
    let params = WatchParams::default().labels(selector).timeout(290);
    loop {
        let mut events = api.watch(&params, &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    version = pod.resource_version().unwrap_or_default();
                    pods.insert(pod.uid().unwrap_or_default(), pod);
                }
                WatchEvent::Deleted(pod) => {
                    version = pod.resource_version().unwrap_or_default();
                    pods.remove(&pod.uid().unwrap_or_default());
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(error) => bail!("the watch broke: {error:?}"),
            }
            note(seen, pods);
        }
    }
}

fn note(seen: &Mutex<Seen>, pods: &BTreeMap<String, Pod>) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.uids.extend(pods.keys().cloned());
    seen.ready.push(pods.values().filter(|pod| is_active(pod) && is_ready(pod)).count());
    seen.active.push(pods.values().filter(|pod| is_active(pod)).count());
}

/// Neither ended nor told to end.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether the Ready condition holds.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
