//! One worker's place, what is in it, and what makes the worker in it ready.

use std::fmt;
use std::time::Duration;

use primary_protocol::{Deaths, ReadyEvidence};

use super::stop::StopOrder;
use super::{CHANNEL_SILENT_FACTOR, Effect, Machine, Moment, NEVER_READY, Note, ReadyRule};

/// So many deaths within [`RECENT`] are a crash loop, also when each worker was ready before.
const RECENT_DEATHS: usize = 5;

/// See [`RECENT_DEATHS`].
const RECENT: Duration = Duration::from_secs(60);

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its program could not be executed; the words say why.
    NotExecuted(String),
}

impl Exit {
    /// Whether the program ended with an error of its own, as opposed to a kill from outside.
    pub(super) fn is_failure_of_its_own(&self) -> bool {
        matches!(self, Self::Code(code) if *code != 0) || *self == Self::Signal(libc::SIGABRT)
    }

    /// Counts a death under exactly one verdict.
    pub(super) fn count(&self, deaths: &mut Deaths, was_ready: bool, out_of_memory: bool) {
        match self {
            _ if out_of_memory => deaths.out_of_memory += 1,
            _ if !was_ready => deaths.never_ready += 1,
            Self::Code(0) => deaths.exited += 1,
            _ => deaths.crashed += 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(formatter, "signal {signal} ({name})"),
                None => write!(formatter, "signal {signal}"),
            },
            Self::NotExecuted(why) => formatter.write_str(why),
        }
    }
}

/// The name of a signal that commonly ends programs.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

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
    /// Node's channel is open.
    pub channel: bool,
    /// Node's cluster module runs in it.
    pub online: bool,
    /// The log knows that it is not ready for long.
    pub reported: bool,
}

impl Worker {
    pub fn new(pid: u32, since: Moment, with_listener: bool, channel: bool) -> Self {
        Self { pid, since, with_listener, channel, online: false, reported: false }
    }
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

/// Whether a worker was seen to serve, and not only to live.
fn shows_service(evidence: ReadyEvidence) -> bool {
    matches!(evidence, ReadyEvidence::Listening | ReadyEvidence::Notify | ReadyEvidence::OwnSocket)
}

impl ReadyRule {
    fn accepts(self, evidence: ReadyEvidence) -> bool {
        match self {
            Self::Auto | Self::Immediate => true,
            Self::Notify => evidence == ReadyEvidence::Notify,
            Self::Listening => matches!(evidence, ReadyEvidence::Listening | ReadyEvidence::OwnSocket),
        }
    }
}

impl Machine {
    pub(super) fn on_evidence(&mut self, pid: u32, evidence: ReadyEvidence, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        if shows_service(evidence) {
            let with_listener = self.slots[index].worker().is_some_and(|worker| worker.with_listener);
            let owned = self.port.is_owned();
            self.port.on_served(index, with_listener);
            if !owned && self.port.is_owned() {
                effects.push(Effect::Note(Note::PortOwnedByWorker { slot: self.slots[index].number }));
            }
        }
        if self.policy.ready.accepts(evidence) {
            self.become_ready(index, evidence, now, effects);
        }
    }

    /// A worker was seen to use the inherited socket: evidence about the port, and of readiness where it is asked for.
    pub(super) fn on_uses_listener(&mut self, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        let Some(true) = self.slots[index].worker().map(|worker| worker.with_listener) else { return };
        self.port.on_served(index, true);
        if self.policy.ready == ReadyRule::Listening {
            self.become_ready(index, ReadyEvidence::Listening, now, effects);
        } else if let Phase::Ready(_, readiness) = &mut self.slots[index].phase {
            readiness.served = true;
        }
    }

    pub(super) fn become_ready(
        &mut self,
        index: usize,
        evidence: ReadyEvidence,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        match &mut slot.phase {
            Phase::Starting(worker) => {
                let after = now.saturating_sub(worker.since);
                effects.push(Effect::Note(Note::Ready { slot: slot.number, pid: worker.pid, evidence, after }));
                let readiness = Readiness { since: now, evidence, served: shows_service(evidence) };
                slot.phase = Phase::Ready(worker.clone(), readiness);
                self.served = true;
            }
            // Better evidence than that it is alive comes late from programs that start slowly.
            Phase::Ready(_, readiness) if shows_service(evidence) => {
                readiness.served = true;
                if matches!(readiness.evidence, ReadyEvidence::Alive) {
                    readiness.evidence = evidence;
                }
            }
            _ => {}
        }
    }

    /// How long a worker has to be alive to be ready for nothing better; `None` if something better is to be had.
    pub(super) fn alive_suffices_after(&self, worker: &Worker) -> Option<Duration> {
        if self.policy.ready != ReadyRule::Auto || self.port.wants_own_socket() {
            return None;
        }
        match (worker.channel, worker.online) {
            (true, true) if self.policy.listens => None,
            (true, false) => Some(self.policy.startup * CHANNEL_SILENT_FACTOR),
            _ => Some(self.policy.startup),
        }
    }

    pub(super) fn advance_readiness(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let Phase::Starting(worker) = &self.slots[index].phase else { continue };
            let lived = now.saturating_sub(worker.since);
            if self.alive_suffices_after(worker).is_some_and(|time| lived >= time) {
                self.become_ready(index, ReadyEvidence::Alive, now, effects);
                continue;
            }
            let slot = &mut self.slots[index];
            let Phase::Starting(worker) = &mut slot.phase else { continue };
            if lived >= NEVER_READY && !worker.reported {
                worker.reported = true;
                effects.push(Effect::Note(Note::NeverReady { slot: slot.number, pid: worker.pid, after: lived }));
            }
        }
    }
}
