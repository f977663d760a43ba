//! The watches: what changes in the cluster goes into the cache, and the name of the WorkerCluster that it concerns goes to the queue.

use std::{collections::BTreeSet, fmt::Debug, future::ready, sync::Arc};

use crds::{WorkerCluster, names};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Service};
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
    cache::{Mark, ServiceView, Stored, Table},
};

/// A WorkerCluster as it came, readable or not.
pub type Object = DeserializeGuard<WorkerCluster>;

/// How long one watch lasts before it is opened anew, in seconds: shorter than the client's read timeout, so that a silent but healthy
/// watch ends in good order and a dead connection is found within a minute.
const WATCH_SECONDS: u32 = 50;

/// One scope of watching: all namespaces, or one.
pub struct Watches {
    pub client: Client,
    pub namespace: Option<String>,
    pub cache: Arc<Cache>,
    pub news: mpsc::Sender<Key>,
    /// How many kinds of owned objects have been listed: no decision is made before all have.
    pub listed: watch::Sender<usize>,
}

/// Kinds of owned objects: pods and Services.
pub const OWNED_KINDS: usize = 2;

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
        let stream = watcher(self.api::<Object>(), config()).default_backoff();
        let stream = kube::runtime::reflector(writer, stream);
        let mut stream = std::pin::pin!(logged(stream, "workerclusters"));
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

    /// Watches the pods that carry our label.
    pub async fn pods(&self) {
        self.owned::<Pod, _>("pods", &self.cache.pods, PodView::read).await;
    }

    /// Watches the Services that carry our label.
    pub async fn services(&self) {
        self.owned::<Service, _>("services", &self.cache.services, service_view).await;
    }

    async fn owned<K, T: Stored>(&self, resource: &'static str, table: &Table<T>, view: fn(&K) -> Option<T>)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let read = |object: &K| Some((owner_key(object)?, view(object)?));
        let stream = watcher(self.api::<K>(), config().labels(names::LABEL_NAME)).default_backoff();
        let mut stream = std::pin::pin!(logged(stream, resource));
        let mut listed = Vec::new();
        let mut whole = false;
        let mut mark = Mark::default();
        while let Some(event) = stream.next().await {
            let touched = match event {
                Event::Init => {
                    mark = table.mark();
                    listed.clear();
                    continue;
                }
                Event::InitApply(object) => {
                    listed.extend(read(&object));
                    continue;
                }
                Event::InitDone => {
                    let touched = table.relist(self.namespace.as_deref(), mark, std::mem::take(&mut listed));
                    if !std::mem::replace(&mut whole, true) {
                        self.listed.send_modify(|kinds| *kinds += 1);
                    }
                    touched
                }
                Event::Apply(object) => {
                    let Some((key, object)) = read(&object) else { continue };
                    table.put(&key, object)
                }
                Event::Delete(object) => {
                    let Some((key, object)) = read(&object) else { continue };
                    table.remove(object.uid(), object.version()).into_iter().chain([key]).collect()
                }
            };
            for key in touched {
                self.tell(key).await;
            }
        }
    }
}

/// A Service as the cache keeps it.
pub fn service_view<K: Resource + serde::Serialize>(service: &K) -> Option<ServiceView> {
    let meta = service.meta();
    Some(ServiceView {
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        version: meta.resource_version.as_deref()?.parse().ok()?,
        controller: meta
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone()),
        object: serde_json::to_value(service).ok()?,
    })
}

fn config() -> watcher::Config {
    // A list without a version is as fresh as etcd. kube's streaming lists ask for version 0, which an API server may answer with
    // whatever its cache holds: on that, replicas that were just added would be taken away.
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn logged<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    resource: &'static str,
) -> impl Stream<Item = Event<K>> {
    stream
        .inspect_err(move |error| tracing::warn!(%error, resource, "the watch failed; it is opened again"))
        .filter_map(|event| ready(event.ok()))
}

fn key(object: &Object) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn owner_key<K: ResourceExt>(object: &K) -> Option<Key> {
    Some(Key::new(&object.namespace()?, object.labels().get(names::LABEL_NAME)?))
}
