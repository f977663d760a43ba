//! The fence: a write is let through only while this operator surely holds the Lease, by its own clock.
//!
//! It is asked twice: before a call is made (`api::ApiServer`) and, where it counts, by the connection at the moment at which bytes
//! leave (`api::fenced`): a process that was stopped in between does not send late what it was allowed to send earlier.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// A moment of this machine's clock that nobody sets and that goes on while the machine sleeps (CLOCK_BOOTTIME). CLOCK_MONOTONIC, which
/// `Instant` reads, goes on while a process is stopped but not while the machine is suspended: it would keep the fence open for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// Lets writes through until a moment that each renewal of the Lease moves on. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Gate>>);

#[derive(Debug, Default)]
struct Gate {
    /// The last term that began.
    term: u64,
    until: Option<Moment>,
}

/// The right to write in one term of leadership, and in no later one: what was decided on an old view is not written under a new Lease.
#[derive(Clone, Debug)]
pub struct Pass {
    fence: Fence,
    term: u64,
}

/// The Lease is not held, or not for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this operator does not hold the lease (any more); nothing is written")]
pub struct Closed;

// === impl Moment ===

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        Self(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// Later by `time`.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// From `now` until this; zero where it is over.
    pub fn left(self, now: Self) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

// === impl Fence ===

impl Fence {
    /// Lets the writes of `term` through until `until`.
    pub fn open(&self, term: u64, until: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Gate { term, until: Some(until) };
    }

    /// Lets nothing through.
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).until = None;
    }

    /// The right to write in `term`.
    pub fn pass(&self, term: u64) -> Pass {
        Pass { fence: self.clone(), term }
    }
}

// === impl Pass ===

impl Pass {
    /// How long a write that begins now may take.
    ///
    /// # Errors
    /// [`Closed`] while the Lease is not held, and for ever when the term is over.
    pub fn permit(&self) -> Result<Duration, Closed> {
        self.permit_at(Moment::now)
    }

    /// The clock is read last, so that as little as can be lies between it and what it permits.
    fn permit_at(&self, now: impl FnOnce() -> Moment) -> Result<Duration, Closed> {
        let gate = self.fence.0.lock().unwrap_or_else(PoisonError::into_inner);
        match gate.until.filter(|_| gate.term == self.term).map(|until| until.left(now())) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_fence_is_closed_before_the_first_lease_and_after_the_last() {
        let (fence, now) = (Fence::default(), Moment::now());
        let pass = fence.pass(1);
        assert_eq!(pass.permit_at(|| now), Err(Closed));
        fence.open(1, now.after(TEN));
        assert_eq!(pass.permit_at(|| now), Ok(TEN));
        assert_eq!(pass.permit_at(|| now.after(TEN)), Err(Closed));
        fence.close();
        assert_eq!(pass.permit_at(|| now), Err(Closed));
    }

    #[test]
    fn the_pass_of_a_term_is_worth_nothing_in_the_next() {
        let (fence, now) = (Fence::default(), Moment::now());
        fence.open(1, now.after(TEN));
        let old = fence.pass(1);
        fence.open(2, now.after(TEN));
        assert_eq!(old.permit_at(|| now), Err(Closed));
        assert_eq!(fence.pass(2).permit_at(|| now), Ok(TEN));
    }

    #[test]
    fn the_clock_goes_on() {
        let before = Moment::now();
        assert!(Moment::now() >= before);
        assert!(before > Moment(Duration::ZERO));
    }
}
