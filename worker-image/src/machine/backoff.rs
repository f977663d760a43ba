//! How long a slot waits before its next fork after deaths that came too early.

use std::time::Duration;

/// Growth of the wait from one early death to the next, as in PM2.
const GROWTH: f64 = 1.5;

/// Jitter takes away at most this share of a wait, so that many replicas that failed together do not retry together,
/// and the maximum stays a maximum.
const JITTER: f64 = 0.2;

/// Waits between forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first early death.
    pub initial: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// A worker that lived this long makes earlier deaths forgotten.
    pub reset_after: Duration,
}

impl Default for Backoff {
    /// PM2's figures: 100 ms, growing to 15 s, from the start again after 30 s.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { initial: second / 10, max: 15 * second, reset_after: 30 * second }
    }
}

impl Backoff {
    /// The wait after `failures` early deaths in a row; `jitter` is from 0 to 1.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(128);
        let grown = self.initial.as_secs_f64() * GROWTH.powi(exponent);
        let bounded = grown.min(self.max.as_secs_f64());
        Duration::from_secs_f64(bounded * (1.0 - JITTER * jitter.clamp(0.0, 1.0)))
    }
}

/// A small generator (splitmix64) whose seed is an input: the same seed gives the same waits.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number from 0 to 1.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let top = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
        f64::from(top) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Backoff = Backoff {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(15),
        reset_after: Duration::from_secs(30),
    };

    #[test]
    fn waits_grow_by_half_up_to_the_maximum() {
        for (failures, milliseconds) in
            [(1, 100), (2, 150), (3, 225), (5, 506), (13, 12974), (14, 15000), (u32::MAX, 15000)]
        {
            assert_eq!(DEFAULT.delay(failures, 0.0).as_millis(), milliseconds, "after {failures} failures");
        }
    }

    #[test]
    fn jitter_takes_away_at_most_a_fifth() {
        assert_eq!(DEFAULT.delay(1, 1.0).as_millis(), 80);
        let mut jitter = Jitter::new(7);
        for _ in 0..1000 {
            let delay = DEFAULT.delay(1, jitter.next()).as_millis();
            assert!((80..=100).contains(&delay), "{delay} ms");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let (mut one, mut other) = (Jitter::new(1), Jitter::new(1));
        assert!((0..10).all(|_| one.next().to_bits() == other.next().to_bits()));
    }
}
