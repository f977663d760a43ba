//! What all reconciles share, and what is remembered of each WorkerCluster between two of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as StdInstant},
};

use crds::{RolloutStatus, WorkerCluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::{sync::watch, time::Instant};

use super::{
    check::Verdict,
    events::Events,
    observe::Seen,
    retire::{Withdrawn, is_idle},
};
use crate::{
    api::{ApiError, ApiServer},
    decide::{autoscale::History, backoff::Backoff, complaints, deaths::Deaths},
    metrics::Metrics,
    signal::{Handle, Readings},
    view::{Cache, Key, PodView, memory_kill, nodes::Sight},
};

/// What the settings say about building and scaling.
#[derive(Clone, Debug)]
pub struct Settings {
    pub primary_image: String,
    pub pull_policy: &'static str,
    pub downscale_stabilization: Duration,
}

/// What all reconciles of one term share.
pub struct Context {
    pub api: ApiServer,
    pub cache: Arc<Cache>,
    pub signals: Handle,
    pub nodes: watch::Receiver<Sight>,
    pub events: Events,
    pub metrics: Metrics,
    pub settings: Settings,
    /// When the term began: monotonic time is reckoned from here.
    pub epoch: Instant,
    memories: Mutex<HashMap<Key, Memory>>,
}

/// A password, `None` where the Secret has no such key, or why it cannot be read.
pub type Password = Result<Option<Arc<str>>, String>;

/// Number of a revision, and when its rollout last came on.
pub type RolloutPoint = (i64, Option<Time>);

/// What is remembered of one WorkerCluster. Nothing of it is needed to be right, only to be quick and quiet: a new operator begins without.
#[derive(Default)]
pub struct Memory {
    /// As our own last write left it, until the watch shows something newer.
    pub written: Option<Arc<WorkerCluster>>,
    pub backoff: Backoff,
    /// What the API server said when it last refused a pod.
    pub rejection: Option<String>,
    /// How many pods at a time the last pass had come to, where it was cut off in the midst of creating.
    pub batch: Option<usize>,
    /// When a pod was last created, or may have been.
    pub last_create: Option<StdInstant>,
    /// `None` until the first decision of this term.
    pub history: Option<History>,
    /// The last dry run.
    pub verdict: Option<Verdict>,
    /// Kind and name of objects of others that have a name of ours, as last seen.
    pub foreign: Vec<String>,
    /// The point that the rollout has reached, and since when it has been seen there.
    pub rollout: Option<(RolloutPoint, StdInstant)>,
    /// UIDs of pods that have a name of ours and are not ours (any more).
    pub strangers: BTreeMap<String, String>,
    /// Of which WorkerCluster all this is; another of the same name begins without.
    uid: Option<String>,
    /// A create or a delete may have been done without our knowing: the watch may be behind, so that the next decision looks past it.
    pub doubtful: bool,
    /// UIDs of pods whose delete had no answer, and when: it may still arrive.
    asked: BTreeMap<Arc<str>, StdInstant>,
    /// Pods of a predecessor have been looked at past the watch.
    pub looked: bool,
    /// Reconciles that failed in a row, and when the next may begin.
    pub failures: u32,
    pub retry_at: Option<Instant>,
    /// No look before this: the last one was long.
    pub rests_until: Option<Instant>,
    /// When status was last written though only its numbers had changed, and how long that took.
    pub numbers: Option<(Instant, Duration)>,
    /// The version of the resource into which a number of replicas was mirrored last.
    pub mirrored: Option<(String, i32)>,
    /// Passwords of queues by Secret and key, with the time of reading.
    pub passwords: BTreeMap<(String, String), (StdInstant, Password)>,
    /// Pods that are not ready by our own word.
    pub withdrawn: Withdrawn,
    /// What the primaries last said that status shows: the same again is no news.
    pub digest: u64,
    /// What is wrong with workers and has been told; `None` until the first look of this term.
    pub complaints: Option<complaints::Told>,
    /// Containers that were killed for memory and have been counted; `None` until the first look of this term.
    pub kills: Option<memory_kill::Counted>,
    /// The last reload that failed and has been told.
    pub failed_reload: Option<String>,
    /// Workers that ended and were not asked to, as far as they have been counted and told.
    pub deaths: Deaths,
    /// Each reading is news: the autoscaler decides on it.
    pub autoscaled: bool,
    /// Generation of a resource that cannot be read, and has been told so.
    pub unreadable: Option<i64>,
}

/// A delete that had no answer has come to its end after this time: what our own deadline of 10 s cut off is ended by the API server after 60 s
/// (`--request-timeout`).
const DELETE_ARRIVES: Duration = Duration::from_secs(70);

/// Names of strangers that are remembered of one WorkerCluster.
const STRANGERS_LIMIT: usize = 1000;

// === impl Memory ===

impl Memory {
    /// A delete had no answer.
    pub fn doubt(&mut self, uid: &Arc<str>, now: StdInstant) {
        self.doubtful = true;
        self.asked.insert(uid.clone(), now);
    }

    /// Pods that may still be deleted by what was asked before.
    pub fn asked(&mut self, now: StdInstant) -> BTreeSet<Arc<str>> {
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < DELETE_ARRIVES);
        self.asked.keys().cloned().collect()
    }

    /// A pod that is not ours has this name.
    pub fn hold_name(&mut self, name: &str, uid: String) {
        if self.strangers.len() >= STRANGERS_LIMIT {
            self.strangers.pop_first();
        }
        self.strangers.insert(name.to_owned(), uid);
    }
}

// === impl Context ===

impl Context {
    pub fn new(
        api: ApiServer,
        cache: Arc<Cache>,
        signals: Handle,
        nodes: watch::Receiver<Sight>,
        events: Events,
        metrics: Metrics,
        settings: Settings,
    ) -> Self {
        let epoch = Instant::now();
        Self { api, cache, signals, nodes, events, metrics, settings, epoch, memories: Mutex::default() }
    }

    /// What new pods check orders with; `None` where none are given.
    pub fn public_key(&self) -> Option<Arc<str>> {
        self.signals.voice().borrow().as_ref().map(|voice| voice.signer.public_key())
    }

    /// Reads or changes what is remembered of a WorkerCluster.
    pub fn memory<T>(&self, key: &Key, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        change(memories.entry(key.clone()).or_default())
    }

    /// A WorkerCluster is gone, or going.
    pub fn forget(&self, key: &Key) {
        self.signals.withdraw(key);
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.remove(key);
    }

    /// The WorkerCluster as the watch shows it or as our own last write left it, whichever is newer.
    pub fn newest(&self, key: &Key, watched: &WorkerCluster) -> Arc<WorkerCluster> {
        let version = |cluster: &WorkerCluster| {
            cluster.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok())
        };
        self.memory(key, |memory| {
            if memory.uid != watched.metadata.uid {
                // What may have been done for its predecessor is its own now, as an orphan.
                let doubtful = memory.doubtful;
                *memory = Memory { uid: watched.metadata.uid.clone(), doubtful, ..Memory::default() };
            }
            if let Some(written) = &memory.written {
                if written.metadata.uid == watched.metadata.uid && version(written) > version(watched) {
                    return written.clone();
                }
                memory.written = None;
            }
            Arc::new(watched.clone())
        })
    }

    /// Whether a new reading of the WorkerCluster's pods says something that a reconcile would act on.
    pub fn is_news(&self, key: &Key) -> bool {
        let digest = digest(&self.signals.readings(key), self.signals.sample_max_age(), Instant::now());
        self.known(key, |memory| std::mem::replace(&mut memory.digest, digest) != digest || memory.autoscaled)
            .unwrap_or(false)
    }

    /// News that could not be told are news again.
    pub fn untold(&self, key: &Key) {
        self.known(key, |memory| memory.digest = 0);
    }

    /// Changes what is remembered of a WorkerCluster, if anything is.
    pub fn known<T>(&self, key: &Key, change: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key).map(change)
    }

    /// Looks at the pods anew, past the watch: after a create whose answer was lost, and where a list crossed a write.
    pub async fn relook(&self, key: &Key) -> Result<(), ApiError> {
        let (version, pods) = self.api.pods(&key.namespace, &key.name).await?;
        self.cache.pods.look(key, version, pods.iter().filter_map(PodView::read).collect());
        Ok(())
    }

    /// For how long the rollout has been seen at the point that status tells.
    pub fn watched(&self, key: &Key, before: Option<&RolloutStatus>) -> Duration {
        let Some(before) = before else { return Duration::ZERO };
        let point = (before.revision, before.progressed_at.clone());
        self.memory(key, |memory| match &memory.rollout {
            Some((seen, since)) if *seen == point => since.elapsed(),
            _ => {
                memory.rollout = Some((point, StdInstant::now()));
                Duration::ZERO
            }
        })
    }

    /// Counts failed pods and says how long nothing may be created yet.
    pub fn back_off(&self, seen: &Seen, wanted: i32, revision: &str) -> Option<Duration> {
        let owned = seen.owned();
        // Those of another revision say nothing about the one whose pods fail.
        let current = |pod: &&&PodView| pod.revision.as_deref() == Some(revision);
        let ready = owned.iter().filter(current).filter(|pod| pod.is_active() && pod.is_ready()).count();
        let all_ready = i32::try_from(ready).is_ok_and(|ready| ready >= wanted);
        let now = StdInstant::now();
        self.memory(&seen.key, |memory| {
            memory.backoff = std::mem::take(&mut memory.backoff).of(revision).observe(&owned, all_ready, now);
            let remaining = memory.backoff.remaining(now);
            if all_ready && remaining.is_none() {
                memory.rejection = None;
            }
            remaining
        })
    }
}

/// What status shows of the primaries' words, as one number. That one does not answer well is part of it.
fn digest(readings: &Readings, max_age: Duration, now: Instant) -> u64 {
    let mut pods: Vec<_> = readings.pods.iter().collect();
    pods.sort_by_key(|(uid, _)| *uid);
    let mut hasher = DefaultHasher::new();
    for (uid, reading) in pods {
        uid.hash(&mut hasher);
        reading.trouble().map(|trouble| &trouble.message).hash(&mut hasher);
        reading.order.as_ref().map(ToString::to_string).hash(&mut hasher);
        if let Some((stats, at)) = &reading.stats {
            (now.saturating_duration_since(*at) > max_age).hash(&mut hasher);
            (stats.workers.ready, stats.workers.desired, stats.workers.restarts).hash(&mut hasher);
            (stats.deaths.exited, stats.deaths.crashed).hash(&mut hasher);
            // Whom it knows is seen to by the readers, and is nobody's news.
            stats.told.as_ref().map(|told| (&told.revision, &told.reload)).hash(&mut hasher);
            (stats.drained, is_idle(stats)).hash(&mut hasher);
            stats.reload.as_ref().map(|reload| (reload.number, reload.ended, &reload.failure)).hash(&mut hasher);
            for warning in &stats.warnings {
                (warning.reason, &warning.message).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}
