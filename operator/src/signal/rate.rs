//! Processor time used, from the counters of one primary. Pure: the times are arguments.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Time over which the rate is taken: long enough to smooth a request, short enough to be seen within a scrape or two.
const WINDOW: Duration = Duration::from_secs(2);
/// Shortest time over which a rate is taken.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// Counters older than this are not compared with any more: the rate would be of a time long gone.
const LONGEST_WINDOW: Duration = Duration::from_secs(15);
/// How far the primary's clock may run apart from ours between two answers: an answer may be under way for the whole of the
/// scrape's deadline (2 s), and a second for scheduling. Beyond it is another primary, or a lie.
const LARGEST_DRIFT: Duration = Duration::from_secs(3);
/// More than any machine has: a counter that jumps so far is not one.
const MOST_MILLICORES: u64 = 8_192_000;

/// Processor time that a container used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRate {
    /// Thousandths of a processor, rounded up as Kubernetes does.
    pub millicores: i64,
    /// How long it was measured.
    pub window: Duration,
    /// When the measurement ended.
    pub at: Instant,
}

/// The last counters of one primary.
#[derive(Clone, Debug, Default)]
pub(super) struct CpuTrack {
    counters: VecDeque<Counter>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    uptime: Duration,
    used_microseconds: u64,
    at: Instant,
}

/// A jump that no counter makes: the next rate comes from two new answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    /// The primary, or its container, is another one.
    Restarted,
    /// More processor time than any machine has.
    Absurd,
}

// === impl CpuTrack ===

impl CpuTrack {
    /// Takes the counters of an answer that came at `at`. `None` for a primary that cannot read its cgroup.
    pub(super) fn push(&mut self, uptime: Duration, used_microseconds: Option<u64>, at: Instant) -> Result<(), Jump> {
        let Some(used_microseconds) = used_microseconds else {
            self.counters.clear();
            return Ok(());
        };
        let next = Counter { uptime, used_microseconds, at };
        let Some(last) = self.counters.back().copied() else {
            self.counters.push_back(next);
            return Ok(());
        };
        if uptime == last.uptime && used_microseconds == last.used_microseconds {
            return Ok(()); // the same answer again: it gets older, not newer
        }
        if let Some(jump) = last.jump_to(next) {
            self.counters.clear();
            self.counters.push_back(next);
            return Err(jump);
        }
        if uptime > last.uptime {
            self.counters.push_back(next);
        }
        while self.counters.front().is_some_and(|first| next.since(*first) > LONGEST_WINDOW) {
            self.counters.pop_front();
        }
        Ok(())
    }

    /// The rate until the last counters, over the time nearest to [`WINDOW`].
    pub(super) fn rate(&self) -> Option<CpuRate> {
        let last = *self.counters.back()?;
        let long_enough = self.counters.iter().filter(|first| last.since(**first) >= SHORTEST_WINDOW);
        let first = long_enough.min_by_key(|first| last.since(**first).abs_diff(WINDOW))?;
        let window = last.since(*first);
        let used = last.used_microseconds - first.used_microseconds;
        Some(CpuRate { millicores: millicores(used, window), window, at: last.at })
    }
}

// === impl Counter ===

impl Counter {
    fn since(self, earlier: Self) -> Duration {
        self.uptime.saturating_sub(earlier.uptime)
    }

    fn jump_to(self, next: Self) -> Option<Jump> {
        let elapsed = next.at.saturating_duration_since(self.at);
        let back = next.uptime < self.uptime || next.used_microseconds < self.used_microseconds;
        if back || next.since(self).abs_diff(elapsed) > LARGEST_DRIFT {
            return Some(Jump::Restarted);
        }
        // At least a second, so that the counter's own grain between two close answers is no jump.
        let window = next.since(self).max(SHORTEST_WINDOW);
        let used = next.used_microseconds - self.used_microseconds;
        (millicores(used, window).unsigned_abs() > MOST_MILLICORES).then_some(Jump::Absurd)
    }
}

/// Microseconds of processor time in a time, as thousandths of a processor.
fn millicores(used_microseconds: u64, window: Duration) -> i64 {
    let window = window.as_micros().max(1);
    i64::try_from((u128::from(used_microseconds) * 1000).div_ceil(window)).unwrap_or(i64::MAX)
}
