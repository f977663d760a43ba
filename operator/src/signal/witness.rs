//! How far one primary's words are believed: whether its clock moves, whether its counters are those of one and the same container. Pure:
//! the times are arguments.

use std::time::Duration;

use primary_protocol::Stats;
use tokio::time::Instant;

use super::{
    error::ScrapeError,
    rate::{CpuRate, CpuTrack, Jump},
};

/// A primary's clock may seem to stand still for so long: an answer may be under way for the whole of the scrape's deadline (2 s), and a
/// second for scheduling. Beyond it somebody repeats an old answer.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(3);

/// What one primary has said until now.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The primary's clock, and when it last moved.
    clock: Option<(Duration, Instant)>,
    track: CpuTrack,
}

/// A document that can be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) stats: Stats,
    /// What is odd about it all the same. Once is nothing, as a container that was started anew; again and again is.
    pub(super) oddity: Option<ScrapeError>,
}

// === impl Witness ===

impl Witness {
    /// Takes a document that came at `now`.
    pub(super) fn hear(&mut self, stats: Stats, now: Instant) -> Result<Heard, ScrapeError> {
        let uptime = Duration::from_millis(stats.uptime_milliseconds);
        match self.clock {
            Some((before, moved)) if before == uptime => {
                if now.saturating_duration_since(moved) > LONGEST_STANDSTILL {
                    return Err(ScrapeError::Stale);
                }
            }
            _ => self.clock = Some((uptime, now)),
        }
        match self.track.push(uptime, stats.cpu.map(|cpu| cpu.usage_microseconds), now) {
            Ok(()) => Ok(Heard { stats, oddity: None }),
            Err(Jump::Restarted) => Ok(Heard { stats, oddity: Some(ScrapeError::Unsteady) }),
            Err(Jump::Absurd) => Err(ScrapeError::Implausible("more processor time than any machine has")),
        }
    }

    /// Processor time until its last counters.
    pub(super) fn rate(&self) -> Option<CpuRate> {
        self.track.rate()
    }
}
