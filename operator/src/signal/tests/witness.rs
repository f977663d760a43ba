//! Primaries that lie in ways that no single document shows.

use std::time::Duration;

use tokio::time::Instant;

use super::fake_primary::document;
use crate::{
    decide::autoscale::Sample,
    signal::{error::ScrapeError, reading::PodReading, stats::decode, witness::Witness},
};

/// What a primary says to a question, by its number.
type Answer<'a> = &'a dyn Fn(u64) -> Result<String, ScrapeError>;

/// Asks once a second for a minute, and returns what is left of it: the reading, and when that was.
fn after_a_minute(answer: impl Fn(u64) -> Result<String, ScrapeError>) -> (PodReading, Instant) {
    let (mut witness, mut reading, mut now) = (Witness::default(), PodReading::default(), Instant::now());
    for second in 0..60 {
        now += Duration::from_secs(1);
        let heard = answer(second).and_then(|body| decode(body.as_bytes())).and_then(|stats| witness.hear(stats, now));
        reading.take(heard, witness.rate(), now);
    }
    (reading, now)
}

/// What a minute of it comes to: the kind of trouble, and the processor time that is still used.
fn verdict(answer: impl Fn(u64) -> Result<String, ScrapeError>) -> (Option<&'static str>, Option<i64>) {
    let (reading, now) = after_a_minute(answer);
    let used = match reading.sample(now) {
        Sample::Known { millicores, age, .. } if age <= Duration::from_secs(5) => Some(millicores),
        _ => None,
    };
    (reading.trouble().map(|trouble| trouble.category), used)
}

#[test]
fn an_honest_primary_is_believed() {
    assert_eq!(verdict(|n| Ok(document(n * 1000, n * 300_000))), (None, Some(300)));
}

#[test]
fn one_that_was_started_anew_is_believed_again() {
    assert_eq!(verdict(|n| Ok(document(n % 30 * 1000, n % 30 * 300_000))), (None, Some(300)));
}

#[test]
fn what_no_single_document_shows_is_told_and_nothing_is_reckoned_with_it() {
    let malformed = || ScrapeError::Malformed("NaN".into());
    let rows: [(&str, Answer<'_>, &str); 6] = [
        ("the same document again and again", &|_| Ok(document(61_000, 5_000_000)), "stale"),
        ("a clock that stands still with a counter that moves", &|n| Ok(document(61_000, n)), "stale"),
        ("a clock that goes back", &|n| Ok(document((100 - n) * 1000, 5_000_000)), "unsteady"),
        ("a counter that goes back", &|n| Ok(document(n * 1000, (100 - n) * 1000)), "unsteady"),
        ("nothing and everything in turn", &|n| Ok(document(n * 1000, n % 2 * u64::MAX)), "implausible"),
        (
            "sense and nonsense in turn",
            &|n| if n % 2 == 0 { Err(malformed()) } else { Ok(document(n * 1000, 0)) },
            "malformed",
        ),
    ];
    for (what, answer, category) in rows {
        let (trouble, used) = verdict(answer);
        assert_eq!(trouble, Some(category), "{what}");
        // Every second answer is a counter like any other: what lies between two of them is measured.
        assert!(used.is_none() || category == "malformed", "{what}: {used:?}");
    }
}

#[test]
fn of_a_stale_primary_the_stats_are_not_those_of_now() {
    let (reading, now) = after_a_minute(|_| Ok(document(61_000, 5_000_000)));
    let (_, at) = reading.stats.unwrap();
    assert!(now.duration_since(at) > Duration::from_secs(50));
}
