//! How long to wait before the next pod after pods failed or were rejected: 1 s, doubled up to 15 min.
//!
//! A ReplicaSet has no such delay and replaces a pod that a kubelet rejects thirty times a second (kubernetes#72593).

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::view::PodView;

/// The first delay.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What is remembered of the failures of one WorkerCluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The revision whose failures these are.
    revision: String,
    failures: u32,
    until: Option<Instant>,
    /// Failed pods that have been counted.
    counted: BTreeSet<Arc<str>>,
}

// === impl Backoff ===

impl Backoff {
    /// The failures of another revision say nothing about this one: a template that was put right is tried at once.
    #[must_use]
    pub fn of(self, revision: &str) -> Self {
        if self.revision == revision {
            return self;
        }
        Self { revision: revision.to_owned(), counted: self.counted, ..Self::default() }
    }

    /// Counts the failed pods that are new, except those that the cluster itself took away. All replicas ready ends the penalty.
    #[must_use]
    pub fn observe(mut self, pods: &[&PodView], all_ready: bool, now: Instant) -> Self {
        let failed = |pod: &&&PodView| pod.is_finished() && !pod.deleting;
        let fresh = pods.iter().filter(failed).filter(|pod| !pod.disrupted && !self.counted.contains(&pod.uid)).count();
        self.counted = pods.iter().filter(|pod| pod.is_finished()).map(|pod| pod.uid.clone()).collect();
        if fresh > 0 {
            self = self.fail(now);
        } else if all_ready && self.until.is_none_or(|until| now >= until) {
            self.failures = 0;
            self.until = None;
        }
        self
    }

    /// A pod failed, or a create was rejected: the next waits twice as long.
    #[must_use]
    pub fn fail(mut self, now: Instant) -> Self {
        // Failures that come together are one: while a delay runs nothing is created that could fail anew.
        if self.until.is_some_and(|until| now < until) {
            return self;
        }
        let delay = FIRST.saturating_mul(2u32.saturating_pow(self.failures.min(20))).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + delay);
        self
    }

    /// How long no pod may be created yet.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Phase, pod::tests::pod};

    #[test]
    fn delays_double_up_to_fifteen_minutes() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..12 {
            backoff = backoff.fail(now);
            let left = backoff.remaining(now).unwrap();
            delays.push(left.as_secs());
            now += left;
            assert_eq!(backoff.remaining(now), None);
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn a_failed_pod_counts_once() {
        let now = Instant::now();
        let failed = pod("a").phase(Phase::Failed);
        let backoff = Backoff::default().observe(&[&failed], false, now);
        assert_eq!(backoff.remaining(now), Some(FIRST));
        let later = now + FIRST;
        assert_eq!(backoff.observe(&[&failed], false, later).remaining(later), None);
    }

    #[test]
    fn a_pod_that_the_cluster_took_away_is_no_failure() {
        let now = Instant::now();
        let evicted = PodView { disrupted: true, ..pod("a").phase(Phase::Failed) };
        assert_eq!(Backoff::default().observe(&[&evicted], false, now).remaining(now), None);
    }

    #[test]
    fn another_revision_begins_without_penalty_and_does_not_count_the_failed_pods_again() {
        let now = Instant::now();
        let failed = pod("a").phase(Phase::Failed);
        let backoff = Backoff::default().of("r1").observe(&[&failed], false, now);
        assert_eq!(backoff.clone().of("r1").remaining(now), Some(FIRST));
        assert_eq!(backoff.of("r2").observe(&[&failed], false, now).remaining(now), None);
    }

    #[test]
    fn the_penalty_ends_when_all_replicas_are_ready() {
        let now = Instant::now();
        let backoff = Backoff::default().fail(now).fail(now + FIRST);
        let later = now + Duration::from_secs(10);
        let ready = pod("a");
        let backoff = backoff.observe(&[&ready], true, later).fail(later);
        assert_eq!(backoff.remaining(later), Some(FIRST));
    }
}
