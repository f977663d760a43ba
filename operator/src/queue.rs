//! The queue before the reconciler: what changes again within a moment is one reconcile, and no change puts off another.
//!
//! kube's own debounce counts from the last change, so that a WorkerCluster that changes more often than every 10 ms (a rollout of hundreds
//! of pods does) would never be reconciled. Here the moment counts from the first. A WorkerCluster is in it at most once, so it is no longer
//! than there are WorkerClusters.

use std::{
    collections::{HashSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use crate::{api::Traffic, view::Key};

/// WorkerClusters in the order in which they first changed, each a moment after that.
pub struct Queue {
    arriving: mpsc::Receiver<Key>,
    moment: Duration,
    due: VecDeque<(Instant, Key)>,
    queued: HashSet<Key>,
    timer: Pin<Box<Sleep>>,
    waiting: Waiting,
}

/// The WorkerClusters that wait for the reconciler, here or behind a reconcile that is under way. Clones share it.
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

// === impl Queue ===

impl Queue {
    pub fn new(arriving: mpsc::Receiver<Key>, moment: Duration, waiting: Waiting) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { arriving, moment, due: VecDeque::new(), queued: HashSet::new(), timer, waiting }
    }

    /// What waits, to be told when it begins.
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }
}

impl Stream for Queue {
    type Item = Key;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Key>> {
        let this = self.get_mut();
        let over = loop {
            match this.arriving.poll_recv(context) {
                Poll::Ready(Some(key)) => {
                    if this.queued.insert(key.clone()) {
                        this.waiting.change(|keys| keys.insert(key.clone()));
                        this.due.push_back((Instant::now() + this.moment, key));
                    }
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        let Some((at, _)) = this.due.front() else { return if over { Poll::Ready(None) } else { Poll::Pending } };
        if *at > Instant::now() {
            this.timer.as_mut().reset(*at);
            if this.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        let key = this.due.pop_front().map(|(_, key)| key);
        if let Some(key) = &key {
            this.queued.remove(key);
        }
        Poll::Ready(key)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use prometheus::Registry;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);

    fn queue() -> (mpsc::Sender<Key>, Queue, Waiting) {
        let (news, arriving) = mpsc::channel(1024);
        let waiting = Waiting::new(Traffic::register(&Registry::new()).unwrap());
        (news, Queue::new(arriving, MOMENT, waiting.clone()), waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_without_end_is_reconciled_all_the_same() {
        let (news, mut queue, _) = queue();
        let busy = Key::new("default", "busy");
        let changing = tokio::spawn({
            let busy = busy.clone();
            async move {
                loop {
                    news.send(busy.clone()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        let begun = Instant::now();
        for _ in 0..10 {
            assert_eq!(queue.next().await.as_ref(), Some(&busy));
        }
        assert!(begun.elapsed() <= Duration::from_millis(160), "{:?}", begun.elapsed());
        changing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn changes_within_a_moment_are_one_and_the_order_is_that_of_the_first() {
        let (news, queue, waiting) = queue();
        for name in ["a", "b", "a", "c", "b"] {
            news.send(Key::new("default", name)).await.unwrap();
        }
        drop(news);
        let order: Vec<String> = queue.map(|key| key.name.to_string()).collect().await;
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(waiting.keys.lock().unwrap().len(), 3);
        waiting.begins(&Key::new("default", "a"));
        assert_eq!(waiting.keys.lock().unwrap().len(), 2);
    }
}
