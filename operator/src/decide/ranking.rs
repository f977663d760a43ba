//! Which pod goes first: a total order over the pods of one WorkerCluster.

use std::cmp::Ordering;

use k8s_openapi::jiff::Timestamp;

use super::load::Load;
use crate::view::{Phase, PodView, Readiness};

/// What the order reads beside the pod itself.
pub struct Ranked<'a> {
    pub pod: &'a PodView,
    /// Ready for long enough.
    pub available: bool,
    /// Of a revision that is not the current one.
    pub outdated: bool,
    /// What was done so that it goes.
    pub going: Going,
    /// How much work it holds.
    pub load: Load,
    /// Pods of the same WorkerCluster on the same node.
    pub together: usize,
}

/// What was done so that a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// Nothing.
    No,
    /// Told to serve out, and else in service: it can be called back.
    Retiring,
    /// It was called back, and is not ready again yet.
    Back,
    /// Its deletion was asked for, and had no answer.
    Asked,
}

/// Compares two pods: `Less` goes first. A ReplicaSet's order (kubernetes `ActivePodsWithRanks`) with ranks added: whose deletion may still
/// arrive (any other would go beside it), what a user asks to go first, not available, retiring already, old revision, idle before busy, and, of
/// equal cost, who holds fewer requests. Who retires, or comes back, is not ready by our own word, so it ranks as what it would be without: one that
/// cannot serve goes before it, and whoever was called back is not the next to go.
pub fn order(a: &Ranked<'_>, b: &Ranked<'_>, now: Timestamp) -> Ordering {
    let key = |ranked: &Ranked<'_>| {
        let pod = ranked.pod;
        let by_our_word = matches!(ranked.going, Going::Retiring | Going::Back);
        (
            ranked.going != Going::Asked,
            !pod.delete_first,
            pod.node.is_some(),
            match pod.phase {
                Phase::Pending => 0,
                Phase::Unknown => 1,
                _ => 2,
            },
            pod.is_ready() || by_our_word,
            ranked.available || by_our_word,
            ranked.going != Going::Retiring,
            !ranked.outdated,
            !ranked.load.is_idle(),
            pod.deletion_cost,
            ranked.load.weight(),
            std::cmp::Reverse(ranked.together),
        )
    };
    key(a)
        .cmp(&key(b))
        // ready for less time goes first, in buckets of powers of two, so that no fixed order hits the same pods
        .then_with(|| ready_bucket(a.pod, now).cmp(&ready_bucket(b.pod, now)))
        .then_with(|| b.pod.restarts.cmp(&a.pod.restarts))
        // newer goes first, in the same buckets
        .then_with(|| bucket(age(a.pod.created, now)).cmp(&bucket(age(b.pod.created, now))))
        .then_with(|| a.pod.uid.cmp(&b.pod.uid))
}

/// The pods in the order in which they go.
pub fn rank(mut pods: Vec<Ranked<'_>>, now: Timestamp) -> Vec<&PodView> {
    pods.sort_by(|a, b| order(a, b, now));
    pods.into_iter().map(|ranked| ranked.pod).collect()
}

fn ready_bucket(pod: &PodView, now: Timestamp) -> Option<u32> {
    match pod.readiness {
        Readiness::Ready(since) => Some(bucket(age(Some(since), now))),
        _ => None,
    }
}

fn age(since: Option<Timestamp>, now: Timestamp) -> u64 {
    since.map_or(0, |since| u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0))
}

/// floor(log2(seconds)), 0 for less than two seconds.
fn bucket(seconds: u64) -> u32 {
    seconds.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::pod::tests::pod;

    fn ranked(pod: &PodView) -> Ranked<'_> {
        Ranked { pod, available: true, outdated: false, going: Going::No, load: Load::Idle, together: 1 }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    #[test]
    fn each_rank_decides_over_all_that_follow_it() {
        let plain = pod("plain");
        let better: [(&str, PodView, PodView); 6] = [
            ("unassigned goes before pending on a node", plain.clone().node(None), plain.clone().phase(Phase::Pending)),
            ("pending before unknown", plain.clone().phase(Phase::Pending), plain.clone().phase(Phase::Unknown)),
            ("unknown before running", plain.clone().phase(Phase::Unknown), plain.clone()),
            ("not ready before ready", plain.clone().not_ready(), plain.clone()),
            ("cheaper before dearer", PodView { deletion_cost: -1, ..plain.clone() }, plain.clone()),
            (
                "ready for less time before longer",
                plain.clone().ready_since(999_990),
                plain.clone().ready_since(900_000),
            ),
        ];
        for (why, first, second) in &better {
            assert_eq!(order(&ranked(first), &ranked(second), now()), Ordering::Less, "{why}");
        }
    }

    #[test]
    fn whose_deletion_may_still_arrive_goes_before_all_others() {
        let (a, b) = (pod("a"), PodView { delete_first: true, ..pod("b").not_ready() });
        let asked = Ranked { going: Going::Asked, load: Load::Unknown, ..ranked(&a) };
        assert_eq!(order(&asked, &ranked(&b), now()), Ordering::Less);
    }

    #[test]
    fn idle_goes_before_busy_and_unknown_counts_as_busy() {
        let (a, b) = (pod("a"), pod("b"));
        let idle = Ranked { load: Load::Idle, ..ranked(&b) };
        let unknown = Ranked { load: Load::Unknown, ..ranked(&a) };
        assert_eq!(order(&idle, &unknown, now()), Ordering::Less);
    }

    #[test]
    fn who_holds_fewest_requests_goes_first_however_many_are_on_its_node() {
        let (a, b, c) = (pod("a"), pod("b"), pod("c"));
        let few = Ranked { load: Load::Requests(3), ..ranked(&b) };
        let many = Ranked { load: Load::Requests(4), together: 9, ..ranked(&a) };
        let unknown = Ranked { load: Load::Unknown, ..ranked(&c) };
        let names = |order: Vec<&PodView>| order.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(rank(vec![unknown, many, few], now())), ["b", "a", "c"]);
    }

    #[test]
    fn a_cost_that_a_user_has_set_decides_over_numbers_of_requests_and_not_over_idleness() {
        let (cheap, dear) = (PodView { deletion_cost: -1, ..pod("a") }, pod("b"));
        let busy = |pod, held| Ranked { load: Load::Requests(held), ..ranked(pod) };
        assert_eq!(order(&busy(&cheap, 9), &busy(&dear, 1), now()), Ordering::Less);
        assert_eq!(order(&ranked(&dear), &busy(&cheap, 1), now()), Ordering::Less);
    }

    #[test]
    fn not_available_goes_before_an_old_revision_and_what_is_asked_for_before_all() {
        let (a, b) = (pod("a"), pod("b"));
        let young = Ranked { available: false, ..ranked(&b) };
        let old = Ranked { outdated: true, ..ranked(&a) };
        assert_eq!(order(&young, &old, now()), Ordering::Less);
        let asked = PodView { delete_first: true, ..pod("c") };
        let unassigned = pod("d").node(None);
        assert_eq!(order(&ranked(&asked), &ranked(&unassigned), now()), Ordering::Less);
    }

    #[test]
    fn who_retires_goes_before_who_serves_and_after_who_cannot() {
        let (a, b, c) = (pod("a").not_ready(), pod("b"), pod("c").not_ready());
        let back = Ranked { available: false, going: Going::Back, load: Load::Connections, ..ranked(&a) };
        assert_eq!(
            order(&ranked(&PodView { restarts: 9, ..pod("idle") }), &back, now()),
            Ordering::Less,
            "it is as busy as it was"
        );
        let retiring = Ranked { available: false, going: Going::Retiring, load: Load::Connections, ..ranked(&a) };
        let old = Ranked { outdated: true, ..ranked(&b) };
        let broken = Ranked { available: false, ..ranked(&c) };
        assert_eq!(order(&retiring, &old, now()), Ordering::Less);
        assert_eq!(order(&broken, &retiring, now()), Ordering::Less);
    }

    #[test]
    fn an_old_revision_goes_before_an_idle_new_one() {
        let (a, b) = (pod("a"), pod("b"));
        let old_busy = Ranked { outdated: true, load: Load::Connections, ..ranked(&b) };
        assert_eq!(order(&old_busy, &ranked(&a), now()), Ordering::Less);
    }

    prop_compose! {
        fn any_pod()(uid in "[a-d]{1,2}", node in any::<bool>(), phase in 0..3u8, ready in any::<bool>(), since in 0i64..1_000_000,
                     cost in -2i64..3, restarts in 0..3i32, first in any::<bool>(), available in any::<bool>(), outdated in any::<bool>(), going in 0usize..4, load in 0u64..5, together in 0usize..3)
                     -> (PodView, bool, bool, Going, Load, usize) {
            let phase = [Phase::Pending, Phase::Unknown, Phase::Running][usize::from(phase)];
            let mut pod = pod(&uid).node(node.then_some("n")).phase(phase);
            if ready { pod = pod.ready_since(since); }
            let load = match load { 0 => Load::Idle, 1 => Load::Connections, 2 => Load::Unknown, held => Load::Requests(held) };
            (PodView { deletion_cost: cost, restarts, delete_first: first, ..pod }, available, outdated, [Going::No, Going::Retiring, Going::Back, Going::Asked][going], load, together)
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_transitive(pods in proptest::collection::vec(any_pod(), 3)) {
            let of = |i: usize| { let (pod, available, outdated, going, load, together) = &pods[i]; Ranked { pod, available: *available, outdated: *outdated, going: *going, load: *load, together: *together } };
            let cmp = |a: usize, b: usize| order(&of(a), &of(b), now());
            for (a, b, c) in [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1)] {
                prop_assert_eq!(cmp(a, b), cmp(b, a).reverse());
                if cmp(a, b) != Ordering::Greater && cmp(b, c) != Ordering::Greater {
                    prop_assert_ne!(cmp(a, c), Ordering::Greater);
                }
            }
        }
    }
}
