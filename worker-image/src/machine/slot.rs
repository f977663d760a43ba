//! One worker's place, and what is in it.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::stop::StopOrder;
use super::{Exit, Moment};

/// So many deaths within [`RECENT`] are a crash loop, also when each worker was ready before.
const RECENT_DEATHS: usize = 5;

/// See [`RECENT_DEATHS`].
const RECENT: Duration = Duration::from_secs(60);

/// One worker's place; it outlives the processes in it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub number: u32,
    pub phase: Phase,
    /// Until when the port's diagnosis holds the next fork back.
    pub gate: Option<Moment>,
    /// Early deaths in a row.
    pub failures: u32,
    pub forks: u64,
    pub last_exit: Option<Exit>,
    /// The times of the last deaths, newest first.
    deaths: [Option<Moment>; RECENT_DEATHS],
}

/// What is in a slot.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nothing until this time, then a fork.
    Waiting { until: Moment },
    /// A fork that was ordered and not yet reported.
    Forking { since: Moment, with_listener: bool },
    /// A worker that is not ready yet.
    Starting(Worker),
    /// A worker that is ready.
    Ready(Worker, Readiness),
    /// A worker that was asked to stop.
    Stopping(Worker, StopOrder),
    /// A worker that stopped, and left processes of its group behind.
    Lingering { pid: u32, deadline: Moment, killed: bool },
    /// Nothing, for good.
    Stopped,
}

/// One process of the user's command.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub pid: u32,
    pub since: Moment,
    pub with_listener: bool,
    pub channel: Channel,
    /// The log knows that it is not ready for long.
    pub reported: bool,
}

impl Worker {
    pub fn new(pid: u32, since: Moment, with_listener: bool, channel: bool) -> Self {
        let channel = if channel { Channel::Silent } else { Channel::None };
        Self { pid, since, with_listener, channel, reported: false }
    }
}

/// What is known of a worker's end of Node's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// It was given none, or has closed it.
    None,
    /// Nothing came from it yet.
    Silent,
    /// Node's cluster module runs.
    Online,
}

/// Since when a worker is ready, and what showed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub since: Moment,
    pub evidence: ReadyEvidence,
    /// It was seen to serve, by this or by later evidence.
    pub served: bool,
}

impl Slot {
    pub fn new(number: u32) -> Self {
        Self {
            number,
            phase: Phase::Waiting { until: Duration::ZERO },
            gate: None,
            failures: 0,
            forks: 0,
            last_exit: None,
            deaths: [None; RECENT_DEATHS],
        }
    }

    pub fn worker(&self) -> Option<&Worker> {
        match &self.phase {
            Phase::Starting(worker) | Phase::Ready(worker, _) | Phase::Stopping(worker, _) => Some(worker),
            _ => None,
        }
    }

    pub fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.phase {
            Phase::Starting(worker) | Phase::Ready(worker, _) | Phase::Stopping(worker, _) => Some(worker),
            _ => None,
        }
    }

    /// The worker, also one that has ended and left processes behind.
    pub fn pid(&self) -> Option<u32> {
        match &self.phase {
            Phase::Lingering { pid, .. } => Some(*pid),
            _ => self.worker().map(|worker| worker.pid),
        }
    }

    pub fn running_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Forking { since, .. } => Some(since),
            _ => self.worker().map(|worker| worker.since),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(..))
    }

    pub fn ready_for(&self, now: Moment) -> Option<Duration> {
        match &self.phase {
            Phase::Ready(_, readiness) => Some(now.saturating_sub(readiness.since)),
            Phase::Stopping(_, order) => order.ready_for,
            _ => None,
        }
    }

    pub fn has_served(&self) -> bool {
        matches!(&self.phase, Phase::Ready(_, readiness) if readiness.served)
    }

    pub fn remember_death(&mut self, now: Moment) {
        self.deaths.rotate_right(1);
        self.deaths[0] = Some(now);
    }

    /// Whether workers in this slot end again and again.
    pub fn is_crash_looping(&self, now: Moment) -> bool {
        let often = self.deaths.last().copied().flatten().is_some_and(|oldest| now.saturating_sub(oldest) <= RECENT);
        let recovered = self.ready_for(now).is_some_and(|time| time >= RECENT / 2);
        (self.failures >= 3 || often) && !recovered
    }
}
