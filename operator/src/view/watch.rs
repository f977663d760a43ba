//! The watches: what changes in the cluster goes into the cache, and the name of the WorkerCluster that it concerns goes to the queue.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::{collections::BTreeSet, fmt::Debug, future::ready, sync::Arc};

use crds::{WorkerCluster, names};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::store::Writer,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::{
    Cache, Key, PodView,
    cache::{Mark, ObjectView, Stored, Table},
    restart::Restart,
};
use crate::{api::Traffic, text::causes};

/// A WorkerCluster as it came, readable or not.
pub type Object = DeserializeGuard<WorkerCluster>;

/// How long one watch lasts before it is opened anew, in seconds: shorter than the client's read timeout, so that a silent but healthy
/// watch ends in good order and a dead connection is found within a minute.
const WATCH_SECONDS: u32 = 45;

/// One scope of watching: all namespaces, or one.
pub struct Watches {
    pub client: Client,
    pub traffic: Traffic,
    pub namespace: Option<String>,
    pub cache: Arc<Cache>,
    pub news: mpsc::Sender<Key>,
    /// How many kinds of owned objects have been listed: no decision is made before all have.
    pub listed: watch::Sender<usize>,
}

/// Kinds of owned objects: pods, Services, PodDisruptionBudgets and ControllerRevisions.
pub const OWNED_KINDS: usize = 4;

// === impl Watches ===

impl Watches {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    async fn tell(&self, key: Key) {
        // The receiver ends with the term; then nobody needs the news.
        let _ = self.news.send(key).await;
    }

    /// Watches WorkerClusters into the reflector's store.
    pub async fn clusters(&self, writer: Writer<Object>) {
        let stream = watcher(self.api::<Object>(), config()).backoff(Restart::default());
        let stream = kube::runtime::reflector(writer, stream);
        let mut stream = std::pin::pin!(logged(stream, "workerclusters", &self.traffic));
        // Told when the list is whole: the reconciler takes nothing before, and its queue is bounded.
        let mut listed = Vec::new();
        let mut known = BTreeSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => listed.push(key(&object)),
                Event::InitDone => {
                    let before = std::mem::replace(&mut known, listed.drain(..).collect());
                    for key in before.difference(&known) {
                        self.tell(key.clone()).await; // deleted while the watch was down
                    }
                    for key in &known {
                        self.tell(key.clone()).await;
                    }
                }
                Event::Apply(object) => {
                    known.insert(key(&object));
                    self.tell(key(&object)).await;
                }
                Event::Delete(object) => {
                    known.remove(&key(&object));
                    self.tell(key(&object)).await;
                }
            }
        }
    }

    /// Watches everything that carries our label: pods and the objects beside them.
    pub async fn owned(&self) {
        let cache = &self.cache;
        tokio::join!(
            self.kind::<Pod, _>("pods", &cache.pods, PodView::read, stray),
            self.kind::<Service, _>("services", &cache.services, object_view, never),
            self.kind::<PodDisruptionBudget, _>("poddisruptionbudgets", &cache.budgets, object_view, never),
            self.kind::<ControllerRevision, _>("controllerrevisions", &cache.revisions, object_view, never),
        );
    }

    /// Watches one kind. `stray` says whether an object that was seen, or has left the label's list, may have to be released by another
    /// WorkerCluster than the one that its label names.
    async fn kind<K, T: Stored>(
        &self,
        resource: &'static str,
        table: &Table<T>,
        view: fn(&K) -> Option<T>,
        stray: fn(&K, Left) -> Option<Key>,
    ) where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let read = |object: &K| Some((owner_key(object)?, view(object)?));
        let suspect = |object: &K, left: Left| {
            let key = stray(object, left)?;
            self.cache.strays.put(&key, &object.uid()?, &object.name_any());
            Some(key)
        };
        let mut suspects = Vec::new();
        let stream = watcher(self.api::<K>(), config().labels(names::LABEL_NAME)).backoff(Restart::default());
        let mut stream = std::pin::pin!(logged(stream, resource, &self.traffic));
        let mut listed = Vec::new();
        let mut whole = false;
        let mut mark = Mark::default();
        while let Some(event) = stream.next().await {
            let touched = match event {
                Event::Init => {
                    mark = table.mark();
                    listed.clear();
                    suspects.clear();
                    continue;
                }
                Event::InitApply(object) => {
                    suspects.extend(suspect(&object, Left::No));
                    listed.extend(read(&object));
                    continue;
                }
                Event::InitDone => {
                    let mut touched = table.relist(self.namespace.as_deref(), mark, std::mem::take(&mut listed));
                    touched.append(&mut suspects);
                    if !std::mem::replace(&mut whole, true) {
                        self.listed.send_modify(|kinds| *kinds += 1);
                    }
                    touched
                }
                Event::Apply(object) => {
                    let stray = suspect(&object, Left::No);
                    let Some((key, object)) = read(&object) else { continue };
                    table.put(&key, object).into_iter().chain(stray).collect()
                }
                Event::Delete(object) => {
                    let stray = suspect(&object, Left::Yes);
                    let Some((key, object)) = read(&object) else { continue };
                    table.remove(object.uid(), object.version()).into_iter().chain([key]).chain(stray).collect()
                }
            };
            for key in touched {
                self.tell(key).await;
            }
        }
    }
}

/// Whether an object has left the list of those with our label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    No,
    /// It was deleted, or has lost the label.
    Yes,
}

/// The WorkerCluster that controls a pod and should perhaps release it: because the label names another, or has gone without the pod's ending.
fn stray(pod: &Pod, left: Left) -> Option<Key> {
    let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let ours = controller.kind == "WorkerCluster" && controller.api_version.split('/').next() == Some(names::GROUP);
    let named = pod.labels().get(names::LABEL_NAME);
    let astray = named != Some(&controller.name) || left == Left::Yes;
    (ours && astray && pod.metadata.deletion_timestamp.is_none())
        .then(|| Key::new(&pod.namespace().unwrap_or_default(), &controller.name))
}

fn never<K>(_: &K, _: Left) -> Option<Key> {
    None
}

/// An object as the cache keeps it.
pub fn object_view<K: Resource + serde::Serialize>(object: &K) -> Option<ObjectView> {
    let meta = object.meta();
    Some(ObjectView {
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        version: meta.resource_version.as_deref()?.parse().ok()?,
        controller: meta
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone()),
        object: Arc::new(bare(serde_json::to_value(object).ok()?)),
    })
}

/// Without what nobody reads and what is the greater part of a small object.
fn bare(mut object: serde_json::Value) -> serde_json::Value {
    if let Some(meta) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        meta.remove("managedFields");
    }
    object
}

pub(super) fn config() -> watcher::Config {
    // A list without a version is as fresh as etcd. kube's streaming lists ask for version 0, which an API server may answer with
    // whatever its cache holds: on that, replicas that were just added would be taken away.
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn logged<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    resource: &'static str,
    traffic: &Traffic,
) -> impl Stream<Item = Event<K>> {
    let (lists, ends) = (traffic.clone(), traffic.clone());
    stream
        .inspect_ok(move |event| {
            if matches!(event, Event::Init) {
                lists.watch_listed(resource);
            }
        })
        .inspect_err(move |error| {
            if matches!(error, watcher::Error::WatchError(status) if status.code == 410) {
                ends.watch_ended(resource, "gone");
            }
            tracing::warn!(error = causes(error), resource, "the watch failed; it is opened again");
        })
        .filter_map(|event| ready(event.ok()))
}

fn key(object: &Object) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn owner_key<K: ResourceExt>(object: &K) -> Option<Key> {
    Some(Key::new(&object.namespace()?, object.labels().get(names::LABEL_NAME)?))
}
