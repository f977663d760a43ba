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
pub(super) struct Demands {
    seen: VecDeque<Seen>,
    /// When it was last looked, whether or not anything was known.
    looked: Option<Duration>,
    /// When the short window last counted alone.
    surged: Option<Duration>,
}

/// So many requests there were at a time in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    until: Duration,
    covers: Duration,
    requests: f64,
}

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

    /// Takes note of the requests that all replicas had at a time since the last note. Replicas tell a mean since they told before, which is as long ago
    /// as there are many of them; beyond the age at which what they told counts as missing it speaks of nothing.
    pub(super) fn note_demand(&mut self, requests: f64, elapsed: Duration, policy: &Policy) {
        let since = self.demands.looked.replace(elapsed).unwrap_or(elapsed);
        let demands = &mut self.demands.seen;
        let covers = elapsed.saturating_sub(since).min(policy.sample_max_age);
        let seen = Seen { until: elapsed, covers, requests };
        demands.push_back(seen);
        while demands.front().is_some_and(|oldest| elapsed.saturating_sub(oldest.until) >= STABLE) {
            demands.pop_front();
        }
    }

    /// Takes note that nobody knows them: for a while what was seen last holds, and then nothing is known of before.
    pub(super) fn note_no_demand(&mut self, elapsed: Duration) {
        let last = self.demands.seen.back().map(|last| last.until);
        if last.is_some_and(|at| elapsed.saturating_sub(at) > LONGEST_GAP) {
            self.demands = Demands::default();
        }
        self.demands.looked = Some(elapsed);
    }

    /// Takes note that the short window counts alone.
    pub(super) fn note_surge(&mut self, elapsed: Duration) {
        self.demands.surged = Some(elapsed);
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
    /// Whether the short window counted alone within this time.
    pub(super) fn surged_within(&self, now: Duration, window: Duration) -> bool {
        self.surged.is_some_and(|at| now.saturating_sub(at) < window)
    }

    /// The mean over a time until now, of as much of it as something is known of, and how much that is. `None` where nothing was seen.
    pub(super) fn mean(&self, now: Duration, window: Duration) -> Option<(f64, Duration)> {
        let from = now.saturating_sub(window);
        let (mut sum, mut known) = (0.0, Duration::ZERO);
        for seen in &self.seen {
            let begun = seen.until.saturating_sub(seen.covers).max(from);
            let within = seen.until.saturating_sub(begun);
            sum += seen.requests * within.as_secs_f64();
            known += within;
        }
        let last = self.seen.back()?.requests;
        Some((if known.is_zero() { last } else { sum / known.as_secs_f64() }, known))
    }
}
