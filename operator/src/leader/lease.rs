//! What to do about the Lease, as client-go's leader election does it: `step` is pure, `elect` runs what it returns.
//!
//! Other operators' clocks are never read: a lease has run out when *this* operator has seen the same record, by its own
//! monotonic clock, for the whole duration.

use std::time::{Duration, Instant};

/// How long a record that nobody renews is respected (client-go's default).
pub const DURATION: Duration = Duration::from_secs(15);
/// A holder that has not renewed for so long stops writing. Shorter than [`DURATION`], so that a late write cannot meet a new holder.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between attempts.
pub const RETRY: Duration = Duration::from_secs(2);

/// The Lease as the API server last showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is none.
    Absent,
    /// There is one.
    Record { holder: Option<String>, version: String },
}

/// What this operator remembers between two looks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// The version last seen, and when it was first seen.
    observed: Option<(String, Instant)>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Create the Lease in our name.
    Create,
    /// Write our name into this version (compare-and-swap). `takeover` is true where another held it.
    Claim { version: String, takeover: bool },
    /// Another holds it: look again later.
    Wait,
}

/// Decides on what was seen at `now`; `me` is this operator's identity.
pub fn step(state: State, seen: &Seen, me: &str, now: Instant) -> (State, Next) {
    let Seen::Record { holder, version } = seen else {
        return (State::default(), Next::Create);
    };
    let since = match state.observed {
        Some((known, since)) if known == *version => since,
        _ => now,
    };
    let state = State { observed: Some((version.clone(), since)) };
    let next = match holder.as_deref() {
        Some(holder) if holder == me => Next::Claim { version: version.clone(), takeover: false },
        None | Some("") => Next::Claim { version: version.clone(), takeover: true },
        Some(_) if now.duration_since(since) >= DURATION => Next::Claim { version: version.clone(), takeover: true },
        Some(_) => Next::Wait,
    };
    (state, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: &str) -> Seen {
        Seen::Record { holder: Some(holder.into()), version: version.into() }
    }

    #[test]
    fn without_a_lease_it_is_created() {
        assert_eq!(step(State::default(), &Seen::Absent, "a", Instant::now()).1, Next::Create);
    }

    #[test]
    fn our_own_lease_is_renewed() {
        let (_, next) = step(State::default(), &record("a", "1"), "a", Instant::now());
        assert_eq!(next, Next::Claim { version: "1".into(), takeover: false });
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (_, next) = step(State::default(), &record("", "1"), "a", Instant::now());
        assert_eq!(next, Next::Claim { version: "1".into(), takeover: true });
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_the_whole_duration() {
        let start = Instant::now();
        let (state, next) = step(State::default(), &record("b", "1"), "a", start);
        assert_eq!(next, Next::Wait);
        let (state, next) = step(state, &record("b", "1"), "a", start + Duration::from_secs(14));
        assert_eq!(next, Next::Wait);
        // renewed: the count begins again
        let (state, next) = step(state, &record("b", "2"), "a", start + Duration::from_secs(15));
        assert_eq!(next, Next::Wait);
        let (_, next) = step(state, &record("b", "2"), "a", start + Duration::from_secs(30));
        assert_eq!(next, Next::Claim { version: "2".into(), takeover: true });
    }
}
