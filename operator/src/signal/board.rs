//! What the controller and the readers share: what is to be read, what was read, and who has news.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use primary_protocol::remote::PEERS_MAX;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    news::News,
    order::{Change, Order, Voice},
    reading::{PodReading, QueueReading, Readings},
    target::{ClusterKey, PodTarget, QueueSource, Targets},
};

/// The controller's side: publish what is to be read, look at what was. Cheap to clone; no call waits for a network.
#[derive(Clone, Debug)]
pub struct Handle {
    board: Arc<Board>,
    voice: watch::Receiver<Option<Voice>>,
}

/// The readers' side.
#[derive(Debug, Default)]
pub(super) struct Board {
    clusters: RwLock<HashMap<ClusterKey, Entry>>,
    news: News,
    interval_milliseconds: AtomicU64,
    /// Pods that are to be told something else, until the reader has taken them.
    changed: Mutex<HashSet<PodTarget>>,
    change: Notify,
}

#[derive(Debug, Default)]
struct Entry {
    targets: Targets,
    /// The pods among them: address by UID. Each answer and each publication asks for many of them.
    addresses: HashMap<Arc<str>, IpAddr>,
    readings: Readings,
    /// When pods were last asked out of turn because of whom they are to know.
    hastened: Option<Instant>,
}

/// A replica that comes or goes concerns the list of its part, and some that do not serve yet. Where more are concerned it is many replicas at once,
/// as in a rollout, and the next round tells them: no primary is told such a thing more often than it is asked anyway.
const HASTY_PEERS: usize = 2 * PEERS_MAX;
/// Neither does a replica that is ready and not ready by turns have the others told without end: the next round, at most a second later, knows how it
/// ended.
const PEERS_PAUSE: Duration = Duration::from_millis(200);

// === impl Handle ===

impl Handle {
    pub(super) fn new(board: Arc<Board>, voice: watch::Receiver<Option<Voice>>) -> Self {
        Self { board, voice }
    }

    /// Who tells primaries what is wanted; nobody yet where it is `None`.
    #[must_use]
    pub fn voice(&self) -> &watch::Receiver<Option<Voice>> {
        &self.voice
    }

    /// Says what is to be read for a WorkerCluster from now on, in place of what was said before. What was read of targets that stay
    /// is kept.
    pub fn publish(&self, cluster: &ClusterKey, targets: Targets) {
        let mut clusters = self.board.write();
        let entry = clusters.entry(cluster.clone()).or_default();
        if entry.targets == targets {
            return;
        }
        let addresses: HashMap<_, _> = targets.pods.iter().map(|pod| (pod.uid.clone(), pod.ip)).collect();
        let moved = |uid: &Arc<str>| addresses.get(uid) != entry.addresses.get(uid);
        if entry.readings.pods.keys().any(moved) {
            Arc::make_mut(&mut entry.readings.pods).retain(|uid, _| !moved(uid));
        }
        entry.addresses = addresses;
        let changed = |change: Change| {
            let is = |pod: &&PodTarget| {
                let orders = entry.targets.orders.get(&pod.uid).zip(targets.orders.get(&pod.uid));
                orders.is_some_and(|(before, after)| after.change_from(before) == change)
            };
            targets.pods.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let (mut hasty, peers) = (changed(Change::Settings), changed(Change::Peers));
        let now = Instant::now();
        let rested = entry.hastened.is_none_or(|at| now.saturating_duration_since(at) >= PEERS_PAUSE);
        if rested && (1..=HASTY_PEERS).contains(&peers.len()) {
            entry.hastened = Some(now);
            hasty.extend(peers);
        }
        self.board.change(hasty);
        let queues: HashSet<_> = targets.queues.iter().collect();
        entry.readings.queues.retain(|queue, _| queues.contains(queue));
        entry.targets = targets;
    }

    /// Ends all reading for a WorkerCluster and forgets what was read.
    pub fn withdraw(&self, cluster: &ClusterKey) {
        self.board.write().remove(cluster);
    }

    /// What was read last for a WorkerCluster.
    #[must_use]
    pub fn readings(&self, cluster: &ClusterKey) -> Readings {
        self.board.read().get(cluster).map(|entry| entry.readings.clone()).unwrap_or_default()
    }

    /// Waits until some WorkerClusters were read anew and says which; each about once an interval. One listener at a time.
    pub async fn news(&self) -> Vec<ClusterKey> {
        self.board.news.next().await
    }

    /// Time between two scrapes of a pod: 1 s up to 1000 pods, a second more for each further thousand.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.board.interval_milliseconds.load(Ordering::Relaxed))
    }

    /// Age beyond which a reading counts as missing: five intervals, so that a lost answer or two change nothing.
    #[must_use]
    pub fn sample_max_age(&self) -> Duration {
        (self.interval() * 5).max(Duration::from_secs(5))
    }
}

// === impl Board ===

impl Board {
    /// Every pod that is to be asked, by WorkerCluster.
    pub(super) fn pods(&self) -> Vec<(ClusterKey, Vec<PodTarget>)> {
        let clusters = self.read();
        let with_pods = clusters.iter().filter(|(_, entry)| !entry.targets.pods.is_empty());
        with_pods.map(|(key, entry)| (key.clone(), entry.targets.pods.clone())).collect()
    }

    /// What is wanted of a pod's primary.
    pub(super) fn order(&self, cluster: &ClusterKey, pod_uid: &str) -> Option<Arc<Order>> {
        self.read().get(cluster)?.targets.orders.get(pod_uid).cloned()
    }

    /// The pods that are to be told something else than when this was last asked.
    pub(super) async fn changed(&self) -> HashSet<PodTarget> {
        loop {
            let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
            if !changed.is_empty() {
                return changed;
            }
            self.change.notified().await;
        }
    }

    /// Every queue that is to be read, with the WorkerClusters that want it.
    pub(super) fn queues(&self) -> HashMap<QueueSource, Vec<ClusterKey>> {
        let clusters = self.read();
        let mut queues: HashMap<QueueSource, Vec<ClusterKey>> = HashMap::new();
        for (key, entry) in clusters.iter() {
            for queue in &entry.targets.queues {
                queues.entry(queue.clone()).or_default().push(key.clone());
            }
        }
        queues
    }

    /// Changes a pod's reading, where it is still wanted at that address.
    pub(super) fn update_pod(&self, cluster: &ClusterKey, target: &PodTarget, change: impl FnOnce(&mut PodReading)) {
        let mut clusters = self.write();
        if let Some(entry) = clusters.get_mut(cluster)
            && entry.addresses.get(&target.uid) == Some(&target.ip)
        {
            change(Arc::make_mut(&mut entry.readings.pods).entry(target.uid.clone()).or_default());
        }
    }

    /// Changes a queue's reading, where it is still wanted.
    pub(super) fn update_queue(
        &self,
        cluster: &ClusterKey,
        queue: &QueueSource,
        change: impl FnOnce(&mut QueueReading),
    ) {
        let mut clusters = self.write();
        if let Some(entry) = clusters.get_mut(cluster)
            && entry.targets.queues.contains(queue)
        {
            change(entry.readings.queues.entry(queue.clone()).or_default());
        }
    }

    pub(super) fn announce(&self, keys: impl IntoIterator<Item = ClusterKey>) {
        self.news.announce(keys);
    }

    /// Has the reader ask these pods now, and tell them. Whoever reads takes all.
    fn change(&self, pods: Vec<PodTarget>) {
        if pods.is_empty() {
            return;
        }
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(pods);
        self.change.notify_one();
    }

    pub(super) fn set_interval(&self, interval: Duration) {
        self.interval_milliseconds.store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    // A panic elsewhere leaves whole readings behind, never half of one: the lock's poison says nothing of use.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<ClusterKey, Entry>> {
        self.clusters.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ClusterKey, Entry>> {
        self.clusters.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use primary_protocol::remote::{Peers, Wanted};

    use super::*;

    fn pod(number: u8) -> PodTarget {
        PodTarget { uid: format!("uid-{number}").into(), ip: [198, 18, 0, number].into() }
    }

    /// So many pods, all of which are told this.
    fn targets(count: u8, settings: &str, peers: &str) -> Targets {
        let peers = Some(Peers { revision: peers.into(), ..Peers::default() });
        let order = Arc::new(Order::new(&Wanted { revision: settings.into(), peers, ..Wanted::default() }));
        let pods: Vec<_> = (0..count).map(pod).collect();
        let orders = pods.iter().map(|pod| (pod.uid.clone(), order.clone())).collect();
        Targets { pods, orders, ..Targets::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn settings_are_told_at_once_and_peers_too_unless_they_are_many_or_change_without_end() {
        let board = Arc::new(Board::default());
        let handle = Handle::new(board.clone(), watch::channel(None).1);
        let key = ClusterKey::new("default", "web");
        let hasty = |count, settings, peers| {
            handle.publish(&key, targets(count, settings, peers));
            std::mem::take(&mut *board.changed.lock().unwrap()).len()
        };
        assert_eq!(hasty(3, "a", "p"), 0, "they are new, and asked anyway");
        assert_eq!(hasty(3, "a", "q"), 3);
        assert_eq!(hasty(3, "a", "q"), 0);
        assert_eq!(hasty(3, "a", "p"), 0, "a moment later: the round tells them");
        assert_eq!(hasty(3, "b", "q"), 3, "settings wait for nothing");
        tokio::time::advance(PEERS_PAUSE).await;
        assert_eq!(hasty(3, "b", "p"), 3);
        tokio::time::advance(PEERS_PAUSE).await;
        let many = u8::try_from(HASTY_PEERS + 1).unwrap();
        assert_eq!((hasty(many, "b", "p"), hasty(many, "b", "q"), hasty(many, "c", "q")), (0, 0, usize::from(many)));
    }
}
