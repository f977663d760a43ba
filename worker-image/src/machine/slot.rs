//! One worker's place, and who is in it: the worker that counts, the one that is to take its place, and those that
//! were asked to leave.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::replace::Renewal;
use super::{Exit, Moment, Reason};

/// So many deaths within [`RECENT`] are a crash loop, also when each worker was ready before.
const RECENT_DEATHS: usize = 5;

/// See [`RECENT_DEATHS`].
const RECENT: Duration = Duration::from_secs(60);

/// So many workers of a slot may be leaving at a time before the next is forked: one that drains, and one that was
/// forked after it and is to go as well.
pub(super) const LEAVING_MAX: usize = 2;

/// One worker's place; it outlives the processes in it. Its number is the worker's `NODE_UNIQUE_ID`.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub number: u32,
    pub phase: Phase,
    /// Forked beside the incumbent, to take its place when it is ready.
    pub successor: Option<Successor>,
    /// Asked to stop, or stopping by themselves.
    pub leaving: Vec<Leaving>,
    /// A fresh worker is wanted, or on its way.
    pub renewal: Option<Renewal>,
    /// Until when the port's diagnosis holds the next fork back.
    pub gate: Option<Moment>,
    /// Early deaths in a row.
    pub failures: u32,
    /// Whether a worker ever ran here.
    pub used: bool,
    /// Workers forked to replace one that ended without having been asked to.
    pub restarts: u64,
    /// The next fork replaces a worker that was asked to leave, and is no restart.
    pub planned: bool,
    pub last_exit: Option<Exit>,
    /// The times of the last deaths, newest first.
    deaths: [Option<Moment>; RECENT_DEATHS],
}

/// What the slot's own worker, the incumbent, is doing.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nobody until this time, then a fork.
    Waiting { until: Moment },
    /// A fork that was ordered and not yet reported.
    Forking { since: Moment, with_listener: bool },
    /// A worker that is not ready yet.
    Starting(Worker),
    /// A worker that is ready.
    Ready(Worker, Readiness),
    /// Nobody.
    Empty(Vacancy),
}

/// Why nobody is to be forked for a slot now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// The worker before has to end first.
    Handover,
    /// Drained by order, until an order to the contrary.
    Drained,
    /// There are more slots than workers wanted.
    Surplus,
    /// The replica ends.
    Stopped,
}

/// A worker that is to take the incumbent's place.
#[derive(Clone, Debug)]
pub(super) enum Successor {
    /// Ordered and not yet reported.
    Forking { since: Moment, with_listener: bool },
    /// Not ready yet.
    Starting(Worker),
    /// Ready, and to take the place when it has stayed so: one that ends at once takes nobody's.
    Ready(Worker, Readiness),
}

/// A worker on its way out.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub worker: Worker,
    pub reason: Reason,
    /// It is to be told when nobody waits in its accept queue, and at this time at the latest.
    pub untold_until: Option<Moment>,
    /// From then on connections of another protocol do not keep it from being told.
    pub upgraded_until: Moment,
    /// When the worker gets the signal, if it has not had it.
    pub signal_at: Option<Moment>,
    /// When its whole group is killed.
    pub deadline: Moment,
    /// It was.
    pub killed: bool,
    /// How long it had been ready.
    pub ready_for: Option<Duration>,
    /// It has ended, and left processes of its group behind.
    pub lingers: bool,
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
    /// From 0 to 1, drawn when it was forked.
    pub jitter: f64,
    /// Within what time it was asked to say that it is alive, when it was forked.
    pub promised: Option<Duration>,
    /// What was read of it last.
    pub vitals: super::vitals::Vitals,
}

impl Worker {
    pub fn new(pid: u32, since: Moment, with_listener: bool, channel: bool, jitter: f64) -> Self {
        let channel = if channel { Channel::Silent } else { Channel::None };
        let vitals = super::vitals::Vitals::default();
        Self { pid, since, with_listener, channel, reported: false, jitter, promised: None, vitals }
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

/// Where in a slot a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Incumbent,
    Successor,
    Leaving(usize),
}

impl Slot {
    pub fn new(number: u32, now: Moment) -> Self {
        Self {
            number,
            phase: Phase::Waiting { until: now },
            successor: None,
            leaving: Vec::new(),
            renewal: None,
            gate: None,
            failures: 0,
            used: false,
            restarts: 0,
            planned: false,
            last_exit: None,
            deaths: [None; RECENT_DEATHS],
        }
    }

    /// The slot's own worker.
    pub fn incumbent(&self) -> Option<&Worker> {
        match &self.phase {
            Phase::Starting(worker) | Phase::Ready(worker, _) => Some(worker),
            _ => None,
        }
    }

    /// The worker that is to take the incumbent's place.
    pub fn heir(&self) -> Option<&Worker> {
        match &self.successor {
            Some(Successor::Starting(worker) | Successor::Ready(worker, _)) => Some(worker),
            _ => None,
        }
    }

    /// Since when it has been ready.
    pub fn heir_ready_since(&self) -> Option<Moment> {
        match &self.successor {
            Some(Successor::Ready(_, readiness)) => Some(readiness.since),
            _ => None,
        }
    }

    /// Every worker of the slot that runs: the incumbent first, those that leave last.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        let leaving = self.leaving.iter().filter(|leaving| !leaving.lingers).map(|leaving| &leaving.worker);
        self.incumbent().into_iter().chain(self.heir()).chain(leaving)
    }

    /// Who has this process id, also one that has ended and left processes behind.
    pub fn place_of(&self, pid: u32) -> Option<Place> {
        if self.incumbent().is_some_and(|worker| worker.pid == pid) {
            return Some(Place::Incumbent);
        }
        if self.heir().is_some_and(|worker| worker.pid == pid) {
            return Some(Place::Successor);
        }
        self.leaving.iter().position(|leaving| leaving.worker.pid == pid).map(Place::Leaving)
    }

    pub fn worker_mut(&mut self, pid: u32) -> Option<&mut Worker> {
        match self.place_of(pid)? {
            Place::Incumbent => match &mut self.phase {
                Phase::Starting(worker) | Phase::Ready(worker, _) => Some(worker),
                _ => None,
            },
            Place::Successor => match &mut self.successor {
                Some(Successor::Starting(worker) | Successor::Ready(worker, _)) => Some(worker),
                _ => None,
            },
            Place::Leaving(at) => self.leaving.get_mut(at).map(|leaving| &mut leaving.worker),
        }
    }

    /// Whoever was to take the place later takes it now, since nobody has it any more. Says whether somebody was.
    pub fn succeed(&mut self) -> bool {
        self.phase = match self.successor.take() {
            Some(Successor::Starting(heir)) => Phase::Starting(heir),
            Some(Successor::Ready(heir, readiness)) => Phase::Ready(heir, readiness),
            Some(Successor::Forking { since, with_listener }) => Phase::Forking { since, with_listener },
            None => return false,
        };
        true
    }

    /// When the slot's own worker, or another that is still here, was forked.
    pub fn running_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Forking { since, .. } => Some(since),
            _ => self.workers().map(|worker| worker.since).max(),
        }
    }

    /// Nobody is here, and nobody is on the way in.
    pub fn is_deserted(&self) -> bool {
        matches!(self.phase, Phase::Empty(_) | Phase::Waiting { .. })
            && self.successor.is_none()
            && self.leaving.is_empty()
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(..))
    }

    pub fn ready_for(&self, now: Moment) -> Option<Duration> {
        match &self.phase {
            Phase::Ready(_, readiness) => Some(now.saturating_sub(readiness.since)),
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
