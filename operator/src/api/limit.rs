//! A limit on the rate of calls: a token bucket, kept as the time at which it would be full again (GCRA), so that nothing has to fill it.
//! Waiters go in the order of their coming.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many a second, and so many at once. Clones share it.
#[derive(Clone, Debug)]
pub struct Limit {
    /// From one token to the next.
    every: Duration,
    burst: u32,
    full_at: Arc<Mutex<Option<Instant>>>,
}

/// The limits on one operator's calls.
#[derive(Clone, Debug)]
pub struct Limits {
    pub reads: Limit,
    pub writes: Limit,
}

// === impl Limit ===

impl Limit {
    /// `per_second` calls in the long run, up to `burst` of them at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { every: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1), full_at: Arc::default() }
    }

    /// Takes a turn, waits for it, and says for how long.
    pub fn turn(&self) -> impl Future<Output = Duration> + Send + use<> {
        let wait = self.take(Instant::now());
        async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            wait
        }
    }

    /// Takes a token, and says how long to wait before it may be used.
    fn take(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.unwrap_or(now).max(now) + self.every;
        *full_at = Some(full);
        (full - now).saturating_sub(self.every * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_one_for_each_token() {
        let (limit, now) = (Limit::new(10, 3), Instant::now());
        let waits: Vec<u128> = (0..6).map(|_| limit.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn the_bucket_fills_again_but_not_beyond_its_burst() {
        let (limit, now) = (Limit::new(10, 3), Instant::now());
        for _ in 0..3 {
            limit.take(now);
        }
        assert_eq!(limit.take(now + Duration::from_millis(100)), Duration::ZERO);
        let later = now + Duration::from_secs(60);
        let waits: Vec<bool> = (0..4).map(|_| limit.take(later).is_zero()).collect();
        assert_eq!(waits, [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_calls_take_the_time_that_the_rate_says() {
        let (limit, begun) = (Limit::new(100, 10), Instant::now());
        futures::future::join_all((0..1000).map(|_| limit.turn())).await;
        let took = begun.elapsed().as_secs_f64();
        assert!((took - 9.9).abs() < 0.02, "{took}");
    }
}
