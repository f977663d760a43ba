//! Which WorkerClusters have news: a set that is emptied by whoever listens. It holds each at most once, so that a slow listener
//! loses nothing and holds up nobody.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::target::ClusterKey;

/// WorkerClusters with readings that nobody has looked at.
#[derive(Debug, Default)]
pub(super) struct News {
    waiting: Mutex<BTreeSet<ClusterKey>>,
    arrived: Notify,
}

// === impl News ===

impl News {
    pub(super) fn announce(&self, keys: impl IntoIterator<Item = ClusterKey>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        waiting.extend(keys);
        if waiting.len() > before {
            self.arrived.notify_one();
        }
    }

    /// Waits for news and takes all of it. One listener at a time.
    pub(super) async fn next(&self) -> Vec<ClusterKey> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken.into_iter().collect();
            }
            self.arrived.notified().await;
        }
    }
}
