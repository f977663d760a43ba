//! What requests did in the last seconds, from what was counted since the beginning: pure.

use std::collections::VecDeque;
use std::time::Duration;

use primary_protocol::{Recent, Requests, Times};

use crate::machine::Moment;

/// So far back it looks.
const BACK: Duration = Duration::from_secs(10);

/// Marks are no closer to each other, however often somebody asks.
const APART: Duration = Duration::from_millis(500);

/// What had been counted at some moments, the oldest first; as long as nobody asks there are none.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Moment,
    arrived: u64,
    service: (u64, u64),
    wait: (u64, u64),
}

impl Marks {
    /// What happened since the oldest mark that is not too old; `None` where there is none. What is counted now becomes a mark.
    pub fn look(&mut self, counted: &Requests, now: Moment) -> Option<Recent> {
        let mark = Mark { at: now, arrived: counted.arrived, service: sum(&counted.service), wait: sum(&counted.wait) };
        while self.0.front().is_some_and(|oldest| now.saturating_sub(oldest.at) > BACK) {
            self.0.pop_front();
        }
        let recent = self.0.front().and_then(|before| since(before, &mark));
        if self.0.back().is_none_or(|last| now.saturating_sub(last.at) >= APART) {
            self.0.push_back(mark);
        }
        recent
    }
}

fn since(before: &Mark, now: &Mark) -> Option<Recent> {
    let time = now.at.saturating_sub(before.at);
    if time < APART {
        return None;
    }
    Some(Recent {
        per_second: tenths(number(now.arrived.saturating_sub(before.arrived)) / time.as_secs_f64()),
        service_milliseconds: mean(before.service, now.service),
        wait_milliseconds: mean(before.wait, now.wait),
    })
}

/// How many, and how long together.
fn sum(times: &Times) -> (u64, u64) {
    (times.counts.iter().fold(0, |sum, count| sum.saturating_add(*count)), times.sum_milliseconds)
}

fn mean(before: (u64, u64), now: (u64, u64)) -> Option<f64> {
    let count = now.0.checked_sub(before.0).filter(|count| *count > 0)?;
    Some(tenths(number(now.1.checked_sub(before.1)?) / number(count)))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(arrived: u64, served: u64, milliseconds: u64) -> Requests {
        let service = Times { bounds_milliseconds: vec![1], counts: vec![served, 0], sum_milliseconds: milliseconds };
        Requests { arrived, service, ..Requests::default() }
    }

    #[test]
    fn rates_are_of_the_last_seconds_and_means_of_what_ended_in_them() {
        let mut marks = Marks::default();
        let mut look = |seconds: f64, arrived, served, milliseconds| {
            marks.look(&counted(arrived, served, milliseconds), Duration::from_secs_f64(seconds))
        };
        assert_eq!(look(0.0, 100, 100, 9999), None, "nothing is known of before");
        assert_eq!(look(0.1, 110, 110, 9999), None, "nor of so short a time");
        let recent = look(2.0, 130, 120, 10_064).unwrap();
        assert_eq!((recent.per_second, recent.service_milliseconds, recent.wait_milliseconds), (15.0, Some(3.3), None));
        let later = look(20.0, 1000, 1000, 99_999);
        assert_eq!(later, None, "all that is known is too old");
        assert!(look(21.0, 1001, 1000, 99_999).is_some_and(|recent| recent.per_second < 1.1));
    }

    #[test]
    fn marks_are_few() {
        let mut marks = Marks::default();
        for milliseconds in 0..60_000 {
            marks.look(&counted(1, 1, 1), Duration::from_millis(milliseconds));
        }
        assert!(marks.0.len() <= 21, "{}", marks.0.len());
    }
}
