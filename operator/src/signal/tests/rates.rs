//! Processor time from counters.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};
use tokio::time::Instant;

use crate::signal::rate::{CpuTrack, Jump};

/// Counters of answers: seconds of our time, milliseconds of the primary's, microseconds used.
struct Track {
    track: CpuTrack,
    origin: Instant,
}

impl Track {
    fn new() -> Self {
        Self { track: CpuTrack::default(), origin: Instant::now() }
    }

    fn push(&mut self, seconds: f64, uptime: u64, used: u64) -> Result<(), Jump> {
        self.track.push(Duration::from_millis(uptime), Some(used), self.origin + Duration::from_secs_f64(seconds))
    }

    /// Rate and window in milliseconds.
    fn rate(&self) -> Option<(i64, u128)> {
        self.track.rate().map(|rate| (rate.millicores, rate.window.as_millis()))
    }
}

#[test]
fn a_rate_is_taken_over_about_two_seconds_and_at_least_one() {
    let mut track = Track::new();
    let rows = [
        (0.0, 5000, 100_000, None),                 // one counter is no rate
        (0.5, 5500, 350_000, None),                 // half a second is too short
        (1.0, 6000, 600_000, Some((500, 1000))),    // half a processor
        (2.0, 7000, 1_600_000, Some((750, 2000))),  // over two seconds
        (3.0, 8000, 2_600_000, Some((1000, 2000))), // the last two, not the first
        (8.0, 13_000, 2_600_000, Some((0, 5000))),  // the interval is what it is
    ];
    for (number, (seconds, uptime, used, expected)) in rows.into_iter().enumerate() {
        track.push(seconds, uptime, used).unwrap();
        assert_eq!(track.rate(), expected, "row {}", number + 1);
    }
}

#[test]
fn the_primarys_own_clock_measures_the_time() {
    let mut track = Track::new();
    track.push(0.0, 1000, 0).unwrap();
    track.push(1.9, 2000, 1_000_000).unwrap(); // the answer was under way for a while
    assert_eq!(track.rate(), Some((1000, 1000)));
}

#[test]
fn a_counter_that_goes_back_begins_anew() {
    let rows = [
        (3.0, 500, 100),          // another primary: its clock began anew
        (3.0, 13_000, 100),       // another container: its processor time did
        (9.0, 11_500, 9_000_000), // its clock stood still for seconds: another one that is by chance older
        (3.0, 60_000, 9_000_000), // its clock jumped ahead
    ];
    for (number, (seconds, uptime, used)) in rows.into_iter().enumerate() {
        let mut track = Track::new();
        track.push(0.0, 10_000, 5_000_000).unwrap();
        track.push(1.0, 11_000, 6_000_000).unwrap();
        assert_eq!(track.push(seconds, uptime, used), Err(Jump::Restarted), "row {}", number + 1);
        assert_eq!(track.rate(), None, "row {}", number + 1);
        track.push(seconds + 1.0, uptime + 1000, used + 200_000).unwrap();
        assert_eq!(track.rate(), Some((200, 1000)), "row {}", number + 1);
    }
}

#[test]
fn more_than_any_machine_has_is_no_rate() {
    let mut track = Track::new();
    track.push(0.0, 10_000, 0).unwrap();
    assert_eq!(track.push(1.0, 11_000, u64::MAX), Err(Jump::Absurd));
    assert_eq!(track.rate(), None);
}

#[test]
fn the_same_answer_again_gets_older_and_not_newer() {
    let mut track = Track::new();
    track.push(0.0, 10_000, 0).unwrap();
    track.push(1.0, 11_000, 500_000).unwrap();
    let before = track.track.rate().unwrap();
    track.push(2.0, 11_000, 500_000).unwrap(); // a primary that hangs behind a cache
    assert_eq!(track.track.rate().unwrap(), before);
}

#[test]
fn counters_from_before_a_long_silence_are_not_compared_with() {
    let mut track = Track::new();
    track.push(0.0, 10_000, 0).unwrap();
    track.push(60.0, 70_000, 60_000_000).unwrap();
    assert_eq!(track.rate(), None);
}

#[test]
fn a_primary_that_cannot_read_its_cgroup_has_no_rate() {
    let mut track = Track::new();
    track.push(0.0, 10_000, 0).unwrap();
    track.push(1.0, 11_000, 500_000).unwrap();
    track.track.push(Duration::from_secs(12), None, track.origin + Duration::from_secs(2)).unwrap();
    assert_eq!(track.rate(), None);
}

#[test]
fn a_rate_is_rounded_up_as_kubernetes_does() {
    let mut track = Track::new();
    track.push(0.0, 10_000, 0).unwrap();
    track.push(1.0, 11_000, 1).unwrap();
    assert_eq!(track.rate(), Some((1, 1000)));
}

proptest! {
    #[test]
    fn a_rate_is_never_negative_nor_beyond_any_machine(
        answers in vec((0..4000_u64, any::<u64>(), option::weighted(0.95, any::<u64>()), prop::bool::ANY), 0..40)
    ) {
        let (mut track, mut at, mut uptime) = (CpuTrack::default(), Instant::now(), Duration::ZERO);
        for (pause, wild_uptime, used, tame) in answers {
            at += Duration::from_millis(pause);
            uptime = if tame { uptime.saturating_add(Duration::from_millis(pause)) } else { Duration::from_millis(wild_uptime) };
            let used = if tame { used.map(|used| used % 10_000_000) } else { used };
            let _ = track.push(uptime, used, at);
            if let Some(rate) = track.rate() {
                prop_assert!((0..=8_192_000).contains(&rate.millicores), "{:?}", rate);
                prop_assert!(rate.window >= Duration::from_secs(1) && rate.at <= at);
            }
        }
    }
}
