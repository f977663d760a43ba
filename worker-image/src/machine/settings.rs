//! What may change while workers run ([`Settings`]), and what may not ([`Policy`]).

use std::time::Duration;

use super::{Backoff, ReadyRule};

/// What the machine goes by for as long as it lives.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// Whether the primary opened a listening socket for the workers.
    pub listens: bool,
    /// Whether workers get Node's channel.
    pub channel: bool,
    /// Whether the signal to stop goes to a worker's whole group (its command is a shell around the program).
    pub stop_group: bool,
    /// Where workers find their connections.
    pub sockets: Sockets,
    /// With [`Sockets::PerSlot`]: for so long a fresh worker gets fewer new connections than the others. Zero for the same from the start.
    pub slow_start: Duration,
    /// So many workers start at a time, as many as there are processors: more would only make each other slow.
    pub starts_at_once: u32,
    /// Where the jitter starts from.
    pub seed: u64,
}

/// Where workers find their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// All in the same socket, or they are handed to them: who leaves leaves nobody waiting behind.
    Shared,
    /// Each slot has a listening socket of its own, so that new connections can be kept from one worker.
    PerSlot,
    /// Each worker has one of its own, to which only the primary connects, with one request at a time.
    PerWorker,
}

/// What the machine goes by until it is told otherwise; changed as a whole by [`super::Order::Configure`].
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many workers to keep, where nothing adapts it.
    pub count: u32,
    /// Between which numbers the machine chooses by itself.
    pub adaptive: Option<Adaptive>,
    /// Alive that long counts as ready when nothing better is to be had.
    pub startup: Duration,
    /// How long workers may finish what is in flight.
    pub drain: Duration,
    /// How long to keep serving after the order to stop.
    pub endpoints_delay: Duration,
    /// Waits between forks.
    pub backoff: Backoff,
    /// When a worker that is ready counts as hung; `None` for never.
    pub hang: Option<Hang>,
    /// When a worker gives way to a fresh one.
    pub recycle: Recycle,
}

/// Bounds of a number of workers that follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Never fewer; at least 1.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

/// What is done about a worker that makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Without a sign of life, or without progress with work in flight, for so long.
    pub after: Duration,
    /// Sent first, so that the program can leave a trace of where it hangs; `SIGKILL` follows after [`HANG_GRACE`].
    pub signal: i32,
}

/// A hung worker has this long to write its core or its stack trace.
pub const HANG_GRACE: Duration = Duration::from_secs(5);

/// When a worker gives way to a fresh one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recycle {
    /// Its own memory (PSS) is more than so many bytes.
    pub memory: Option<u64>,
    /// The container uses so many hundredths of its memory limit, and this worker is the largest of those that have grown by half since they
    /// began.
    pub container_percent: Option<u32>,
    /// It has lived this long, less up to [`AGE_JITTER`] of it, so that workers of one age do not all go at once.
    pub age: Option<Duration>,
    /// It has answered so many requests, less up to [`AGE_JITTER`] of them.
    pub requests: Option<u64>,
}

/// See [`Recycle::age`] and [`Recycle::requests`]: the share of it that jitter takes away at the most.
pub const AGE_JITTER: f64 = 0.1;

impl Settings {
    /// The number of workers that the machine starts with, and stays at while nothing adapts it.
    pub fn first_count(&self) -> u32 {
        self.adaptive.map_or(self.count, |adaptive| self.count.clamp(adaptive.min, adaptive.max.max(adaptive.min)))
    }
}
