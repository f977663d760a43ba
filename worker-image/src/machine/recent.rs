//! What happened to workers a short while ago, so that it can be told: a worker that was killed as hung is replaced within a second, and whoever
//! looks a minute later should still learn of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Moment;

/// So long it is told.
pub(super) const TOLD_FOR: Duration = Duration::from_secs(600);

/// More than this are told as "more than".
const KEPT: usize = 16;

/// Times of one kind of happening.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    times: VecDeque<Moment>,
    /// Where it happened last.
    slot: u32,
}

/// How often something happened lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Often {
    pub count: usize,
    pub more: bool,
    pub slot: u32,
}

impl Recent {
    pub fn add(&mut self, slot: u32, now: Moment) {
        if self.times.len() >= KEPT {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.slot = slot;
    }

    /// `None` where it did not happen lately.
    pub fn within(&self, now: Moment) -> Option<Often> {
        let count = self.times.iter().filter(|at| now.saturating_sub(**at) <= TOLD_FOR).count();
        (count > 0).then_some(Often { count, more: count == KEPT, slot: self.slot })
    }
}

impl std::fmt::Display for Often {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.more { "at least " } else { "" };
        let times = if self.count == 1 { "once" } else { &format!("{more}{} times", self.count) };
        write!(formatter, "{times} within {} min (slot {} last)", TOLD_FOR.as_secs() / 60, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_ago_is_not_told_and_what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        let at = Duration::from_secs;
        assert_eq!(recent.within(at(0)), None);
        recent.add(3, at(10));
        assert_eq!(recent.within(at(10) + TOLD_FOR).unwrap().to_string(), "once within 10 min (slot 3 last)");
        assert_eq!(recent.within(at(11) + TOLD_FOR), None);
        for second in 0..100 {
            recent.add(4, at(second));
        }
        assert_eq!(recent.within(at(100)).unwrap().to_string(), "at least 16 times within 10 min (slot 4 last)");
    }
}
