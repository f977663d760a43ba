//! When a primary that answers badly is worth telling: not for one lost answer, not anew each second, and not taken back for one good
//! answer among bad ones. Pure: the times are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// A bad answer weighs as much as two good ones, so that a primary that lies every second time does not pass.
const BAD: u32 = 2;
/// Five bad answers in a row, which are five seconds: as long as a sample is used (`Handle::sample_max_age`).
const TOLD_AT: u32 = 5 * BAD;
/// No more is held against it than twenty good answers make good.
const MOST: u32 = 20;
/// Other words about the same primary are told no sooner: whoever makes up a new fault each second has status written no more often than
/// its figures are.
const SAME_WORDS: Duration = Duration::from_secs(30);

/// What speaks against one primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    weight: u32,
    told: Option<(Trouble, Instant)>,
}

/// What is wrong with a primary's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The kind, from a fixed list.
    pub category: &'static str,
    /// What happened, in words for the user and without figures that change by themselves.
    pub message: String,
}

// === impl Doubt ===

impl Doubt {
    pub(super) fn good(&mut self) {
        self.weight = self.weight.saturating_sub(1);
        if self.weight == 0 {
            self.told = None;
        }
    }

    pub(super) fn bad(&mut self, category: &'static str, message: &str, now: Instant) {
        self.weight = (self.weight + BAD).min(MOST);
        let stands = match &self.told {
            Some((_, since)) => now.saturating_duration_since(*since) < SAME_WORDS,
            None => self.weight < TOLD_AT,
        };
        if !stands {
            self.told = Some((Trouble { category, message: message.to_owned() }, now));
        }
    }

    /// What is to be told; `None` while there is nothing.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.told.as_ref().map(|(trouble, _)| trouble)
    }
}

// === impl Trouble ===

impl Trouble {
    /// Whether the primary answered at all; where it did not, the network may be at fault as well.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.category != "unreachable" && self.category != "forbidden_address"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A primary that is asked each second: `.` is a good answer, any other letter a bad one of that kind.
    fn told(answers: &str) -> Vec<Option<&'static str>> {
        let (mut doubt, mut now) = (Doubt::default(), Instant::now());
        let kind = |letter| if letter == 'a' { "a" } else { "b" };
        let hear = |letter| {
            now += Duration::from_secs(1);
            match letter {
                '.' => doubt.good(),
                _ => doubt.bad(kind(letter), "words", now),
            }
            doubt.trouble().map(|trouble| trouble.category)
        };
        answers.chars().map(hear).collect()
    }

    fn last(answers: &str) -> Option<&'static str> {
        told(answers).pop().flatten()
    }

    #[test]
    fn five_bad_answers_in_a_row_are_told_and_four_are_not() {
        assert_eq!((last("aaaa"), last("aaaaa")), (None, Some("a")));
    }

    #[test]
    fn one_lost_answer_now_and_then_is_nothing() {
        assert_eq!(last(&"a...".repeat(50)), None);
    }

    #[test]
    fn one_that_answers_well_every_second_time_is_told_once_and_stays_told() {
        let told = told(&"a.".repeat(50));
        let first = told.iter().position(Option::is_some).unwrap();
        assert!(first < 20 && told[first..].iter().all(Option::is_some), "{told:?}");
    }

    #[test]
    fn good_answers_take_it_back() {
        assert_eq!(last(&format!("{}{}", "a".repeat(60), ".".repeat(19))), Some("a"));
        assert_eq!(last(&format!("{}{}", "a".repeat(60), ".".repeat(20))), None);
    }

    #[test]
    fn other_words_are_told_half_a_minute_later_at_the_soonest() {
        let told = told(&"ab".repeat(60));
        let changes = told.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 1 + 120 / 30, "{changes} changes");
    }
}
