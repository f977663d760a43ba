//! How long things took, in buckets that never grow in number.

use std::time::Duration;

/// The upper ends of the buckets, in milliseconds; one more is for what took longer.
pub const BOUNDS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub fn add(&mut self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took <= Duration::from_millis(*bound)).unwrap_or(BOUNDS.len());
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.sum = self.sum.saturating_add(took);
    }

    /// In each bucket alone.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 3, 60_000] {
            histogram.add(Duration::from_millis(milliseconds));
        }
        assert_eq!(histogram.counts()[..3], [2, 1, 1]);
        assert_eq!((histogram.counts()[BOUNDS.len()], histogram.sum()), (1, Duration::from_millis(60_006)));
    }
}
