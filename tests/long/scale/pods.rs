//! Follows the pods of one side by a watch that reads no more of each than it has to, and counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use e2e::Space;
use futures::TryStreamExt;
use kube::{
    Api, ResourceExt,
    core::{ApiResource, GroupVersionKind, NotUsed, Object},
    runtime::watcher::{self, Event, watcher},
};
use serde::Deserialize;
use tokio::task::JoinHandle;

/// A pod's status as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

type Slim = Object<NotUsed, Status>;

/// How many there are, and when there were how many.
#[derive(Clone, Debug, Default)]
struct Count {
    /// Whether it is ready, by UID.
    pods: HashMap<String, bool>,
    ready: usize,
    /// All pods and those that are ready, whenever it was another second.
    curve: Vec<(Instant, usize, usize)>,
    changed: Option<Instant>,
}

/// Counts until it is dropped.
pub struct Pods {
    count: Arc<Mutex<Count>>,
    task: JoinHandle<Result<()>>,
}

// === impl Count ===

impl Count {
    fn put(&mut self, uid: String, ready: bool) {
        let before = self.pods.insert(uid, ready);
        self.ready = self.ready + usize::from(ready) - usize::from(before == Some(true));
    }

    fn note(&mut self) {
        let now = Instant::now();
        self.changed = Some(now);
        let last = self.curve.last().map(|(at, ..)| *at);
        if last.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1)) {
            self.curve.push((now, self.pods.len(), self.ready));
        }
    }
}

// === impl Pods ===

impl Pods {
    /// Begins with the pods that are there and have this label.
    pub fn follow(space: &Space, selector: &str) -> Self {
        let pods = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
        let api = Api::<Slim>::namespaced_with(space.client.clone(), &space.namespace, &pods);
        let count = Arc::new(Mutex::new(Count::default()));
        let events = watcher(api, watcher::Config::default().labels(selector).timeout(280));
        let task = tokio::spawn({
            let count = count.clone();
            async move {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.try_next().await? {
                    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                    match event {
                        Event::Init => *count = Count { curve: std::mem::take(&mut count.curve), ..Count::default() },
                        Event::InitApply(pod) | Event::Apply(pod) => {
                            count.put(pod.uid().unwrap_or_default(), is_ready(&pod));
                        }
                        Event::InitDone => {}
                        Event::Delete(pod) => {
                            if count.pods.remove(&pod.uid().unwrap_or_default()) == Some(true) {
                                count.ready -= 1;
                            }
                        }
                    }
                    count.note();
                }
                bail!("the watch ended")
            }
        });
        Self { count, task }
    }

    /// All pods, and those that are ready.
    pub fn now(&self) -> Result<(usize, usize)> {
        if self.task.is_finished() {
            bail!("the watch of the pods ended");
        }
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((count.pods.len(), count.ready))
    }

    /// When the last event came.
    pub fn changed(&self) -> Option<Instant> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner).changed
    }

    /// All pods and those that are ready, by the second since `begun`.
    pub fn curve(&self, begun: Instant) -> Vec<(f64, usize, usize)> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let last = count.changed.map(|at| (at, count.pods.len(), count.ready));
        let since = count.curve.iter().copied().chain(last).filter(|(at, ..)| *at >= begun);
        since.map(|(at, all, ready)| (at.duration_since(begun).as_secs_f64(), all, ready)).collect()
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ready, and nobody has told it to end.
fn is_ready(pod: &Slim) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let mut ready = conditions.filter(|condition| condition.kind == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}
