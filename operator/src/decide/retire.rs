//! Pods that are too many serve out before they are deleted: they are told to be not ready, and are called back where more are wanted again.

use std::time::Duration;

/// Where a pod stands in this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In service, and its primary takes orders.
    Serving,
    /// The same, but that it was called back a moment ago and is not ready again yet.
    Returning,
    /// Its primary has not been heard yet in this term, or not for a moment.
    Unheard,
    /// Told to retire.
    Retiring {
        /// How long ago.
        since: Duration,
        /// Whether it is not ready any more.
        left: bool,
        /// Whether its primary says that it holds no work: no request and no upgraded connection, or, where it sees no requests, no connection.
        idle: bool,
    },
    /// Not in service, or its primary cannot be told anything, or could not say when it is idle: to be deleted is all there is, and Kubernetes'
    /// own termination lets it finish.
    Out,
}

/// What a pod does that is too many. Where it stays, for how long until that has to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It serves as before: it will be known soon whether it can be told.
    Wait(Duration),
    /// It is told to serve out, or has been.
    Retire(Duration),
    /// It goes now.
    Delete,
}

/// A primary counts its busy workers once a second; a count of before the order says nothing about the time after it.
const COUNTED: Duration = Duration::from_secs(2);
/// Our readiness probe takes three seconds to say no. A pod that is ready after this time has a probe of its user's, which knows nothing of the
/// order: its Services send to it on, and it is of no use to wait for it to be idle.
pub const TAKES_EFFECT: Duration = Duration::from_secs(10);
/// All primaries are asked once in a few seconds.
const ASKED_SOON: Duration = Duration::from_secs(1);

// === impl Standing ===

impl Standing {
    /// It serves out by our word.
    #[must_use]
    pub fn is_retiring(self) -> bool {
        matches!(self, Self::Retiring { .. })
    }
}

/// The next step of a pod that is too many. `limit` is how long a worker may take to finish, `workers.drainSeconds`: who holds a connection for
/// longer than that is told to close it by the termination, which has the same time again.
#[must_use]
pub fn step(standing: Standing, limit: Duration) -> Step {
    match standing {
        Standing::Out => Step::Delete,
        _ if limit.is_zero() => Step::Delete,
        Standing::Unheard => Step::Wait(ASKED_SOON),
        Standing::Serving | Standing::Returning => Step::Retire(limit.min(COUNTED)),
        Standing::Retiring { since, left, idle } => {
            let over = since >= limit || (left && idle && since >= COUNTED) || (!left && since >= TAKES_EFFECT);
            let moments = [COUNTED, TAKES_EFFECT, limit].into_iter();
            let next = moments.filter_map(|moment| moment.checked_sub(since)).find(|wait| !wait.is_zero());
            next.filter(|_| !over).map_or(Step::Delete, |next| Step::Retire(next.min(limit.saturating_sub(since))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_retires_until_it_is_idle_or_its_time_is_over() {
        let (limit, second) = (Duration::from_secs(30), Duration::from_secs);
        let retiring = |since, left, idle| Standing::Retiring { since: second(since), left, idle };
        for (standing, expected) in [
            (Standing::Out, Step::Delete),
            (Standing::Unheard, Step::Wait(second(1))),
            (Standing::Serving, Step::Retire(second(2))),
            (Standing::Returning, Step::Retire(second(2))),
            (retiring(0, false, false), Step::Retire(second(2))),
            (retiring(1, true, true), Step::Retire(second(1))), // counted before the order
            (retiring(2, true, true), Step::Delete),
            (retiring(5, false, true), Step::Retire(second(5))), // its Services still send to it
            (retiring(10, false, false), Step::Delete),          // and will not stop
            (retiring(12, true, false), Step::Retire(second(18))),
            (retiring(30, true, false), Step::Delete),
        ] {
            assert_eq!(step(standing, limit), expected, "{standing:?}");
        }
        for standing in [Standing::Serving, Standing::Unheard, retiring(0, true, true)] {
            assert_eq!(step(standing, Duration::ZERO), Step::Delete, "no time to finish is given");
        }
    }
}
