//! The breaker: while more than half of the nodes are lost, it is more likely that we cannot see them than that they all died, and
//! nothing is taken away on the strength of their silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use crate::view::{
    PodView,
    nodes::{Health, NodeView},
};

/// The nodes, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Nodes that count, by health.
    pub ready: usize,
    pub not_ready: usize,
    pub unknown: usize,
    /// Nodes that do not: cordoned, set apart, or not joined yet.
    pub uncounted: usize,
    /// Those that count and do not answer: zone by name.
    lost: BTreeMap<String, Option<String>>,
    /// All that do not answer, whether they count or not.
    silent: BTreeSet<String>,
}

/// What one decision about pods reads of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    silent: BTreeSet<String>,
    outage: Option<Outage>,
}

/// Most nodes are lost, or were a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    lost: BTreeMap<String, Option<String>>,
    of: usize,
}

/// The breaker between two looks at the nodes.
#[derive(Clone, Debug, Default)]
pub struct State {
    silent: BTreeSet<String>,
    outage: Option<Outage>,
    /// Since when enough nodes answer again.
    calm_since: Option<Duration>,
}

/// How many pods may be created now, and when one more may be at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub pods: usize,
    pub again: Option<Duration>,
}

/// The breaker stays open for so long after enough nodes are back. A node is ready before its pods are: the kubelet puts right what the
/// node controller wrote of them (not ready) within its 10 s of syncing; three times that, so that no pod that serves is ranked away.
pub const CALM: Duration = Duration::from_secs(30);
/// Time between two creates of one WorkerCluster while the breaker is open: three a minute. A WorkerCluster of three that has lost two is
/// whole again within that minute; one of a hundred does not bury the nodes that are left under all it had on the others, which may come
/// back with their pods still running.
pub const BETWEEN_CREATES: Duration = Duration::from_secs(20);
/// Names of nodes in a message, at the most.
const NAMED: usize = 3;

/// Counts the nodes.
pub fn census<'a>(nodes: impl IntoIterator<Item = &'a NodeView>) -> Census {
    let mut census = Census::default();
    for node in nodes {
        if node.health != Health::Ready {
            census.silent.insert(node.name.clone());
        }
        if node.cordoned || node.set_apart || node.is_joining() {
            census.uncounted += 1;
            continue;
        }
        match node.health {
            Health::Ready => census.ready += 1,
            Health::NotReady => census.not_ready += 1,
            Health::Unknown => census.unknown += 1,
        }
        if node.health != Health::Ready {
            census.lost.insert(node.name.clone(), node.zone.clone());
        }
    }
    census
}

// === impl Census ===

impl Census {
    fn outage(&self) -> Option<Outage> {
        let of = self.ready + self.lost.len();
        (self.lost.len() * 2 > of).then(|| Outage { lost: self.lost.clone(), of })
    }
}

// === impl State ===

impl State {
    /// After a look at the nodes at `now` (monotonic): opens at once, closes after [`CALM`].
    #[must_use]
    pub fn step(self, census: &Census, now: Duration) -> Self {
        let silent = census.silent.clone();
        match (census.outage(), self.outage) {
            (Some(outage), _) => Self { silent, outage: Some(outage), calm_since: None },
            (None, Some(last)) => {
                let since = self.calm_since.unwrap_or(now);
                let over = now.saturating_sub(since) >= CALM;
                Self { silent, outage: (!over).then_some(last), calm_since: (!over).then_some(since) }
            }
            (None, None) => Self { silent, outage: None, calm_since: None },
        }
    }

    /// When to step again, though no node changes.
    pub fn due(&self) -> Option<Duration> {
        self.calm_since.map(|since| since + CALM)
    }

    pub fn is_open(&self) -> bool {
        self.outage.is_some()
    }

    /// What decisions read of it.
    pub fn breaker(&self) -> Breaker {
        Breaker { silent: self.silent.clone(), outage: self.outage.clone() }
    }
}

// === impl Breaker ===

impl Breaker {
    /// Why it is open; `None` while it is closed.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// Whether a pod is on a node that does not answer.
    fn is_silent(&self, pod: &PodView) -> bool {
        pod.node.as_ref().is_some_and(|node| self.silent.contains(node))
    }

    /// Whether what is said of the pod's readiness is hearsay, on which nothing may rest.
    pub fn hides(&self, pod: &PodView) -> bool {
        self.outage.is_some() && self.is_silent(pod)
    }

    /// How many pods may be created, given how long ago this WorkerCluster's last one was.
    pub fn room(&self, since_last_create: Option<Duration>) -> Room {
        if self.outage.is_none() {
            return Room { pods: usize::MAX, again: None };
        }
        match since_last_create.and_then(|since| BETWEEN_CREATES.checked_sub(since)).filter(|left| !left.is_zero()) {
            None => Room { pods: 1, again: Some(BETWEEN_CREATES) },
            again => Room { pods: 0, again },
        }
    }

    /// The nodes that do not answer with what is on them, in a sentence: what Kubernetes has yet to evict, and what it has, which stays
    /// until the node is back or its object is deleted.
    pub fn silence<'a>(&self, pods: impl IntoIterator<Item = &'a PodView>) -> Option<String> {
        let silent: Vec<&PodView> = pods.into_iter().filter(|pod| self.is_silent(pod) && !pod.is_finished()).collect();
        let nodes: BTreeSet<&str> = silent.iter().filter_map(|pod| pod.node.as_deref()).collect();
        let names = listed(nodes.iter().map(ToString::to_string));
        let (nodes, back) = match nodes.len() {
            0 => return None,
            1 => (format!("node {names} does not answer"), "it is back or its Node is"),
            _ => (format!("nodes {names} do not answer"), "they are back or their Nodes are"),
        };
        let count = |ending: bool| match silent.iter().filter(|pod| pod.deleting == ending).count() {
            0 => None,
            1 => Some("1 pod".to_owned()),
            number => Some(format!("{number} pods")),
        };
        let staying = count(false).map(|pods| format!("{pods} to be evicted by Kubernetes in time (nodeLoss)"));
        let ending = count(true).map(|pods| format!("{pods} ending until {back} deleted"));
        let pods: Vec<String> = staying.into_iter().chain(ending).collect();
        Some(format!("{nodes}, with {}", pods.join(" and ")))
    }
}

// === impl Outage ===

impl fmt::Display for Outage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lost.iter().map(|(name, zone)| match zone {
            Some(zone) => format!("{name} (zone {zone})"),
            None => name.clone(),
        });
        write!(formatter, "{} of {} nodes do not answer: {}", self.lost.len(), self.of, listed(names))
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::{nodes::tests::node, pod::tests::pod};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn after(nodes: &[NodeView]) -> State {
        State::default().step(&census(nodes), seconds(0))
    }

    #[test]
    fn it_opens_when_more_than_half_are_lost_and_not_at_half() {
        let open = |nodes: &[NodeView]| after(nodes).is_open();
        assert!(!open(&[]));
        assert!(!open(&[node("a"), node("b"), node("c").silent()]));
        assert!(!open(&[node("a"), node("b").silent()]));
        assert!(open(&[node("a"), node("b").silent(), node("c").silent()]));
        assert!(open(&[node("a").silent()]));
    }

    #[test]
    fn nodes_that_are_worked_on_or_join_or_stand_apart_do_not_count() {
        let many_new = [node("a"), node("b"), node("c").joining(), node("d").joining(), node("e").joining()];
        assert!(!after(&many_new).is_open());
        let upgraded = [node("a"), node("b").silent().cordoned(), node("c").silent().cordoned()];
        assert!(!after(&upgraded).is_open());
        let planes = [node("p").set_apart(), node("q").set_apart(), node("a").silent(), node("b").silent()];
        assert!(after(&planes).is_open(), "control planes that answer do not hide that all others are lost");
    }

    #[test]
    fn it_closes_only_when_the_pods_of_nodes_that_are_back_have_had_time_to_say_so() {
        let lost = [node("a"), node("b").silent(), node("c").silent()];
        let back = census(&[node("a"), node("b"), node("c")]);
        let state = after(&lost).step(&back, seconds(100));
        assert_eq!((state.is_open(), state.due()), (true, Some(seconds(130))));
        assert!(state.clone().step(&back, seconds(129)).is_open());
        let again = state.clone().step(&census(&lost), seconds(110));
        assert_eq!(again.due(), None, "lost again: the time begins anew when they are back");
        let closed = state.step(&back, seconds(130));
        assert_eq!((closed.is_open(), closed.due()), (false, None));
    }

    #[test]
    fn while_it_is_open_what_is_said_of_pods_on_silent_nodes_is_hearsay() {
        let (here, there) = (pod("x").node(Some("a")), pod("y").node(Some("b")));
        let open = after(&[node("a"), node("b").silent(), node("c").silent()]).breaker();
        assert_eq!((open.hides(&here), open.hides(&there)), (false, true));
        let closed = after(&[node("a"), node("b").silent(), node("c")]).breaker();
        assert!(!closed.hides(&there), "one lost node is no reason to doubt");
    }

    #[test]
    fn while_it_is_open_three_pods_a_minute_may_be_created() {
        let breaker = after(&[node("a").silent()]).breaker();
        assert_eq!(breaker.room(None), Room { pods: 1, again: Some(BETWEEN_CREATES) });
        assert_eq!(breaker.room(Some(seconds(5))), Room { pods: 0, again: Some(seconds(15)) });
        assert_eq!(breaker.room(Some(seconds(20))), Room { pods: 1, again: Some(BETWEEN_CREATES) });
        assert_eq!(Breaker::default().room(Some(seconds(0))).pods, usize::MAX);
    }

    #[test]
    fn it_says_which_nodes_are_lost() {
        let breaker = after(&[node("a"), node("c").silent(), node("b").silent().zone("z1")]).breaker();
        assert_eq!(breaker.outage().unwrap().to_string(), "2 of 3 nodes do not answer: b (zone z1), c");
        let many: Vec<NodeView> = (0..9).map(|i| node(&format!("n{i}")).silent()).collect();
        assert_eq!(
            after(&many).breaker().outage().unwrap().to_string(),
            "9 of 9 nodes do not answer: n0, n1, n2 and 6 more"
        );
    }

    #[test]
    fn what_is_on_a_silent_node_is_told_also_while_the_breaker_is_closed() {
        let breaker = after(&[node("a"), node("b"), node("c").silent()]).breaker();
        assert_eq!(breaker.outage(), None);
        let pods = [pod("x").node(Some("c")).deleting(), pod("y").node(Some("a")).deleting(), pod("z").node(Some("c"))];
        assert_eq!(
            breaker.silence(&pods).as_deref(),
            Some(
                "node c does not answer, with 1 pod to be evicted by Kubernetes in time (nodeLoss) and 1 pod ending until it is back or \
                 its Node is deleted"
            )
        );
        assert_eq!(breaker.silence(&pods[1..2]), None);
    }

    prop_compose! {
        fn any_node(index: u32)(kind in 0..5u8) -> NodeView {
            let plain = node(&format!("n{index}"));
            match kind { 0 | 1 => plain, 2 => plain.silent(), 3 => plain.joining(), _ => plain.silent().cordoned() }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_it_is_open_while_most_are_lost_and_closed_in_the_end(
            looks in proptest::collection::vec((0u32..6).prop_flat_map(|n| (0..n).map(any_node).collect::<Vec<_>>()), 1..20)
        ) {
            let mut state = State::default();
            let mut now = Duration::ZERO;
            for nodes in &looks {
                now += seconds(7);
                let census = census(nodes);
                state = state.step(&census, now);
                prop_assert!(state.is_open() || census.outage().is_none());
                prop_assert_eq!(state.due().is_some(), state.is_open() && census.outage().is_none());
            }
            let well = census(&[node("a")]);
            state = state.step(&well, now);
            if let Some(due) = state.due() { state = state.step(&well, due); }
            prop_assert!(!state.is_open());
        }
    }
}
