//! Which pods to create and which to delete, so that the wanted number of the current revision is reached without ever having fewer ready
//! than there could be.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::ranking::{Ranked, rank};
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
    /// The current revision.
    pub revision: &'a str,
    /// The pods that the WorkerCluster owns.
    pub pods: &'a [&'a PodView],
    /// All pods whose names are known to be taken.
    pub named: &'a [PodView],
    /// For a pod's UID: whether a worker of it holds work, where that is known.
    pub busy: &'a dyn Fn(&str) -> Option<bool>,
    /// How long nothing may be created yet (failures).
    pub hold: Option<Duration>,
    pub now: Timestamp,
}

/// What to do, in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub create: Vec<NewPod>,
    pub delete: Vec<Removal>,
    /// Pods that are missing and wait for the back-off.
    pub held: usize,
    /// Pods of an older revision are still there.
    pub rolling: bool,
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
    pub uid: String,
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

/// Failed pods that are kept to be looked at.
pub const FAILED_HISTORY: usize = 3;
/// Pods above the wanted number while a revision rolls out.
pub const SURGE: usize = 1;
/// Writes in one pass at the most (a ReplicaSet's burst).
pub const BURST: usize = 500;

/// Decides one pass.
pub fn decide(input: &Input<'_>) -> Decision {
    let (active, inactive): (Vec<&PodView>, Vec<&PodView>) =
        input.pods.iter().copied().partition(|pod| pod.is_active());
    let (current, old): (Vec<&PodView>, Vec<&PodView>) =
        active.iter().copied().partition(|pod| pod.revision.as_deref() == Some(input.revision));
    let mut delete = failed_history(&inactive);

    // Old pods that never were ready serve nobody: they make room at once. Those that are wanted most are replaced below.
    let useless: Vec<&PodView> = old.iter().copied().filter(|pod| pod.was_never_ready()).collect();
    delete.extend(useless.iter().map(|pod| removal(pod, RemovalReason::NeverReady)));
    let old: Vec<&PodView> = old.into_iter().filter(|pod| !pod.was_never_ready()).collect();
    let live = current.len() + old.len();

    let surge = if old.is_empty() { 0 } else { SURGE };
    let missing = input.wanted.saturating_sub(current.len()).min((input.wanted + surge).saturating_sub(live));
    let names = new_pods(input, &active, missing);

    let mut leaving: Vec<&PodView> = Vec::new();
    let order = ranked(input, &current, &old);
    // Too many altogether: the first of the order go, whatever their revision.
    let excess = live.saturating_sub(input.wanted + surge);
    leaving.extend(order.iter().copied().take(excess));
    delete.extend(leaving.iter().map(|pod| removal(pod, RemovalReason::ScaledDown)));
    // An old pod goes only where the ready ones without it are still as many as wanted.
    let staying = |pod: &&&PodView| !leaving.iter().any(|gone| gone.uid == pod.uid);
    let ready = order.iter().filter(staying).filter(|pod| pod.is_ready()).count();
    let spare = ready.saturating_sub(input.wanted);
    let outdated = |pod: &&PodView| pod.revision.as_deref() != Some(input.revision);
    let replaced: Vec<&PodView> = order
        .iter()
        .filter(staying)
        .copied()
        .filter(outdated)
        .filter(|pod| pod.is_ready())
        .take(spare)
        .chain(
            order
                .iter()
                .filter(staying)
                .copied()
                .filter(outdated)
                .filter(|pod| !pod.is_ready() && ready >= input.wanted),
        )
        .collect();
    delete.extend(replaced.iter().map(|pod| removal(pod, RemovalReason::Replaced)));

    let rolling = !old.is_empty() || !useless.is_empty();
    delete.truncate(BURST);
    match input.hold {
        Some(_) => Decision { create: Vec::new(), delete, held: names.len(), rolling },
        None => Decision { create: names, delete, held: 0, rolling },
    }
}

fn ranked<'a>(input: &Input<'_>, current: &[&'a PodView], old: &[&'a PodView]) -> Vec<&'a PodView> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in current.iter().chain(old) {
        *on_node.entry(pod.node.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let entry = |pod: &&'a PodView, outdated: bool| Ranked {
        pod,
        outdated,
        busy: (input.busy)(&pod.uid),
        together: on_node.get(pod.node.as_deref().unwrap_or_default()).copied().unwrap_or(0),
    };
    let pods = current.iter().map(|pod| entry(pod, false)).chain(old.iter().map(|pod| entry(pod, true))).collect();
    rank(pods, input.now)
}

/// The names of `count` new pods: each takes the lowest free slot. A name that a pod still has is passed over for one that is made from that
/// pod's UID; so a create that is repeated meets its own pod, and never one that is still ending.
fn new_pods(input: &Input<'_>, active: &[&PodView], count: usize) -> Vec<NewPod> {
    let taken: BTreeSet<u32> = active.iter().filter_map(|pod| pod.slot).collect();
    let holders: BTreeMap<&str, &str> = input.named.iter().map(|pod| (pod.name.as_str(), pod.uid.as_str())).collect();
    let free = (0u32..).filter(|slot| !taken.contains(slot));
    free.take(count.min(BURST))
        .map(|slot| {
            let name = |before: &str| {
                let suffix = short_hash(&[input.cluster_uid, input.revision, &slot.to_string(), before]);
                format!("{}-{suffix}", input.cluster)
            };
            let mut own = name("");
            while let Some(holder) = holders.get(own.as_str()) {
                own = name(holder);
            }
            NewPod { name: own, slot }
        })
        .collect()
}

/// Failed and succeeded pods beyond the history, oldest first.
fn failed_history(inactive: &[&PodView]) -> Vec<Removal> {
    let mut finished: Vec<&PodView> =
        inactive.iter().copied().filter(|pod| pod.is_finished() && !pod.deleting).collect();
    finished.sort_by_key(|pod| (pod.created, pod.uid.clone()));
    let surplus = finished.len().saturating_sub(FAILED_HISTORY);
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::{Phase, pod::tests::pod};

    fn run(wanted: usize, revision: &str, pods: &[PodView]) -> Decision {
        run_held(wanted, revision, pods, None)
    }

    fn run_held(wanted: usize, revision: &str, all: &[PodView], hold: Option<Duration>) -> Decision {
        let pods: Vec<&PodView> = all.iter().collect();
        let now = Timestamp::from_second(1_000_000).unwrap();
        decide(&Input {
            cluster: "web",
            cluster_uid: "uid",
            wanted,
            revision,
            pods: &pods,
            named: all,
            busy: &|_| None,
            hold,
            now,
        })
    }

    fn gone(decision: &Decision) -> Vec<(&str, RemovalReason)> {
        decision.delete.iter().map(|removal| (removal.name.as_str(), removal.why)).collect()
    }

    #[test]
    fn nothing_is_done_where_all_is_well() {
        assert_eq!(run(2, "r1", &[pod("a").slot(0), pod("b").slot(1)]), Decision::default());
    }

    #[test]
    fn missing_pods_take_the_lowest_free_slots() {
        let decision = run(3, "r1", &[pod("b").slot(1)]);
        assert_eq!(decision.create.iter().map(|new| new.slot).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(
            decision.create,
            run(3, "r1", &[pod("b").slot(1)]).create,
            "a repeated decision names the same pods"
        );
    }

    #[test]
    fn a_name_never_meets_the_predecessor_that_is_still_ending() {
        let first = run(1, "r1", &[]).create[0].name.clone();
        let ending = PodView { name: first.clone(), ..pod("a") }.deleting();
        let second = run(1, "r1", &[ending]).create[0].name.clone();
        assert_ne!(first, second);
    }

    #[test]
    fn a_rollout_brings_one_new_pod_before_an_old_one_goes() {
        let old = [pod("a").slot(0), pod("b").slot(1)];
        let decision = run(2, "r2", &old);
        assert_eq!((decision.create.len(), gone(&decision), decision.rolling), (1, vec![], true));

        let starting = [old[0].clone(), old[1].clone(), pod("c").slot(2).revision("r2").not_ready()];
        assert_eq!(run(2, "r2", &starting), Decision { rolling: true, ..Decision::default() });

        let ready = [old[0].clone(), old[1].clone(), pod("c").slot(2).revision("r2")];
        let decision = run(2, "r2", &ready);
        assert_eq!(gone(&decision), [("a", RemovalReason::Replaced)]);
    }

    #[test]
    fn old_pods_that_never_were_ready_make_room_at_once() {
        let broken = [pod("a").slot(0).not_ready(), pod("b").slot(1).not_ready()];
        let decision = run(2, "r2", &broken);
        assert_eq!((decision.create.len(), decision.delete.len()), (2, 2));
    }

    #[test]
    fn scaling_down_takes_what_is_not_ready_first() {
        let decision = run(1, "r1", &[pod("a").slot(0), pod("b").slot(1).not_ready()]);
        assert_eq!(gone(&decision), [("b", RemovalReason::ScaledDown)]);
    }

    #[test]
    fn a_removal_for_not_being_ready_holds_only_for_that_version() {
        let decision = run(1, "r1", &[pod("a").slot(0), pod("b").slot(1).not_ready().version(9)]);
        assert_eq!(decision.delete[0].version, Some(9));
    }

    #[test]
    fn failed_pods_are_replaced_and_three_are_kept() {
        let failed: Vec<PodView> = (0..5)
            .map(|i| PodView { created: Timestamp::from_second(i).ok(), ..pod(&format!("f{i}")).phase(Phase::Failed) })
            .collect();
        let decision = run(1, "r1", &failed);
        assert_eq!(gone(&decision), [("f0", RemovalReason::FailedHistory), ("f1", RemovalReason::FailedHistory)]);
        assert_eq!(decision.create.len(), 1);
    }

    #[test]
    fn while_the_back_off_holds_nothing_is_created_and_deletes_go_on() {
        let decision = run_held(2, "r1", &[], Some(Duration::from_secs(1)));
        assert_eq!((decision.create.len(), decision.held), (0, 2));
    }

    prop_compose! {
        fn any_pod(index: u32)(revision in 1..3u8, phase in 0..5u8, ready in any::<bool>(), deleting in 0..4u8, since in 0i64..100) -> PodView {
            let phase = [Phase::Pending, Phase::Unknown, Phase::Running, Phase::Failed, Phase::Running][usize::from(phase)];
            let mut pod = pod(&format!("p{index}")).slot(index).revision(&format!("r{revision}"));
            pod = if ready { pod.ready_since(since) } else { pod.not_ready() };
            pod = pod.phase(phase);
            if deleting == 0 { pod.deleting() } else { pod }
        }
    }

    proptest! {
        #[test]
        fn replicas_stay_within_bounds_and_readiness_is_not_given_away(
            pods in (0u32..8).prop_flat_map(|n| (0..n).map(any_pod).collect::<Vec<_>>()), wanted in 0usize..8,
        ) {
            let decision = run(wanted, "r2", &pods);
            let active = pods.iter().filter(|pod| pod.is_active()).count();
            let gone = |pod: &PodView| decision.delete.iter().any(|removal| removal.uid == pod.uid);
            let after = pods.iter().filter(|pod| pod.is_active() && !gone(pod)).count() + decision.create.len();
            prop_assert!(after <= wanted + SURGE || decision.create.is_empty() && after <= active);
            prop_assert!(after <= wanted + SURGE);
            let ready_before = pods.iter().filter(|pod| pod.is_active() && pod.is_ready()).count();
            let ready_after = pods.iter().filter(|pod| pod.is_active() && pod.is_ready() && !gone(pod)).count();
            prop_assert!(ready_after >= ready_before.min(wanted));
            let unique: BTreeSet<&str> = decision.delete.iter().map(|removal| removal.uid.as_str()).collect();
            prop_assert_eq!(unique.len(), decision.delete.len());
            prop_assert!(!decision.delete.iter().any(|removal| pods.iter().any(|pod| pod.uid == removal.uid && pod.deleting)));
        }

        #[test]
        fn applying_decisions_ends_with_the_wanted_pods_of_the_current_revision(
            pods in (0u32..6).prop_flat_map(|n| (0..n).map(any_pod).collect::<Vec<_>>()), wanted in 0usize..6,
        ) {
            let mut pods = pods;
            for _ in 0..40 {
                let decision = run(wanted, "r2", &pods);
                pods.retain(|pod| !decision.delete.iter().any(|removal| removal.uid == pod.uid));
                pods.retain(|pod| !pod.deleting);
                pods.extend(decision.create.iter().map(|new| pod(&new.name).slot(new.slot).revision("r2")));
                // a running pod becomes ready in the end
                pods = pods.into_iter().map(|pod| if pod.is_active() { pod.phase(Phase::Running).ready_since(5) } else { pod }).collect();
            }
            let current = pods.iter().filter(|pod| pod.is_active()).collect::<Vec<_>>();
            prop_assert_eq!(current.len(), wanted);
            prop_assert!(current.iter().all(|pod| pod.revision.as_deref() == Some("r2")));
            prop_assert_eq!(run(wanted, "r2", &pods).create, Vec::<NewPod>::new());
        }
    }
}
