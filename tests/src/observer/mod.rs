//! An observer of its own: follows everything that the operator makes in a namespace by watches straight at the API server, and keeps it
//! in the order of the API server's versions, so that the rules can be checked on what really was, at every moment.

mod history;
mod pods;
mod rules;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
pub use history::{History, Record};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::{ApiResource, GroupVersionKind, ObjectList},
};
pub use pods::{controller, is_active, is_ready, label, text};
pub use rules::{Rules, Violation, violations};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

/// Group, version and kind of what is followed: the resource itself and all that the operator makes.
const KINDS: [(&str, &str, &str); 5] = [
    ("workercluster.dev", "v1alpha1", "WorkerCluster"),
    ("", "v1", "Pod"),
    ("", "v1", "Service"),
    ("apps", "v1", "ControllerRevision"),
    ("policy", "v1", "PodDisruptionBudget"),
];

/// Between two attempts to begin anew.
const AGAIN: Duration = Duration::from_millis(500);

/// Follows one namespace until it is dropped.
pub struct Observer {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    seen: Mutex<Seen>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    /// What there is, by UID.
    present: BTreeMap<String, Record>,
    history: History,
    broken: Option<String>,
}

// === impl Observer ===

impl Observer {
    /// Begins with what is there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn start(client: &Client, namespace: &str) -> Result<Self> {
        let (changes, _) = watch::channel(0);
        let shared = Arc::new(Shared { began: Instant::now(), seen: Mutex::default(), changes });
        let mut tasks = Vec::new();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            let list = api.list(&ListParams::default()).await.with_context(|| resource.plural.clone())?;
            let plural: Arc<str> = resource.plural.into();
            let since = shared.replace(&plural, list);
            tasks.push(tokio::spawn(follow(shared.clone(), api, plural, since)));
        }
        let observer = Self { shared, tasks };
        observer.begin();
        Ok(observer)
    }

    /// Begins a new account with what there is now.
    pub fn begin(&self) {
        let mut seen = self.shared.seen();
        seen.history = History::since(seen.present.values().cloned().collect());
        seen.broken = None;
    }

    /// What happened since [`Observer::begin`], in the API server's order.
    ///
    /// # Errors
    /// Where a watch broke: then something may have been missed.
    pub fn history(&self) -> Result<History> {
        let seen = self.shared.seen();
        if let Some(broken) = &seen.broken {
            bail!("the observer missed something: {broken}");
        }
        Ok(seen.history.clone().in_order())
    }

    /// What there is of a kind, as `pods`.
    #[must_use]
    pub fn objects(&self, plural: &str) -> Vec<Arc<Value>> {
        let seen = self.shared.seen();
        seen.present.values().filter(|record| &*record.plural == plural).map(|record| record.object.clone()).collect()
    }

    /// Everything there is.
    #[must_use]
    pub fn present(&self) -> Vec<Record> {
        self.shared.seen().present.values().cloned().collect()
    }

    /// Counts changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until `look`, asked again after every change, says yes; gives up at the deadline with what it said last.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> Result<T> {
        let mut changes = self.changes();
        let end = tokio::time::Instant::now() + deadline;
        loop {
            changes.borrow_and_update();
            let last = match look(self) {
                Ok(found) => return Ok(found),
                Err(last) => last,
            };
            if tokio::time::timeout_at(end, changes.changed()).await.is_err() {
                bail!("waited {} s for {what}; last seen: {last}", deadline.as_secs());
            }
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

// === impl Shared ===

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a list for all that there is of a kind; returns its version.
    fn replace(&self, plural: &Arc<str>, list: ObjectList<DynamicObject>) -> String {
        self.seen().present.retain(|_, record| record.plural != *plural);
        for object in list.items {
            self.take(plural, &object, false);
        }
        self.changes.send_modify(|changes| *changes += 1);
        list.metadata.resource_version.unwrap_or_default()
    }

    fn take(&self, plural: &Arc<str>, object: &DynamicObject, gone: bool) {
        let uid = object.uid().unwrap_or_default();
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(meta) = value["metadata"].as_object_mut() {
            meta.remove("managedFields"); // half of an object, and no rule looks at it
        }
        let record = Record {
            version: object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0),
            at: self.began.elapsed(),
            plural: plural.clone(),
            gone,
            object: Arc::new(value),
        };
        let mut seen = self.seen();
        if gone {
            seen.present.remove(&uid);
        } else {
            seen.present.insert(uid, record.clone());
        }
        seen.history.records.push(record);
        drop(seen);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// Where the watch breaks the account is broken too; the next one begins with what is there then.
async fn follow(shared: Arc<Shared>, api: Api<DynamicObject>, plural: Arc<str>, mut since: String) {
    loop {
        let broken = match events(&shared, &api, &plural, since).await {
            Ok(never) => match never {},
            Err(error) => format!("the watch of {plural}: {error:#}"),
        };
        shared.seen().broken = Some(broken);
        since = loop {
            match api.list(&ListParams::default()).await {
                Ok(list) => break shared.replace(&plural, list),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
    }
}

async fn events(
    shared: &Shared,
    api: &Api<DynamicObject>,
    plural: &Arc<str>,
    mut version: String,
) -> Result<Infallible> {
    let params = WatchParams::default().timeout(290);
    loop {
        let mut events = api.watch(&params, &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or_default();
                    shared.take(plural, &object, false);
                }
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or_default();
                    shared.take(plural, &object, true);
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(error) => bail!("{error:?}"),
            }
        }
    }
}
