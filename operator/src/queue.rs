//! What waits for the reconciler: each WorkerCluster that has changed, once.
//!
//! kube's scheduler keeps them apart and in order, and holds back the one that is being reconciled. Nothing here waits for more changes to come: a
//! pod that is lost in a quiet hour is made up for at once, and who has much going on is slowed down by what its looks cost (`controller::pace`).
//! kube's own debounce is not used: it counts from the last change, so that what changes all the time would never be reconciled.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::{api::Traffic, view::Key};

/// The WorkerClusters that wait, for the reconciler or behind their own reconcile. Clones share it. No more than there are WorkerClusters.
#[derive(Clone)]
pub struct Waiting {
    keys: Arc<Mutex<HashSet<Key>>>,
    traffic: Traffic,
}

// === impl Waiting ===

impl Waiting {
    pub fn new(traffic: Traffic) -> Self {
        traffic.queued(0);
        Self { keys: Arc::default(), traffic }
    }

    /// The WorkerClusters of which there is news, counted from here on.
    pub fn arriving(&self, mut news: mpsc::Receiver<Key>) -> impl Stream<Item = Key> + use<> {
        let waiting = self.clone();
        let arriving = stream::poll_fn(move |context| news.poll_recv(context));
        arriving.inspect(move |key| waiting.change(|keys| keys.insert(key.clone())))
    }

    /// Its reconcile begins, or there is nothing to reconcile any more.
    pub fn begins(&self, key: &Key) {
        self.change(|keys| keys.remove(key));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<Key>) -> bool) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut keys) {
            self.traffic.queued(keys.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[tokio::test]
    async fn what_changes_again_before_its_turn_waits_once() {
        let waiting = Waiting::new(Traffic::register(&Registry::new()).unwrap());
        let (news, arriving) = mpsc::channel(1024);
        let arriving = waiting.arriving(arriving);
        for name in ["a", "b", "a", "c", "b"] {
            news.send(Key::new("default", name)).await.unwrap();
        }
        drop(news);
        assert_eq!(arriving.count().await, 5);
        assert_eq!(waiting.keys.lock().unwrap().len(), 3);
        waiting.begins(&Key::new("default", "a"));
        assert_eq!(waiting.keys.lock().unwrap().len(), 2);
    }
}
