//! Looks at the workers once a second, while the machine wants to know or somebody watches: memory, processor time,
//! bytes moved, connections with unread bytes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Accepts, Primary};
use crate::ipc::servers::Main;
use crate::machine::{Event, Sample, Samples};
use crate::{listener, proc, sockets};

/// How often. Memory that grows by 100 MB a second is not caught by looking ten times as often either.
const EVERY: Duration = Duration::from_secs(1);

/// Whoever asked within this time is still watching.
const WATCHED_FOR: Duration = Duration::from_secs(5);

/// When to look, and for whom.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    last: Option<Instant>,
    watched: Option<Instant>,
}

impl Sampler {
    /// Somebody looks at the figures of single workers.
    pub fn watch(&mut self) {
        self.watched = Some(Instant::now());
    }

    fn is_watched(&self) -> bool {
        self.watched.is_some_and(|at| at.elapsed() < WATCHED_FOR)
    }
}

impl Primary {
    /// When workers are to be looked at next.
    pub(super) fn next_sample(&self) -> Option<Instant> {
        let wanted = self.sampler.is_watched() || self.machine.watch().samples;
        wanted.then(|| self.sampler.last.map_or_else(Instant::now, |last| last + EVERY))
    }

    pub(super) fn sample_if_due(&mut self) {
        if self.next_sample().is_some_and(|due| Instant::now() >= due) {
            self.sample(false);
        }
    }

    /// Looks now, unless somebody has just looked; `exactly` for somebody who wants PSS of all, as whoever watches gets it.
    pub(super) fn sample_now(&mut self, exactly: bool) {
        if self.sampler.last.is_none_or(|last| last.elapsed() >= EVERY / 2) {
            self.sample(exactly);
        }
    }

    fn sample(&mut self, exactly: bool) {
        let exact = exactly || self.sampler.is_watched();
        self.sampler.last = Some(Instant::now());
        let mut groups: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
        for (pid, times) in proc::times() {
            groups.entry(times.group).or_default().push((pid, times.ticks));
        }
        let unread = self.unread_connections();
        let limit = self.machine.memory_limit();
        let workers = self.machine.workers().into_iter().filter_map(|worker| {
            let members = groups.get(&worker)?;
            let pids = || members.iter().map(|(pid, _)| *pid);
            let ticks = members.iter().fold(0_u64, |sum, (_, ticks)| sum.saturating_add(*ticks));
            Some(Sample {
                pid: worker,
                memory: memory(pids(), limit, exact),
                resident: resident(pids()),
                cpu: Some(processor_time(ticks)),
                moved: pids().map(proc::moved).sum(),
                unread: self
                    .owes_an_answer(worker)
                    .or_else(|| self.is_busy_in_queue(worker).filter(|is_busy| *is_busy))
                    .or_else(|| unread.as_ref().map(|unread| pids().any(|pid| proc::holds(pid, unread) == Some(true)))),
                waiting: self.waiting_for(worker),
                served: self.served_by(worker),
            })
        });
        let samples = Samples {
            workers: workers.collect(),
            free_memory: self.samples.free_memory(),
            memory_limit: self.samples.memory_limit(),
            waiting: self.waiting(),
            taken: self.taken_in_queue(),
        };
        self.feed(Event::Sampled(samples));
    }

    /// How many connections no worker has accepted yet, on the primary's port and on those that Node workers asked for.
    pub(super) fn waiting(&self) -> Option<u32> {
        let main = self.main.as_ref().map(Main::queue);
        let opened = self.servers.listeners().map(|(_, socket)| listener::queue(socket));
        let mut depths = main.into_iter().chain(opened).map(|queue| Some(queue?.depth)).peekable();
        depths.peek()?;
        let held = self.queue.as_ref().map_or(0, |queue| u32::try_from(queue.desk.waiting()).unwrap_or(u32::MAX));
        depths.try_fold(held, |sum, depth| Some(sum.saturating_add(depth?)))
    }

    /// How many wait for one worker, where that is not whoever waits for all: each may have a socket of its own.
    fn waiting_for(&self, worker: u32) -> Option<u32> {
        if let Some(queue) = &self.queue {
            let mut elsewhere = self.servers.listeners_of(worker).map(|socket| Some(listener::queue(socket)?.depth));
            // None of the requests that the primary holds is a worker's before it has it, and one that affinity leaves idle has nothing to do while others
            // wait for another. But one that takes none any more ought to.
            let child = self.children.get(&worker)?;
            let held =
                if child.accepts == Accepts::NoMore || queue.desk.rests(child.id) { queue.desk.waiting() } else { 0 };
            let held = u32::try_from(held).unwrap_or(u32::MAX);
            return elsewhere.try_fold(held, |sum: u32, depth| Some(sum.saturating_add(depth?)));
        }
        let main = self.main.as_ref().filter(|_| self.is_steered())?;
        let slot = self.machine.slot_of(worker)?;
        Some(listener::queue(main.of(slot))?.depth)
    }

    /// A worker that was handed a connection and has not answered has something to do.
    fn owes_an_answer(&self, pid: u32) -> Option<bool> {
        self.passing.owes(self.children.get(&pid)?.id).then_some(true)
    }

    /// Only a hang is judged by it, and it costs reading the kernel's table of connections.
    fn unread_connections(&self) -> Option<sockets::Inodes> {
        self.machine.settings().hang?;
        // Who has a request behind Queue is known there.
        let ports = if self.queue.is_some() { self.servers.ports() } else { self.ports() };
        (!ports.is_empty()).then(|| sockets::unread_on(&ports))?
    }
}

/// The memory of a worker's processes: RSS, which costs little, and PSS, which is never more, where that is the question.
fn memory(pids: impl Iterator<Item = u32> + Clone, limit: Option<u64>, exact: bool) -> Option<u64> {
    let resident = resident(pids.clone());
    if exact || limit.is_some_and(|limit| resident.is_some_and(|resident| resident > limit)) {
        let proportional: Option<u64> = pids.map(proc::proportional_memory).sum();
        return proportional.or(resident);
    }
    resident
}

fn resident(pids: impl Iterator<Item = u32>) -> Option<u64> {
    let resident: u64 = pids.filter_map(proc::resident_memory).sum();
    (resident > 0).then_some(resident)
}

fn processor_time(ticks: u64) -> Duration {
    let rate = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(ticks / rate) + Duration::from_nanos(ticks % rate * (1_000_000_000 / rate))
}
