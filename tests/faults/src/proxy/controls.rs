//! What applies to all calls until it is taken back: watches that lag, and an API server that stands still.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use http::{Request, StatusCode, Uri};
use kube::Client;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    answer::{Reply, refusal, whole},
    snapshot,
};
use crate::call::{Call, Verb};

/// How an API server that stands still behind etcd answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// As the API promises: watches stand still, and so do lists that take any version; what asks for the newest gets it from etcd.
    Cache,
    /// As nothing may: every read is answered with what was.
    Reads,
}

/// What applies to all calls.
pub struct Controls {
    client: Client,
    setting: watch::Sender<Setting>,
    /// When each line was first seen, on whichever watch: one that lags shows it so much later, also to who asks anew.
    lines: Mutex<HashMap<(String, String), Instant>>,
    /// What was, by class, as lists.
    snapshots: Mutex<BTreeMap<String, Arc<Value>>>,
}

/// What watches follow.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Every line comes so much later.
    pub delay: Duration,
    /// Classes that stand still, and how.
    pub frozen: BTreeMap<String, Stale>,
}

// === impl Controls ===

impl Controls {
    /// Nothing lags, nothing stands still.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, setting: watch::Sender::default(), lines: Mutex::default(), snapshots: Mutex::default() }
    }

    /// Every line of every watch comes so much later from now on.
    pub fn delay(&self, delay: Duration) {
        self.setting.send_modify(|setting| setting.delay = delay);
    }

    /// Remembers what is now, for lists given by their paths, as `/api/v1/namespaces/shop/pods`.
    ///
    /// # Errors
    /// Where what is now cannot be read.
    pub async fn remember(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            let list: Value = self.client.request(Request::get(path).body(Vec::new())?).await?;
            let class = path.rsplit('/').next().context("a path without a resource")?;
            self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).insert(class.into(), Arc::new(list));
        }
        Ok(())
    }

    /// When a line comes: so much after it was first seen.
    pub fn due(&self, class: &str, line: &[u8]) -> Instant {
        let delay = self.setting.borrow().delay;
        if delay.is_zero() {
            return Instant::now();
        }
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let version = event["object"]["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        *lines.entry((class.to_owned(), version.to_owned())).or_insert_with(Instant::now) + delay
    }

    /// From now on the API server stands still for these classes, as they were remembered.
    pub fn freeze(&self, classes: &[&str], how: Stale) {
        self.setting.send_modify(|setting| setting.frozen.extend(classes.iter().map(|class| ((*class).into(), how))));
    }

    /// It goes on, and everything held back comes.
    pub fn thaw(&self) {
        self.setting.send_modify(|setting| setting.frozen.clear());
    }

    /// Follows the setting.
    pub fn follow(&self) -> watch::Receiver<Setting> {
        self.setting.subscribe()
    }

    /// The answer of an API server that stands still; `None` where this call gets the newest.
    pub fn stale_answer(&self, call: &Call, uri: &Uri) -> Option<Reply> {
        let how = *self.setting.borrow().frozen.get(&call.class)?;
        let any = uri.query().unwrap_or_default().split('&').any(|pair| pair == "resourceVersion=0");
        let stale = match call.verb {
            Verb::List => how == Stale::Reads || any,
            Verb::Get => how == Stale::Reads,
            _ => false,
        };
        if !stale {
            return None;
        }
        let list = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(&call.class)?.clone();
        if call.verb == Verb::List {
            let list = snapshot::select(&list, uri.query().unwrap_or_default());
            return Some(whole(StatusCode::OK, list.to_string().into()));
        }
        let name = uri.path().rsplit('/').next().unwrap_or_default();
        Some(match snapshot::named(&list, name) {
            Some(object) => whole(StatusCode::OK, object.to_string().into()),
            None => refusal(404),
        })
    }
}
