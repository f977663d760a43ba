//! An observer of its own that keeps every moment: what there was of a WorkerCluster's pods after each event of a watch, and when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::task::JoinHandle;

use crate::{
    Space,
    watcher::{is_active, is_ready},
};

/// A pod at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its node, empty before it has one.
    pub node: String,
    /// Neither ended nor told to end.
    pub active: bool,
    /// Whether the Ready condition holds.
    pub ready: bool,
}

/// The pods after an event, by UID.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When the event came.
    pub at: Instant,
    /// What there was then.
    pub pods: BTreeMap<String, Row>,
}

/// Follows the pods with a label until it is stopped.
pub struct Timeline {
    moments: Arc<Mutex<Vec<Moment>>>,
    task: JoinHandle<Result<()>>,
}

// === impl Moment ===

impl Moment {
    /// Pods that are ready, active and on none of the `lost` nodes.
    #[must_use]
    pub fn serving(&self, lost: &[&str]) -> usize {
        self.pods.values().filter(|row| row.active && row.ready && !lost.contains(&row.node.as_str())).count()
    }

    /// Pods that neither ended nor are told to.
    #[must_use]
    pub fn active(&self) -> usize {
        self.pods.values().filter(|row| row.active).count()
    }

    /// Active pods on each node that has any.
    #[must_use]
    pub fn by_node(&self) -> BTreeMap<&str, usize> {
        let mut nodes = BTreeMap::new();
        for row in self.pods.values().filter(|row| row.active) {
            *nodes.entry(row.node.as_str()).or_default() += 1;
        }
        nodes
    }
}

// === impl Timeline ===

impl Timeline {
    /// Begins with the pods that are there.
    #[must_use]
    pub fn start(space: &Space, selector: &str) -> Self {
        let config = watcher::Config::default().labels(selector).timeout(50);
        let events = watcher(space.api::<Pod>(), config);
        let moments = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let moments = moments.clone();
            async move {
                let mut events = std::pin::pin!(events);
                let mut pods = BTreeMap::new();
                while let Some(event) = events.try_next().await? {
                    match event {
                        Event::Init => {
                            pods.clear();
                            continue;
                        }
                        Event::InitApply(pod) => {
                            pods.insert(pod.uid().unwrap_or_default(), row(&pod));
                            continue;
                        }
                        Event::InitDone => {}
                        Event::Apply(pod) => drop(pods.insert(pod.uid().unwrap_or_default(), row(&pod))),
                        Event::Delete(pod) => drop(pods.remove(&pod.uid().unwrap_or_default())),
                    }
                    let moment = Moment { at: Instant::now(), pods: pods.clone() };
                    moments.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
                }
                bail!("the watch ended")
            }
        });
        Self { moments, task }
    }

    /// All moments until now.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last moment at or before `when`, and all after it.
    #[must_use]
    pub fn since(&self, when: Instant) -> Vec<Moment> {
        let moments = self.moments();
        let after = moments.iter().position(|moment| moment.at > when).unwrap_or(moments.len());
        moments[after.saturating_sub(1)..].to_vec()
    }

    /// How long after `when` it was first so.
    #[must_use]
    pub fn first(&self, when: Instant, so: impl Fn(&Moment) -> bool) -> Option<Duration> {
        let found = self.since(when).into_iter().find(|moment| moment.at >= when && so(moment))?;
        Some(found.at.duration_since(when))
    }

    /// Stops.
    ///
    /// # Errors
    /// Where the watch broke: then something may have been missed.
    pub async fn stop(self) -> Result<Vec<Moment>> {
        if self.task.is_finished() {
            self.task.await??;
        } else {
            self.task.abort();
        }
        Ok(self.moments.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn row(pod: &Pod) -> Row {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    Row { node, active: is_active(pod), ready: is_ready(pod) }
}
