//! Randomness for jitter; nothing depends on its quality.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 up to 1. The standard library seeds each `RandomState` anew from the system's randomness.
pub fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_differ_and_stay_below_one() {
        let all: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(all.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(all.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01));
    }
}
