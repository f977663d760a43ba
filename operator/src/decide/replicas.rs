//! Which pods to create and which to delete, so that the wanted number of the current revision is reached without ever having fewer ready
//! than there could be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crds::{PodReplacementPolicy, WorkerClusterSpec};
use k8s_openapi::jiff::Timestamp;

use super::{
    load::Load,
    nodes::Breaker,
    ranking::{Going, Ranked, rank},
    retire::{self, Standing, Step},
};
use crate::{
    text::short_hash,
    view::{PodView, Readiness},
};

/// What is asked for and what there is.
pub struct Input<'a> {
    /// The WorkerCluster's name: pods are named after it.
    pub cluster: &'a str,
    /// Its UID: another of the same name has pods of other names.
    pub cluster_uid: &'a str,
    /// Replicas wanted.
    pub wanted: usize,
    /// The revision that pods are to have.
    pub revision: &'a str,
    pub strategy: Strategy,
    /// Pods of older revisions stay as they are.
    pub paused: bool,
    /// The pods that the WorkerCluster owns.
    pub pods: &'a [&'a PodView],
    /// For a name: the UID of the pod that is known to have it.
    pub holder: &'a dyn Fn(&str) -> Option<String>,
    /// For a pod's UID: how much work it holds.
    pub load: &'a dyn Fn(&str) -> Load,
    /// For a pod's UID: whether its deletion was asked for, and may still arrive.
    pub asked: &'a dyn Fn(&str) -> bool,
    /// Whether a pod is in service, and has been told to serve out.
    pub standing: &'a dyn Fn(&PodView) -> Standing,
    /// How long nothing may be created yet (failures).
    pub hold: Option<Duration>,
    pub nodes: &'a Breaker,
    /// How long ago the last pod was created, where that is known.
    pub since_create: Option<Duration>,
    pub now: Timestamp,
}

/// What `spec.rollout` and its neighbours come to for the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Pods above the wanted number while a revision rolls out.
    pub surge: usize,
    /// Pods that may be missing from the wanted number of available ones while a revision rolls out.
    pub unavailable: usize,
    /// How long a pod is ready before it is available.
    pub min_ready: Duration,
    /// Whether pods that are ending take the room of new ones.
    pub replacement: PodReplacementPolicy,
    /// Failed pods that are kept to be looked at.
    pub failed_history: usize,
    /// How long a pod that is too many may serve out before it is deleted.
    pub retirement: Duration,
}

/// What to do, in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub create: Vec<NewPod>,
    pub delete: Vec<Removal>,
    /// UIDs of pods that serve out: they are to be told so, and all others that they are in service. Who has served out and is deleted is among
    /// them: until it is gone, nothing new is to come to it.
    pub retire: BTreeSet<Arc<str>>,
    /// Pods that are missing and wait for the back-off, or until nodes are back.
    pub held: usize,
    /// Pods that are missing and wait for others to be gone (`TerminationComplete`).
    pub awaiting: usize,
    /// Pods of an older revision are still there.
    pub rolling: bool,
    /// When the next ready pod counts as available, another pod may be created, or one may have served out.
    pub wake: Option<Duration>,
}

/// A pod to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPod {
    pub name: String,
    pub slot: u32,
}

/// A pod to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub name: String,
    pub uid: Arc<str>,
    /// The version on which the decision rests, where it must not be deleted in any other; `None` deletes whatever its version.
    pub version: Option<u64>,
    pub why: RemovalReason,
}

/// Why a pod goes: reason of the event and label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// More replicas than wanted.
    ScaledDown,
    /// Of an older revision, and a newer pod took over.
    Replaced,
    /// Of an older revision and never ready: nothing is lost with it.
    NeverReady,
    /// Failed, and more than the history keeps.
    FailedHistory,
}

/// A pass writes so often. Each pod that is made costs a third of a millisecond of processor, a look at 5000 pods thirty of them, and
/// the promise is a reconcile of at most 100; a ReplicaSet's burst is 500.
pub const PASS_WRITES: usize = 96;
/// What is decided at a time: more than a pass writes, so that it is cut off and the next begins at once.
const BURST: usize = 2 * PASS_WRITES;

/// Pods that go, now or when they have served out.
#[derive(Default)]
struct Leaving {
    delete: Vec<Removal>,
    retire: BTreeSet<Arc<str>>,
    /// When the first of those is to be looked at again.
    again: Option<Duration>,
}

/// The active pods, sorted by what a rollout does with them.
struct Sorted<'a> {
    /// Of the revision that is wanted.
    current: Vec<&'a PodView>,
    /// Of another, and ready at some time.
    old: Vec<&'a PodView>,
    /// Of another, and never ready: they serve nobody.
    useless: Vec<&'a PodView>,
}

// === impl Strategy ===

impl Strategy {
    /// The amounts for `wanted` replicas. Where both come to nothing one pod may be missing, as for a Deployment: else nothing would ever
    /// be replaced.
    pub fn of(spec: &WorkerClusterSpec, wanted: usize) -> Self {
        let rollout = &spec.rollout;
        let surge = rollout.max_surge.of_rounded_up(wanted);
        let unavailable = rollout.max_unavailable.of_rounded_down(wanted);
        Self {
            surge,
            unavailable: if surge == 0 { unavailable.max(1) } else { unavailable },
            min_ready: Duration::from_secs(u64::try_from(rollout.min_ready_seconds).unwrap_or(0)),
            replacement: spec.pod_replacement_policy,
            failed_history: usize::try_from(spec.failed_pods_history_limit).unwrap_or(0),
            retirement: Duration::from_secs(u64::try_from(spec.workers.drain_seconds).unwrap_or(0)),
        }
    }
}

/// Decides one pass.
pub fn decide(input: &Input<'_>) -> Decision {
    let Input { strategy, wanted, .. } = *input;
    let (active, inactive): (Vec<&PodView>, Vec<&PodView>) =
        input.pods.iter().copied().partition(|pod| pod.is_active());
    let ending = inactive.iter().filter(|pod| pod.deleting && !pod.is_finished()).count();
    let pods = Sorted::of(&active, input);
    let rolling = !pods.old.is_empty() || !pods.useless.is_empty();

    // While the rollout is paused every pod counts alike: what is missing is made, and who is there stays.
    let doomed = if input.paused { 0 } else { pods.useless.len() };
    let live = active.len() - doomed;
    let room = wanted + if rolling { strategy.surge } else { 0 };
    let missing = if input.paused {
        wanted.saturating_sub(live)
    } else {
        wanted.saturating_sub(pods.current.len()).min(room.saturating_sub(live))
    };
    let now = match strategy.replacement {
        PodReplacementPolicy::TerminationStarted => missing,
        // Those that are made useless below end too, and are still there for a while.
        PodReplacementPolicy::TerminationComplete => missing.min(room.saturating_sub(active.len() + ending)),
    };
    let slow = input.nodes.room(input.since_create);
    let allowed = if input.hold.is_some() { 0 } else { now.min(slow.pods) };
    let create = new_pods(input, &active, allowed);

    let mut delete = failed_history(&inactive, strategy.failed_history);
    if !input.paused {
        delete.extend(pods.useless.iter().map(|pod| removal(pod, RemovalReason::NeverReady)));
    }
    let leaving = leaving(input, &pods, live.saturating_sub(room));
    delete.extend(leaving.delete);
    delete.truncate(BURST);

    let waits = active.iter().filter_map(|pod| pod.available_in(strategy.min_ready, input.now));
    let waits = waits.filter(|wait| !wait.is_zero()).chain(slow.again.filter(|_| now > allowed));
    let wake = waits.chain(leaving.again).min();
    Decision { create, delete, retire: leaving.retire, held: now - allowed, awaiting: missing - now, rolling, wake }
}

/// The pods that go: `excess` of them because they are too many, whatever their revision, and old ones as far as enough others are available.
/// Who is replaced is deleted at once: another is there in its place, and the termination lets it finish.
fn leaving(input: &Input<'_>, pods: &Sorted<'_>, excess: usize) -> Leaving {
    let mut gone = Leaving::default();
    if input.nodes.outage().is_some() {
        // Who is available, and how many, is hearsay while most nodes are lost: all stay as they are.
        let too_many = ranked(input, pods).into_iter().take(excess);
        gone.retire = too_many.filter(|pod| (input.standing)(pod).is_retiring()).map(|pod| pod.uid.clone()).collect();
        return gone;
    }
    if excess == 0 && (input.paused || pods.old.is_empty()) {
        return gone; // nobody has to go: no need to ask who would be the first of thousands
    }
    let strategy = input.strategy;
    let available = |pod: &PodView| pod.is_available(strategy.min_ready, input.now);
    let order = ranked(input, pods);
    let (too_many, staying) = order.split_at(excess.min(order.len()));
    for pod in too_many {
        let standing = (input.standing)(pod);
        let wait = match retire::step(standing, strategy.retirement) {
            Step::Delete => {
                gone.retire.extend(standing.is_retiring().then(|| pod.uid.clone()));
                gone.delete.push(removal(pod, RemovalReason::ScaledDown));
                continue;
            }
            Step::Retire(wait) => {
                gone.retire.insert(pod.uid.clone());
                wait
            }
            Step::Wait(wait) => wait,
        };
        gone.again = Some(gone.again.map_or(wait, |other| other.min(wait)));
    }
    if input.paused {
        return gone;
    }

    // A Deployment's two budgets. Who serves goes only where enough others do; who does not serve goes as long as those that are left,
    // without the new ones that have yet to show what they can do, would be enough: a cluster in which nothing is ready for a moment must
    // not be emptied.
    let least = input.wanted.saturating_sub(strategy.unavailable);
    let serving = staying.iter().filter(|pod| available(pod)).count();
    let is_old = |pod: &PodView| pod.revision.as_deref() != Some(input.revision);
    let unproven = staying.iter().filter(|pod| !is_old(pod) && !available(pod)).count();
    let mut idle_budget = staying.len().saturating_sub(least + unproven);
    let mut serving_budget = serving.saturating_sub(least);
    for pod in staying.iter().filter(|pod| is_old(pod)) {
        let budget = if available(pod) { &mut serving_budget } else { &mut idle_budget };
        if *budget > 0 {
            *budget -= 1;
            gone.retire.extend((input.standing)(pod).is_retiring().then(|| pod.uid.clone()));
            gone.delete.push(removal(pod, RemovalReason::Replaced));
        }
    }
    gone
}

// === impl Sorted ===

impl<'a> Sorted<'a> {
    fn of(active: &[&'a PodView], input: &Input<'_>) -> Self {
        let (current, others): (Vec<&PodView>, Vec<&PodView>) =
            active.iter().copied().partition(|pod| pod.revision.as_deref() == Some(input.revision));
        let (useless, old) = others.into_iter().partition(|pod| pod.was_never_ready() && !input.nodes.hides(pod));
        Self { current, old, useless }
    }
}

fn ranked<'a>(input: &Input<'_>, pods: &Sorted<'a>) -> Vec<&'a PodView> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    let stay_or_serve = if input.paused { pods.useless.as_slice() } else { &[] };
    for pod in pods.current.iter().chain(&pods.old).chain(stay_or_serve) {
        *on_node.entry(pod.node.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let entry = |pod: &&'a PodView, outdated: bool| Ranked {
        pod,
        available: pod.is_available(input.strategy.min_ready, input.now),
        outdated,
        going: match (input.standing)(pod) {
            _ if (input.asked)(&pod.uid) => Going::Asked,
            Standing::Retiring { .. } => Going::Retiring,
            Standing::Returning => Going::Back,
            _ => Going::No,
        },
        load: (input.load)(&pod.uid),
        together: on_node.get(pod.node.as_deref().unwrap_or_default()).copied().unwrap_or(0),
    };
    let current = pods.current.iter().map(|pod| entry(pod, false));
    let others = pods.old.iter().chain(stay_or_serve).map(|pod| entry(pod, true));
    rank(current.chain(others).collect(), input.now)
}

/// The names of `count` new pods: each takes the lowest free slot. A name that a pod still has is passed over for one that is made from that
/// pod's UID; so a create that is repeated meets its own pod, and never one that is still ending.
fn new_pods(input: &Input<'_>, active: &[&PodView], count: usize) -> Vec<NewPod> {
    let taken: BTreeSet<u32> = active.iter().filter_map(|pod| pod.slot).collect();
    let free = (0u32..).filter(|slot| !taken.contains(slot));
    free.take(count.min(BURST))
        .map(|slot| {
            let name = |before: &str| {
                let suffix = short_hash(&[input.cluster_uid, input.revision, &slot.to_string(), before]);
                format!("{}-{suffix}", input.cluster)
            };
            let mut own = name("");
            while let Some(holder) = (input.holder)(&own) {
                own = name(&holder);
            }
            NewPod { name: own, slot }
        })
        .collect()
}

/// Failed and succeeded pods beyond the history, oldest first.
fn failed_history(inactive: &[&PodView], kept: usize) -> Vec<Removal> {
    let mut finished: Vec<&PodView> =
        inactive.iter().copied().filter(|pod| pod.is_finished() && !pod.deleting).collect();
    finished.sort_by_key(|pod| (pod.created, pod.uid.clone()));
    let surplus = finished.len().saturating_sub(kept);
    finished.into_iter().take(surplus).map(|pod| removal(pod, RemovalReason::FailedHistory)).collect()
}

fn removal(pod: &PodView, why: RemovalReason) -> Removal {
    // A decision that rests on the pod not being ready must not hit one that has become ready meanwhile.
    let version = matches!(pod.readiness, Readiness::Ready(_)).then_some(()).map_or(Some(pod.version), |()| None);
    Removal { name: pod.name.clone(), uid: pod.uid.clone(), version, why }
}

// === impl RemovalReason ===

impl RemovalReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaledDown => "ScaledDown",
            Self::Replaced => "Replaced",
            Self::NeverReady => "NeverReady",
            Self::FailedHistory => "FailedHistory",
        }
    }
}

#[cfg(test)]
mod tests;
