//! The queue before the reconciler: the first change is passed on at once, what changes again within a moment after that is one reconcile,
//! and no change puts off another.
//!
//! kube's own debounce counts from the last change, so that a WorkerCluster that changes more often than every 10 ms (a rollout of hundreds
//! of pods does) would never be reconciled. Here the moment counts from when the WorkerCluster was passed on last: a pod that is lost in a
//! quiet hour waits for nothing. A WorkerCluster is in it at most once, so it is no longer than there are WorkerClusters.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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

/// WorkerClusters that changed, each no sooner than a moment after it was last passed on.
pub struct Queue {
    arriving: mpsc::Receiver<Key>,
    moment: Duration,
    /// Those that were not passed on within the last moment, in the order in which they changed.
    fresh: VecDeque<Key>,
    /// Those that were, in the order in which they were.
    again: VecDeque<(Instant, Key)>,
    queued: HashSet<Key>,
    /// What was passed on within the last moment, and when.
    passed: VecDeque<(Instant, Key)>,
    passed_at: HashMap<Key, Instant>,
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
        Self {
            arriving,
            moment,
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            queued: HashSet::new(),
            passed: VecDeque::new(),
            passed_at: HashMap::new(),
            timer,
            waiting,
        }
    }

    /// A WorkerCluster changed.
    fn take(&mut self, key: Key, now: Instant) {
        if !self.queued.insert(key.clone()) {
            return;
        }
        self.waiting.change(|keys| keys.insert(key.clone()));
        match self.passed_at.get(&key).map(|at| *at + self.moment).filter(|due| *due > now) {
            // Kept in order: who was passed on first is due first, whenever it changed again.
            Some(due) => {
                let place = self.again.partition_point(|(other, _)| *other <= due);
                self.again.insert(place, (due, key));
            }
            None => self.fresh.push_back(key),
        }
    }

    /// The next that is due, which is passed on now.
    fn next_due(&mut self, now: Instant) -> Option<Key> {
        let key = match self.again.front() {
            // Who has waited a moment goes before who has only just changed.
            Some((due, _)) if *due <= now => self.again.pop_front().map(|(_, key)| key),
            _ => self.fresh.pop_front(),
        }?;
        while self.passed.front().is_some_and(|(at, _)| *at + self.moment <= now) {
            if let Some((at, old)) = self.passed.pop_front()
                && self.passed_at.get(&old) == Some(&at)
            {
                self.passed_at.remove(&old);
            }
        }
        self.queued.remove(&key);
        self.passed.push_back((now, key.clone()));
        self.passed_at.insert(key.clone(), now);
        Some(key)
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
                Poll::Ready(Some(key)) => this.take(key, Instant::now()),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        loop {
            if let Some(key) = this.next_due(Instant::now()) {
                return Poll::Ready(Some(key));
            }
            let Some((due, _)) = this.again.front() else {
                return if over { Poll::Ready(None) } else { Poll::Pending };
            };
            this.timer.as_mut().reset(*due);
            if this.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
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
    async fn the_first_change_is_passed_on_at_once_and_those_within_a_moment_after_it_are_one() {
        let (news, mut queue, _) = queue();
        let (lost, other) = (Key::new("default", "lost"), Key::new("default", "other"));
        let begun = Instant::now();
        news.send(lost.clone()).await.unwrap();
        assert_eq!((queue.next().await.as_ref(), begun.elapsed()), (Some(&lost), Duration::ZERO));
        for key in [&lost, &other, &lost] {
            news.send(key.clone()).await.unwrap();
        }
        assert_eq!((queue.next().await.as_ref(), begun.elapsed()), (Some(&other), Duration::ZERO));
        assert_eq!(queue.next().await.as_ref(), Some(&lost));
        assert!((MOMENT..=MOMENT * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        tokio::time::sleep(MOMENT).await;
        let later = Instant::now();
        news.send(lost.clone()).await.unwrap();
        assert_eq!((queue.next().await.as_ref(), later.elapsed()), (Some(&lost), Duration::ZERO));
        assert!(queue.passed.len() <= 2 && queue.passed_at.len() <= 2, "what was passed on long ago is forgotten");
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
