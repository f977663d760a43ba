//! What is said at the table: numbers of who is there, what a request asks for and what it meets, what is counted.

use std::sync::Arc;
use std::time::Duration;

use crate::queue::histogram::Histogram;

/// A time, measured from a moment that never changes.
pub type Moment = Duration;

/// A worker, by a number that no other ever has: process ids come again.
pub type WorkerId = u64;

/// Another replica, by its pod's UID.
pub type PeerId = Arc<str>;

/// A request, by the order in which it came.
pub type Ticket = u64;

/// How much may wait, and how much a worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many requests may be with one worker at a time.
    pub cap: u32,
    /// So many may wait.
    pub waiting: usize,
    /// For so long each.
    pub wait: Duration,
    /// A request that so many workers died of is not given to another.
    pub deaths: u32,
}

/// Why a request gets no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// As many wait as may.
    Full,
    /// It has waited for as long as it may.
    Late,
    /// Workers died of it.
    Deadly,
    /// Nobody is given one any more.
    Stopping,
}

/// What was counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came.
    pub arrived: u64,
    /// Requests that came back because their worker died.
    pub returned: u64,
    pub told: Told,
    /// Given to other replicas, since no worker was free here.
    pub roamed: u64,
    /// Whose worker died when the client had a part of the answer.
    pub cut: u64,
    /// Answered with the answer to another one that was the same.
    pub merged: u64,
    /// Carried out here although another replica was to do it for all, since that one could not be reached.
    pub alone: u64,
    /// Clients that left while they waited.
    pub left: u64,
}

/// What clients were told by the primary itself, one for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// 503: as many waited as may.
    pub full: u64,
    /// 503: it has waited for as long as it may.
    pub late: u64,
    /// 502: workers died of it.
    pub deadly: u64,
    /// 503: the replica stops.
    pub stopping: u64,
    /// 503: no descriptor, or no memory, is left.
    pub crowded: u64,
    /// 502: workers that live, or another replica, closed the connection without an answer, or one that several waited for broke off.
    pub broken: u64,
    /// 502: the worker speaks TLS.
    pub tls: u64,
    /// 502: its worker died, and no other may have it.
    pub died: u64,
    /// 502: what the worker answered is none.
    pub invalid_answer: u64,
    /// 400 and its like, and HTTP/2 that was not asked for.
    pub invalid_request: u64,
    /// 408.
    pub slow: u64,
}

impl Told {
    /// With the names that they have in metrics.
    pub fn by_reason(self) -> [(&'static str, u64); 11] {
        [
            ("full", self.full),
            ("late", self.late),
            ("deadly", self.deadly),
            ("stopping", self.stopping),
            ("crowded", self.crowded),
            ("broken", self.broken),
            ("tls", self.tls),
            ("died", self.died),
            ("invalid-answer", self.invalid_answer),
            ("invalid-request", self.invalid_request),
            ("slow", self.slow),
        ]
    }
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// With workers.
    pub service: Histogram,
    /// Before they had one.
    pub wait: Histogram,
}

/// Why a request asks for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has just come.
    New,
    /// So many workers died of it, or did not answer it.
    Back(u32),
    /// Whoever it was given to did not take it after all; it has waited since then.
    Untaken(Moment),
    /// It was to be answered together with others, and is not; it has waited since then, and in no line.
    Alone(Moment),
}

impl Why {
    /// Since when it has waited, where it has not just begun to.
    pub fn since(self) -> Option<Moment> {
        match self {
            Self::Untaken(since) | Self::Alone(since) => Some(since),
            Self::New | Self::Back(_) => None,
        }
    }
}

/// What a request meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Somebody is free.
    Now(Place),
    /// All have as many as they may.
    Waits,
    /// It gets none.
    Refused(Refusal),
}

/// Who has a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Worker(WorkerId),
    Peer(PeerId),
}

/// A request that waited has a worker.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<W> {
    pub ticket: Ticket,
    pub place: Place,
    pub who: W,
}

/// What is to be told of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub worker: WorkerId,
    pub in_flight: u32,
    pub upgraded: u32,
    /// Answers that it gave.
    pub served: u64,
    /// Since when it has had none, where it has none.
    pub idle_since: Option<Moment>,
}
