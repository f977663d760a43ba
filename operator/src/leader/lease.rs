//! What to do about the Lease, as client-go's leader election does it: `step` is pure, `elect` runs what it returns.
//!
//! Other operators' clocks are never read: a lease has run out when *this* operator has seen the same record, by its own
//! monotonic clock, for the whole duration.

use std::time::{Duration, Instant};

/// How long, and how often. The defaults are client-go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a record that nobody renews is respected.
    pub duration: Duration,
    /// A holder that has not renewed for so long stops writing. Shorter than `duration`, so that a late write cannot meet a new holder.
    pub renew_deadline: Duration,
    /// From one attempt to the next.
    pub retry: Duration,
}

/// The longest wait for a record that says itself how long it is to be respected: one written by mistake must not lock everybody out.
const LONGEST: Duration = Duration::from_secs(600);
/// A follower looks this much later than it could at the most, as a part of the pause, so that several do not look at once (client-go's).
const JITTER: f64 = 1.2;

/// The Lease as the API server last showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is none.
    Absent,
    /// There is one.
    Record { holder: Option<String>, version: String, duration: Option<Duration> },
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
    /// Another holds it; if nobody renews it, it has run out at this moment.
    Wait { until: Instant },
}

// === impl Timing ===

impl Timing {
    /// What is wrong with these, if anything is; client-go asks for the same.
    pub fn fault(&self) -> Option<&'static str> {
        if self.renew_deadline >= self.duration {
            return Some("the lease's duration must be longer than its renew deadline");
        }
        if self.renew_deadline <= self.retry.mul_f64(JITTER) {
            return Some("the renew deadline must be longer than 1.2 times the pause between two attempts");
        }
        self.retry.is_zero().then_some("the pause between two attempts must not be 0")
    }

    /// A call takes no longer than this: two fit into the renew deadline, so that one that hangs does not cost the Lease.
    pub fn call_deadline(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// When a follower looks next, at the latest; `chance` is between 0 and 1.
    pub fn follow(&self, now: Instant, until: Option<Instant>, chance: f64) -> Instant {
        let next = now + self.retry.mul_f64(chance.clamp(0.0, 1.0).mul_add(JITTER, 1.0));
        // Not a moment later than the record runs out, but for as much as keeps several followers apart.
        until.map_or(next, |until| next.min(until + self.retry.mul_f64(chance.clamp(0.0, 1.0) / 10.0)))
    }
}

// === impl State ===

impl State {
    /// Notes what was seen at `now`, and says since when the record has stood still.
    fn note(&mut self, version: &str, now: Instant) -> Instant {
        match &self.observed {
            Some((known, since)) if known == version => *since,
            _ => {
                self.observed = Some((version.to_owned(), now));
                now
            }
        }
    }

    /// Takes in what a watch showed: the count begins when a renewal is seen, not when we look next.
    pub fn observe(&mut self, seen: &Seen, now: Instant) {
        if let Seen::Record { version, .. } = seen {
            self.note(version, now);
        }
    }
}

/// Decides on what was seen at `now`; `me` is this operator's identity.
pub fn step(state: &mut State, seen: &Seen, me: &str, timing: &Timing, now: Instant) -> Next {
    let Seen::Record { holder, version, duration } = seen else {
        *state = State::default();
        return Next::Create;
    };
    let until = state.note(version, now) + duration.unwrap_or(timing.duration).min(LONGEST);
    match holder.as_deref() {
        Some(holder) if holder == me => Next::Claim { version: version.clone(), takeover: false },
        None | Some("") => Next::Claim { version: version.clone(), takeover: true },
        Some(_) if now >= until => Next::Claim { version: version.clone(), takeover: true },
        Some(_) => Next::Wait { until },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn record(holder: &str, version: &str) -> Seen {
        Seen::Record { holder: Some(holder.into()), version: version.into(), duration: Some(TIMING.duration) }
    }

    fn first(seen: &Seen) -> Next {
        step(&mut State::default(), seen, "a", &TIMING, Instant::now())
    }

    #[test]
    fn without_a_lease_it_is_created() {
        assert_eq!(first(&Seen::Absent), Next::Create);
    }

    #[test]
    fn our_own_lease_is_renewed() {
        assert_eq!(first(&record("a", "1")), Next::Claim { version: "1".into(), takeover: false });
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        assert_eq!(first(&record("", "1")), Next::Claim { version: "1".into(), takeover: true });
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_the_whole_duration() {
        let (start, mut state) = (Instant::now(), State::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut at = |version: &str, seconds| step(&mut state, &record("b", version), "a", &TIMING, after(seconds));
        assert_eq!(at("1", 0), Next::Wait { until: after(15) });
        assert_eq!(at("1", 14), Next::Wait { until: after(15) });
        // renewed: the count begins again
        assert_eq!(at("2", 15), Next::Wait { until: after(30) });
        assert_eq!(at("2", 30), Next::Claim { version: "2".into(), takeover: true });
    }

    #[test]
    fn a_renewal_that_a_watch_showed_counts_from_then() {
        let (start, mut state) = (Instant::now(), State::default());
        state.observe(&record("b", "1"), start);
        let next = step(&mut state, &record("b", "1"), "a", &TIMING, start + Duration::from_secs(15));
        assert_eq!(next, Next::Claim { version: "1".into(), takeover: true });
    }

    #[test]
    fn a_record_says_itself_how_long_it_is_respected_but_not_for_ever() {
        let now = Instant::now();
        for (said, counts) in [(60, 60), (1_000_000, 600)] {
            let seen = Seen::Record {
                holder: Some("b".into()),
                version: "1".into(),
                duration: Some(Duration::from_secs(said)),
            };
            let next = step(&mut State::default(), &seen, "a", &TIMING, now);
            assert_eq!(next, Next::Wait { until: now + Duration::from_secs(counts) });
        }
    }

    #[test]
    fn a_follower_looks_when_the_record_runs_out_and_else_between_one_and_two_point_two_pauses() {
        let now = Instant::now();
        let seconds = |chance, until| TIMING.follow(now, until, chance).duration_since(now).as_secs_f64();
        assert!((seconds(0.0, None) - 2.0).abs() < 1e-6);
        assert!((seconds(1.0, None) - 4.4).abs() < 1e-6);
        assert!((seconds(1.0, Some(now + Duration::from_secs(1))) - 1.2).abs() < 1e-6);
    }

    #[test]
    fn times_that_cannot_work_are_refused() {
        assert_eq!(TIMING.fault(), None);
        assert!(Timing { duration: Duration::from_secs(10), ..TIMING }.fault().is_some());
        assert!(Timing { retry: Duration::from_secs(9), ..TIMING }.fault().is_some());
        assert!(Timing { retry: Duration::ZERO, ..TIMING }.fault().is_some());
    }
}
