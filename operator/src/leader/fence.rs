//! The fence: a write is let through only while this operator surely holds the Lease, by its own monotonic clock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets writes through until a moment that each renewal of the Lease moves on. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

/// The Lease is not held, or not for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this operator does not hold the lease (any more); nothing is written")]
pub struct Closed;

// === impl Fence ===

impl Fence {
    /// Lets writes through until `deadline`.
    pub fn open_until(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// Lets nothing through.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long a write that starts at `now` may take.
    ///
    /// # Errors
    /// [`Closed`] while the Lease is not held.
    pub fn permit(&self, now: Instant) -> Result<Duration, Closed> {
        let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match deadline.map(|deadline| deadline.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_closed_before_the_first_lease_and_after_the_last() {
        let (fence, now) = (Fence::default(), Instant::now());
        assert_eq!(fence.permit(now), Err(Closed));
        fence.open_until(now + Duration::from_secs(10));
        assert_eq!(fence.permit(now), Ok(Duration::from_secs(10)));
        assert_eq!(fence.permit(now + Duration::from_secs(10)), Err(Closed));
        fence.close();
        assert_eq!(fence.permit(now), Err(Closed));
    }
}
