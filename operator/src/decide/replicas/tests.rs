use std::sync::LazyLock;

use proptest::{prelude::*, strategy::Strategy as _};

use super::{Strategy, *};
use crate::{
    decide::nodes::{State, census},
    view::{Phase, nodes::tests::node, pod::tests::pod},
};

fn run(wanted: usize, revision: &str, pods: &[PodView]) -> Decision {
    run_held(wanted, revision, pods, None)
}

fn run_held(wanted: usize, revision: &str, all: &[PodView], hold: Option<Duration>) -> Decision {
    run_with(STRATEGY, wanted, revision, all, hold)
}

/// One above, none missing, as with the defaults for up to four replicas.
const STRATEGY: Strategy = Strategy {
    surge: 1,
    unavailable: 0,
    min_ready: Duration::ZERO,
    replacement: PodReplacementPolicy::TerminationStarted,
    failed_history: 3,
    retirement: Duration::from_secs(30),
};

static CLOSED: LazyLock<Breaker> = LazyLock::new(Breaker::default);

fn run_with(strategy: Strategy, wanted: usize, revision: &str, all: &[PodView], hold: Option<Duration>) -> Decision {
    let pods: Vec<&PodView> = all.iter().collect();
    decide(&input(strategy, wanted, revision, &holder(all), &pods, hold))
}

fn holder(pods: &[PodView]) -> impl Fn(&str) -> Option<String> {
    |name| pods.iter().find(|pod| pod.name == name).map(|pod| pod.uid.to_string())
}

fn input<'a>(
    strategy: Strategy,
    wanted: usize,
    revision: &'a str,
    holder: &'a dyn Fn(&str) -> Option<String>,
    pods: &'a [&'a PodView],
    hold: Option<Duration>,
) -> Input<'a> {
    Input {
        cluster: "web",
        cluster_uid: "uid",
        wanted,
        revision,
        strategy,
        paused: false,
        pods,
        holder,
        load: &|_| Load::Unknown,
        asked: &|_| false,
        standing: &|_| Standing::Out,
        hold,
        nodes: &CLOSED,
        since_create: None,
        now: Timestamp::from_second(1_000_000).unwrap(),
    }
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
    assert_eq!(decision.create, run(3, "r1", &[pod("b").slot(1)]).create, "a repeated decision names the same pods");
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
fn a_rollout_brings_as_many_at_once_as_the_surge_and_takes_as_many_as_may_be_missing() {
    let old: Vec<PodView> = (0..10).map(|slot| pod(&format!("p{slot}")).slot(slot)).collect();
    let strategy = Strategy { surge: 3, unavailable: 2, ..STRATEGY };
    let decision = run_with(strategy, 10, "r2", &old, None);
    assert_eq!((decision.create.len(), decision.delete.len()), (3, 2));
}

#[test]
fn amounts_that_round_to_nothing_let_one_pod_be_missing() {
    let spec = |surge: &str, unavailable: &str| {
        let rollout = serde_json::json!({"maxSurge": surge, "maxUnavailable": unavailable});
        serde_json::from_value(serde_json::json!({"template": {}, "rollout": rollout})).unwrap()
    };
    let amounts = |spec: WorkerClusterSpec, wanted| {
        let strategy = Strategy::of(&spec, wanted);
        (strategy.surge, strategy.unavailable)
    };
    assert_eq!(amounts(spec("0%", "25%"), 3), (0, 1));
    assert_eq!(amounts(spec("25%", "0%"), 5), (2, 0));
    assert_eq!(amounts(spec("10%", "10%"), 100), (10, 10));
}

#[test]
fn a_pod_counts_only_when_it_has_been_ready_for_long_enough() {
    let strategy = Strategy { min_ready: Duration::from_secs(60), ..STRATEGY };
    let young = [pod("a").slot(0), pod("b").slot(1).revision("r2").ready_since(999_990)];
    let decision = run_with(strategy, 1, "r2", &young, None);
    assert_eq!((gone(&decision), decision.wake), (vec![], Some(Duration::from_secs(50))));
    let grown = [pod("a").slot(0), pod("b").slot(1).revision("r2").ready_since(999_940)];
    assert_eq!(gone(&run_with(strategy, 1, "r2", &grown, None)), [("a", RemovalReason::Replaced)]);
}

#[test]
fn with_termination_complete_a_pod_waits_for_the_room_of_one_that_is_ending() {
    let strategy = Strategy { replacement: PodReplacementPolicy::TerminationComplete, ..STRATEGY };
    let pods = [pod("a").slot(0), pod("b").slot(1).deleting()];
    let decision = run_with(strategy, 2, "r1", &pods, None);
    assert_eq!((decision.create.len(), decision.awaiting), (0, 1));
    assert_eq!(run_with(STRATEGY, 2, "r1", &pods, None).create.len(), 1);
}

#[test]
fn old_pods_that_have_stopped_being_ready_are_not_all_taken_at_once() {
    let moved = |name: &str| PodView { readiness: Readiness::NotReady(Timestamp::from_second(5000).ok()), ..pod(name) };
    let silent = [moved("a").slot(0), moved("b").slot(1), moved("c").slot(2)];
    let decision = run(3, "r2", &silent);
    assert_eq!((decision.create.len(), decision.delete.len()), (1, 0));
    let one_new = [silent[0].clone(), silent[1].clone(), silent[2].clone(), pod("d").slot(3).revision("r2")];
    assert_eq!(run(3, "r2", &one_new).delete.len(), 1);
}

#[test]
fn while_it_is_paused_old_pods_stay_and_what_is_missing_is_made() {
    let half = [pod("a").slot(0), pod("b").slot(1).not_ready(), pod("c").slot(2).revision("r2")];
    let pods: Vec<&PodView> = half.iter().collect();
    let paused = |wanted| decide(&Input { paused: true, ..input(STRATEGY, wanted, "r2", &holder(&half), &pods, None) });
    assert_eq!(gone(&paused(3)), []);
    assert_eq!(paused(5).create.len(), 2);
    assert_eq!(gone(&paused(1)), [("b", RemovalReason::ScaledDown)], "the surge may stay");
}

#[test]
fn what_is_asked_to_go_first_goes_first() {
    let asked = PodView { delete_first: true, ..pod("b").slot(1) };
    assert_eq!(gone(&run(1, "r1", &[pod("a").slot(0), asked])), [("b", RemovalReason::ScaledDown)]);
}

#[test]
fn scaling_down_takes_what_is_not_ready_first() {
    let decision = run(1, "r1", &[pod("a").slot(0), pod("b").slot(1).not_ready()]);
    assert_eq!(gone(&decision), [("b", RemovalReason::ScaledDown)]);
}

/// With primaries that take orders; `retiring` were told to retire 10 s ago, and left.
fn run_with_primaries(wanted: usize, revision: &str, all: &[PodView], retiring: &[&str], idle: bool) -> Decision {
    let pods: Vec<&PodView> = all.iter().collect();
    let holder = holder(all);
    let standing = |pod: &PodView| {
        if retiring.contains(&pod.name.as_str()) {
            Standing::Retiring { since: Duration::from_secs(10), left: true, idle }
        } else if pod.is_ready() {
            Standing::Serving
        } else {
            Standing::Out
        }
    };
    decide(&Input { standing: &standing, ..input(STRATEGY, wanted, revision, &holder, &pods, None) })
}

fn retiring(decision: &Decision) -> Vec<&str> {
    decision.retire.iter().map(AsRef::as_ref).collect()
}

#[test]
fn who_is_too_many_serves_out_goes_when_it_is_idle_and_comes_back_where_more_are_wanted() {
    let all = [pod("a").slot(0), pod("b").slot(1), pod("c").slot(2)];
    let first = run_with_primaries(2, "r1", &all, &[], false);
    assert_eq!((retiring(&first), gone(&first), first.wake), (vec!["uid-a"], vec![], Some(Duration::from_secs(2))));
    // It is not ready any more, and stays the one that goes; what is left of its time is waited for.
    let all = [pod("a").slot(0).not_ready(), pod("b").slot(1), pod("c").slot(2)];
    let second = run_with_primaries(2, "r1", &all, &["a"], false);
    assert_eq!((retiring(&second), gone(&second), second.wake), (vec!["uid-a"], vec![], Some(Duration::from_secs(20))));
    assert_eq!(run_with_primaries(3, "r1", &all, &["a"], false), Decision::default(), "it is called back");
    assert_eq!(run_with_primaries(4, "r1", &all, &["a"], false).create.len(), 1, "and one is made beside it");
    let idle = run_with_primaries(2, "r1", &all, &["a"], true);
    assert_eq!(gone(&idle), [("a", RemovalReason::ScaledDown)]);
    assert_eq!(retiring(&idle), ["uid-a"], "until it is gone nothing new comes to it");
}

#[test]
fn hundreds_that_have_served_out_are_not_called_back_because_they_cannot_all_be_deleted_at_once() {
    let names: Vec<String> = (0..BURST + 50).map(|number| format!("p{number}")).collect();
    let all: Vec<PodView> = (0_u32..).zip(&names).map(|(slot, name)| pod(name).slot(slot).not_ready()).collect();
    let told: Vec<&str> = names.iter().map(String::as_str).collect();
    let decision = run_with_primaries(0, "r1", &all, &told, true);
    assert_eq!((decision.delete.len(), decision.retire.len()), (BURST, BURST + 50));
}

#[test]
fn while_most_nodes_are_lost_who_retires_goes_on_and_nobody_begins() {
    let nodes = [node("a"), node("b").silent(), node("c").silent()];
    let breaker = State::default().step(&census(&nodes), Duration::ZERO).breaker();
    let all = [pod("a").slot(0).not_ready(), pod("b").slot(1), pod("c").slot(2)];
    let pods: Vec<&PodView> = all.iter().collect();
    let holder = holder(&all);
    let retiring_one = Standing::Retiring { since: Duration::ZERO, left: true, idle: true };
    let standing = |pod: &PodView| if pod.is_ready() { Standing::Serving } else { retiring_one };
    let plain = input(STRATEGY, 1, "r1", &holder, &pods, None);
    let decision = decide(&Input { nodes: &breaker, standing: &standing, ..plain });
    assert_eq!((retiring(&decision), gone(&decision)), (vec!["uid-a"], vec![]));
}

#[test]
fn who_cannot_serve_goes_before_one_that_retires() {
    let all = [pod("a").slot(0).not_ready(), pod("b").slot(1).not_ready(), pod("c").slot(2)];
    let decision = run_with_primaries(2, "r1", &all, &["a"], false);
    assert_eq!((retiring(&decision), gone(&decision)), (vec![], vec![("b", RemovalReason::ScaledDown)]));
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

/// With nodes `b` and `c` of three lost.
fn run_in_outage(wanted: usize, revision: &str, all: &[PodView], since_create: Option<Duration>) -> Decision {
    let nodes = [node("a"), node("b").silent(), node("c").silent()];
    let breaker = State::default().step(&census(&nodes), Duration::ZERO).breaker();
    let pods: Vec<&PodView> = all.iter().collect();
    let holder = holder(all);
    let plain = input(STRATEGY, wanted, revision, &holder, &pods, None);
    decide(&Input { nodes: &breaker, since_create, ..plain })
}

#[test]
fn while_most_nodes_are_lost_nothing_goes_because_of_their_silence() {
    let pods = [
        pod("here").slot(0).node(Some("a")),
        pod("lost").slot(1).node(Some("b")).not_ready(),
        pod("also").slot(2).node(Some("c")).not_ready(),
    ];
    assert_eq!(gone(&run(1, "r1", &pods)).len(), 2, "one node at a time they go");
    assert_eq!(gone(&run_in_outage(1, "r1", &pods, None)), [], "too many");
    let ready: Vec<PodView> = (3..6).map(|i| pod(&format!("new{i}")).slot(i).revision("r2")).collect();
    let both: Vec<PodView> = pods.iter().cloned().chain(ready).collect();
    assert_eq!(gone(&run(3, "r2", &both)).len(), 3, "the old ones have been taken over from");
    assert_eq!(gone(&run_in_outage(3, "r2", &both, None)), []);
}

#[test]
fn a_pod_that_never_was_ready_goes_all_the_same_where_its_node_says_so() {
    let never = |name: &str, node: &str| PodView { readiness: Readiness::Absent, ..pod(name).node(Some(node)) };
    let broken = [never("here", "a").slot(0), never("lost", "b").slot(1)];
    let decision = run_in_outage(2, "r2", &broken, None);
    assert_eq!(gone(&decision), [("here", RemovalReason::NeverReady)]);
}

#[test]
fn while_most_nodes_are_lost_one_pod_is_made_at_a_time() {
    let decision = run_in_outage(5, "r1", &[pod("here").slot(0)], None);
    assert_eq!((decision.create.len(), decision.held), (1, 3));
    assert_eq!(decision.wake, Some(Duration::from_secs(20)));
    let soon = run_in_outage(5, "r1", &[pod("here").slot(0)], Some(Duration::from_secs(5)));
    assert_eq!((soon.create.len(), soon.held, soon.wake), (0, 4, Some(Duration::from_secs(15))));
    assert_eq!(run_in_outage(1, "r1", &[pod("here").slot(0)], None), Decision::default(), "nothing is missing");
}

prop_compose! {
    fn any_strategy()(surge in 0usize..4, unavailable in 0usize..4, complete in any::<bool>()) -> Strategy {
        use PodReplacementPolicy::{TerminationComplete, TerminationStarted};
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        Strategy { surge, unavailable, replacement: if complete { TerminationComplete } else { TerminationStarted }, ..STRATEGY }
    }
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
        pods in (0u32..8).prop_flat_map(|n| (0..n).map(any_pod).collect::<Vec<_>>()), wanted in 0usize..8, strategy in any_strategy(),
    ) {
        let decision = run_with(strategy, wanted, "r2", &pods, None);
        let active = pods.iter().filter(|pod| pod.is_active()).count();
        let gone = |pod: &PodView| decision.delete.iter().any(|removal| removal.uid == pod.uid);
        let after = pods.iter().filter(|pod| pod.is_active() && !gone(pod)).count() + decision.create.len();
        prop_assert!(after <= wanted + strategy.surge || decision.create.is_empty() && after <= active);
        let ready_before = pods.iter().filter(|pod| pod.is_active() && pod.is_ready()).count();
        let ready_after = pods.iter().filter(|pod| pod.is_active() && pod.is_ready() && !gone(pod)).count();
        prop_assert!(ready_after >= ready_before.min(wanted.saturating_sub(strategy.unavailable)));
        let unique: BTreeSet<&str> = decision.delete.iter().map(|removal| &*removal.uid).collect();
        prop_assert_eq!(unique.len(), decision.delete.len());
        prop_assert!(!decision.delete.iter().any(|removal| pods.iter().any(|pod| pod.uid == removal.uid && pod.deleting)));
    }

    #[test]
    fn who_retires_is_too_many_and_enough_others_serve(
        pods in (0u32..8).prop_flat_map(|n| (0..n).map(any_pod).collect::<Vec<_>>()), wanted in 0usize..8, before in 0usize..8,
    ) {
        let told: Vec<&str> = pods.iter().take(before).filter(|pod| !pod.is_ready()).map(|pod| pod.name.as_str()).collect();
        let decision = run_with_primaries(wanted, "r2", &pods, &told, false);
        let stays = |pod: &&PodView| pod.is_active() && !decision.delete.iter().any(|removal| removal.uid == pod.uid);
        let retires = |pod: &PodView| decision.retire.contains(&pod.uid);
        prop_assert!(decision.retire.iter().all(|uid| pods.iter().any(|pod| pod.is_active() && pod.uid == *uid)));
        let serving = pods.iter().filter(stays).filter(|pod| !retires(pod)).count();
        let begins = pods.iter().filter(stays).any(retires);
        prop_assert!(!begins || serving >= wanted);
        let ready = |pod: &&PodView| pod.is_active() && pod.is_ready();
        let left = pods.iter().filter(stays).filter(ready).filter(|pod| !retires(pod)).count();
        prop_assert!(left >= pods.iter().filter(ready).count().min(wanted));
    }

    #[test]
    fn applying_decisions_ends_with_the_wanted_pods_of_the_current_revision(
        pods in (0u32..6).prop_flat_map(|n| (0..n).map(any_pod).collect::<Vec<_>>()), wanted in 0usize..6, strategy in any_strategy(),
    ) {
        let mut pods = pods;
        for _ in 0..40 {
            let decision = run_with(strategy, wanted, "r2", &pods, None);
            pods.retain(|pod| !decision.delete.iter().any(|removal| removal.uid == pod.uid));
            pods.retain(|pod| !pod.deleting);
            pods.extend(decision.create.iter().map(|new| pod(&new.name).slot(new.slot).revision("r2")));
            // a running pod becomes ready in the end
            pods = pods.into_iter().map(|pod| if pod.is_active() { pod.phase(Phase::Running).ready_since(5) } else { pod }).collect();
        }
        let current = pods.iter().filter(|pod| pod.is_active()).collect::<Vec<_>>();
        prop_assert_eq!(current.len(), wanted);
        prop_assert!(current.iter().all(|pod| pod.revision.as_deref() == Some("r2")));
        prop_assert_eq!(run_with(strategy, wanted, "r2", &pods, None).create, Vec::<NewPod>::new());
    }
}
