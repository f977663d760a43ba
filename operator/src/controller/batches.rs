//! How much one pass writes, and how many pods it creates at a time.

use std::time::{Duration, Instant};

use crate::decide::replicas::PASS_WRITES;

/// Most at a time: each has a connection of its own. More than an API server does at once only wait there, and each new connection costs both
/// sides more than a pod.
pub const AT_A_TIME: usize = 64;
/// Most deletes at a time: with creates beside them, what one client should have under way.
pub const DELETES_AT_A_TIME: usize = 32;
/// A batch ends when its slowest has: the fewer there are, the less is waited for.
const LARGEST: usize = PASS_WRITES;
/// A pass writes for so long. What is left is for the next, at once, which looks first: a spec that was put right meanwhile waits no longer.
/// A second more than a thousand WorkerClusters that begin together need for ten pods each under the limit of 200 writes a second.
const PASS: Duration = Duration::from_secs(2);

/// One pass: how long it has lasted, and how much it has written (at most [`PASS_WRITES`], on a machine that writes faster than that in its time).
#[derive(Debug)]
pub struct Pass {
    begun: Instant,
    writes: usize,
}

/// The batches of creates: 1, 2, 4, … at a time, so that a quota that is used up costs one call and not five hundred.
#[derive(Debug)]
pub struct Batches {
    size: usize,
}

impl Pass {
    pub fn begin(now: Instant) -> Self {
        Self { begun: now, writes: 0 }
    }

    pub fn wrote(&mut self, writes: usize) {
        self.writes += writes;
    }

    /// How much more it may write: nothing when it has lasted long enough.
    pub fn left(&self, now: Instant) -> usize {
        if now.saturating_duration_since(self.begun) >= PASS { 0 } else { PASS_WRITES.saturating_sub(self.writes) }
    }
}

impl Batches {
    /// Begins; where the pass before was only cut off, with the size that it had come to.
    pub fn begin(came_to: Option<usize>) -> Self {
        Self { size: came_to.unwrap_or(1) }
    }

    /// How many are next.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All of a batch were created.
    pub fn went_well(&mut self) {
        self.size = (self.size * 2).min(LARGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double_up_to_a_limit_and_are_taken_up_again() {
        let mut batches = Batches::begin(None);
        let mut sizes = Vec::new();
        for _ in 0..9 {
            sizes.push(batches.size());
            batches.went_well();
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 96, 96]);
        assert_eq!(Batches::begin(Some(16)).size(), 16);
    }

    #[test]
    fn a_pass_is_over_after_a_time_or_a_number_of_writes() {
        let now = Instant::now();
        let mut pass = Pass::begin(now);
        pass.wrote(PASS_WRITES - 1);
        assert_eq!([pass.left(now + PASS / 2), pass.left(now + PASS)], [1, 0]);
        pass.wrote(1);
        assert_eq!(pass.left(now), 0);
    }
}
