//! How many pods are created at a time, and for how long in one pass.

use std::time::{Duration, Instant};

/// Most at a time: each has a connection of its own. More than an API server does at once only wait there, and each new connection costs both
/// sides more than a pod.
const LARGEST: usize = 64;
/// A pass writes for so long. What is left is for the next, at once, which looks first: a spec that was put right meanwhile waits no longer.
/// A second more than a thousand WorkerClusters that begin together need for ten pods each under the limit of 200 writes a second.
const PASS: Duration = Duration::from_secs(2);

/// The batches of one pass: 1, 2, 4, … at a time, so that a quota that is used up costs one call and not five hundred.
#[derive(Debug)]
pub struct Batches {
    size: usize,
    begun: Instant,
}

impl Batches {
    /// Begins a pass; where the one before was only cut off, with the size that it had come to.
    pub fn begin(came_to: Option<usize>, now: Instant) -> Self {
        Self { size: came_to.unwrap_or(1), begun: now }
    }

    /// How many are next.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All of a batch were created.
    pub fn went_well(&mut self) {
        self.size = (self.size * 2).min(LARGEST);
    }

    /// Whether the pass has lasted long enough.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= PASS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double_up_to_a_limit_and_a_pass_that_was_cut_off_is_taken_up_again() {
        let now = Instant::now();
        let mut batches = Batches::begin(None, now);
        let mut sizes = Vec::new();
        for _ in 0..8 {
            sizes.push(batches.size());
            batches.went_well();
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 64]);
        assert!(!batches.is_over(now + PASS / 2) && batches.is_over(now + PASS));
        assert_eq!(Batches::begin(Some(16), now).size(), 16);
    }
}
