//! What was recommended and changed before, as far back as the windows look. Times are from the monotonic clock of
//! [`Now::elapsed`](super::Now::elapsed).

use std::{collections::VecDeque, time::Duration};

use super::{input::Policy, requests::STABLE};

/// A pause between two decisions beyond which nobody knows what would have been asked for in between: a lease lost, a machine
/// suspended. A few of the longest ticks.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// Recommendations and changes of one WorkerCluster.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Recommendations whose maximum from any time until now can still matter: times rise, numbers fall.
    recommended: VecDeque<(Duration, i32)>,
    /// Changes of the wanted number that were seen: time and difference.
    changes: VecDeque<(Duration, i32)>,
    demands: Demands,
    last: Last,
}

/// Requests at a time, as they were seen, no further back than the longest window looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Demands(VecDeque<(Duration, f64)>);

/// The last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    elapsed: Duration,
    /// The number that was wanted before it.
    current: i32,
    /// The number that it decided.
    desired: i32,
}

// === impl History ===

impl History {
    /// A history that knows nothing but that `current` replicas are wanted now: of a WorkerCluster seen for the first time, and of one
    /// whose `status.autoscaling.desiredReplicas` was read back after a restart of the operator. It counts `current` as recommended
    /// now, so that nothing scales down until the window has passed.
    #[must_use]
    pub fn starting_at(current: i32, elapsed: Duration) -> Self {
        Self {
            recommended: VecDeque::from([(elapsed, current)]),
            changes: VecDeque::new(),
            demands: Demands::default(),
            last: Last { elapsed, current, desired: current },
        }
    }

    /// Takes note of the number that is wanted now. After a pause, or where somebody else changed it, what was recommended before
    /// says nothing about it.
    pub(super) fn note_current(&mut self, current: i32, elapsed: Duration, policy: &Policy) {
        let Last { elapsed: before, current: was, desired } = self.last;
        let foreign = current != was && current != desired;
        if elapsed.saturating_sub(before) > LONGEST_GAP {
            self.demands = Demands::default();
        }
        if foreign || elapsed.saturating_sub(before) > LONGEST_GAP {
            self.note_unknown(current, elapsed, policy);
        }
        if current != was {
            self.changes.push_back((elapsed, current.saturating_sub(was)));
        }
        while self.changes.front().is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= policy.down_period) {
            self.changes.pop_front();
        }
        self.last = Last { elapsed, current, desired: current };
    }

    /// Takes note of what was decided, whether or not it will be carried out.
    pub(super) fn note_desired(&mut self, desired: i32) {
        self.last.desired = desired;
    }

    /// Takes note of a recommendation.
    pub(super) fn note_recommendation(&mut self, replicas: i32, elapsed: Duration, policy: &Policy) {
        while self.recommended.back().is_some_and(|(_, before)| *before <= replicas) {
            self.recommended.pop_back();
        }
        self.recommended.push_back((elapsed, replicas));
        // An entry exactly as old as the window does not count any more, as with a HorizontalPodAutoscaler's `behavior`.
        while self.recommended.len() > 1
            && self.recommended.front().is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= policy.down_window)
        {
            self.recommended.pop_front();
        }
    }

    /// Takes note of the requests that all replicas have.
    pub(super) fn note_demand(&mut self, requests: f64, elapsed: Duration) {
        let demands = &mut self.demands.0;
        demands.push_back((elapsed, requests));
        // One more than the window holds: what was seen before its beginning holds until the next was seen.
        while demands.get(1).is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= STABLE) {
            demands.pop_front();
        }
    }

    /// Takes note that nobody knows them: for a while what was seen last holds, and then nothing is known of before.
    pub(super) fn note_no_demand(&mut self, elapsed: Duration) {
        let last = self.demands.0.back().map(|(at, _)| *at);
        if last.is_some_and(|at| elapsed.saturating_sub(at) > LONGEST_GAP) {
            self.demands = Demands::default();
        }
    }

    pub(super) fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Takes note that nobody knows what is needed: as if the present number were.
    pub(super) fn note_unknown(&mut self, current: i32, elapsed: Duration, policy: &Policy) {
        self.note_recommendation(current, elapsed, policy);
    }

    /// The highest recommendation within the window.
    pub(super) fn highest(&self, elapsed: Duration, policy: &Policy) -> Option<i32> {
        self.within(elapsed, policy.down_window).map(|(_, replicas)| replicas).next()
    }

    /// Time until the window asks for fewer than `current`, if the metrics go on to.
    pub(super) fn held_for(&self, current: i32, elapsed: Duration, policy: &Policy) -> Option<Duration> {
        let (at, _) =
            self.within(elapsed, policy.down_window).take_while(|(_, replicas)| *replicas >= current).last()?;
        Some(at.saturating_add(policy.down_window).saturating_sub(elapsed))
    }

    /// Sum of the changes within the period of the rate: more wanted is positive.
    pub(super) fn changed(&self, elapsed: Duration, policy: &Policy) -> i64 {
        let within = self.changes.iter().filter(|(at, _)| elapsed.saturating_sub(*at) < policy.down_period);
        within.map(|(_, change)| i64::from(*change)).sum()
    }

    fn within(&self, elapsed: Duration, window: Duration) -> impl Iterator<Item = (Duration, i32)> {
        self.recommended.iter().copied().filter(move |(at, _)| elapsed.saturating_sub(*at) < window)
    }
}

// === impl Demands ===

impl Demands {
    /// Whether something was seen so long ago. A mean over less time would be one of a moment.
    pub(super) fn reaches_back(&self, now: Duration, window: Duration) -> bool {
        self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= window)
    }

    /// The mean over a time until now, each figure for as long as it was the last one. `None` where nothing was seen.
    pub(super) fn mean(&self, now: Duration, window: Duration) -> Option<f64> {
        let from = now.saturating_sub(window);
        let last = self.0.back()?.1;
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([now]);
        let mut sum = 0.0;
        let mut length = Duration::ZERO;
        for ((at, requests), end) in self.0.iter().zip(ends) {
            let held = end.saturating_sub((*at).max(from));
            sum += requests * held.as_secs_f64();
            length += held;
        }
        Some(if length.is_zero() { last } else { sum / length.as_secs_f64() })
    }
}
