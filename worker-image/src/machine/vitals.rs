//! What is read of workers once a second, and the verdicts that follow: over memory, over age, hung.

use std::time::Duration;

use primary_protocol::Usage;

use super::replace::Renewal;
use super::settings::{AGE_JITTER, Settings};
use super::slot::{Phase, Vacancy, Worker};
use super::{Change, Effect, Machine, Moment, Reason};

/// A worker that was ready for so long has loaded what it needs.
const SETTLES: Duration = Duration::from_secs(30);

/// Growth that shows a leak, in percent of what a worker had settled at: much while there is time, and little when the container is as full as
/// [`NEARLY_OUT`], where all that leak alike may be killed together.
const GROWN: u64 = 150;

/// See [`GROWN`].
const GROWN_WHEN_NEARLY_OUT: u64 = 110;

/// In percent of the container's memory.
const NEARLY_OUT: u64 = 95;

/// From one worker that gave way because the container was nearly full to the next.
const BETWEEN_RELIEFS: Duration = Duration::from_secs(60);

/// What was read of all workers at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// One for each worker that could be read.
    pub workers: Vec<Sample>,
    /// What the container's memory limit leaves, in bytes. `None` where there is no limit, or it is not known.
    pub free_memory: Option<u64>,
    /// The container's memory limit, in bytes. `None` where there is none, or it is not known.
    pub memory_limit: Option<u64>,
    /// Connections that no worker has accepted yet. `None` where nobody knows.
    pub waiting: Option<u32>,
    /// Places that are taken by requests, in percent of one worker's: 150 where one has as many as it may, and another half of that. `None` where nobody
    /// knows.
    pub taken: Option<u32>,
}

/// What was read of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which.
    pub pid: u32,
    /// Its memory (PSS, or RSS where that is below the limit anyway), in bytes.
    pub memory: Option<u64>,
    /// Its RSS in bytes: always measured alike, so that growth is seen by it.
    pub resident: Option<u64>,
    /// Processor time that it and its threads have used.
    pub cpu: Option<Duration>,
    /// Bytes that it has read and written.
    pub moved: Option<u64>,
    /// Whether a connection of it has bytes that it has not read.
    pub unread: Option<bool>,
    /// Connections that wait for it alone. `None` where all workers take from the same queues.
    pub waiting: Option<u32>,
    /// Requests that it has answered. `None` where nobody counts them.
    pub served: Option<u64>,
}

/// What is known of a worker from samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals {
    pub memory: Option<u64>,
    resident: Option<u64>,
    /// Its RSS when it had been ready for [`SETTLES`].
    settled: Option<u64>,
    /// The share of one processor that it used between the last two samples.
    pub load: Option<f64>,
    cpu: Option<(Moment, Duration)>,
    moved: Option<u64>,
    /// Since when work waits for it and nothing moves.
    stuck_since: Option<Moment>,
    /// The last `WATCHDOG=1`.
    alive_at: Option<Moment>,
}

impl Vitals {
    fn take(&mut self, sample: &Sample, has_work: bool, now: Moment) {
        self.memory = sample.memory.or(self.memory);
        self.resident = sample.resident.or(self.resident);
        let worked = match (self.cpu, sample.cpu) {
            (Some((at, before)), Some(cpu)) if now > at => {
                let used = cpu.saturating_sub(before);
                self.load = Some(used.as_secs_f64() / now.saturating_sub(at).as_secs_f64());
                used > Duration::ZERO
            }
            _ => true, // nothing to compare with: no evidence against it
        };
        let moved = match (self.moved, sample.moved) {
            (Some(before), Some(moved)) => moved != before,
            // The kernel does not tell: processor time alone decides, as nothing can be moved without any.
            (_, None) => false,
            (None, Some(_)) => true,
        };
        self.cpu = sample.cpu.map(|cpu| (now, cpu)).or(self.cpu);
        self.moved = sample.moved.or(self.moved);
        self.stuck_since = if has_work && !worked && !moved { self.stuck_since.or(Some(now)) } else { None };
    }

    /// As people and the operator are told it; percent to a tenth.
    pub fn usage(&self) -> Usage {
        let cpu_percent = self.load.map(|load| (load * 1000.0).round() / 10.0);
        Usage { memory_bytes: self.memory, cpu_percent, ..Usage::default() }
    }

    /// How long the worker has been without a sign of life, or stuck with work in flight.
    fn silent_for(&self, now: Moment) -> Option<Duration> {
        let since = match self.alive_at {
            Some(at) => at, // it promised to say so, and is held to that
            None => self.stuck_since?,
        };
        Some(now.saturating_sub(since))
    }
}

impl Machine {
    /// A worker sent `WATCHDOG=1`.
    pub(super) fn on_alive(&mut self, pid: u32, now: Moment) {
        if let Some(worker) = self.worker_mut(pid) {
            worker.vitals.alive_at = Some(now);
        }
    }

    pub(super) fn on_samples(&mut self, samples: &Samples, now: Moment, effects: &mut Vec<Effect>) {
        self.free_memory = samples.free_memory;
        self.limited = Some(samples.memory_limit.is_some());
        let waiting = samples.waiting.is_some_and(|waiting| waiting > 0);
        for sample in &samples.workers {
            if let Some(worker) = self.worker_mut(sample.pid) {
                let waiting = sample.waiting.map_or(waiting, |own| own > 0);
                worker.vitals.take(sample, waiting || sample.unread == Some(true), now);
            }
        }
        self.adapt(samples.waiting, samples.taken, now);
        for index in 0..self.slots.len() {
            self.settle_memory(index, now);
            self.judge_memory(index, now, effects);
            self.judge_requests(index, samples, now);
        }
        self.judge_container(samples, now, effects);
    }

    /// Remembers what a worker needs that has begun and done nothing much yet.
    fn settle_memory(&mut self, index: usize, now: Moment) {
        if let Phase::Ready(worker, readiness) = &mut self.slots[index].phase
            && now.saturating_sub(readiness.since) >= SETTLES
        {
            worker.vitals.settled = worker.vitals.settled.or(worker.vitals.resident);
        }
    }

    /// Where the container is nearly full, the largest of those that have grown gives way: with cgroups of version 2 the kernel would kill
    /// all of them at once. One at a time, and not one after another: if nobody has grown, a fresh worker would be as large.
    fn judge_container(&mut self, samples: &Samples, now: Moment, effects: &mut Vec<Effect>) {
        let (Some(percent), Some(limit), Some(free)) =
            (self.settings.recycle.container_percent, samples.memory_limit, samples.free_memory)
        else {
            return;
        };
        let used = limit.saturating_sub(free);
        let full = |percent: u64| used / 100 >= limit / 100 * percent / 100;
        let busy = self.slots.iter().any(|slot| slot.renewal.is_some() || slot.successor.is_some());
        if !full(percent.into()) || busy || self.relieved_at.is_some_and(|at| now.saturating_sub(at) < BETWEEN_RELIEFS)
        {
            return;
        }
        let enough = if full(NEARLY_OUT) { GROWN_WHEN_NEARLY_OUT } else { GROWN };
        let grown = |slot: &super::slot::Slot| {
            let Phase::Ready(worker, _) = &slot.phase else { return None };
            let (memory, settled) = (worker.vitals.resident?, worker.vitals.settled?);
            (memory >= (settled / 100).saturating_mul(enough)).then_some(memory)
        };
        let largest =
            self.slots.iter_mut().filter_map(|slot| Some((grown(slot)?, slot))).max_by_key(|(memory, _)| *memory);
        if let Some((memory, slot)) = largest
            && let Some(pid) = slot.incumbent().map(|worker| worker.pid)
        {
            effects.push(Effect::Change(Change::ContainerFull { slot: slot.number, pid, memory, used, limit }));
            slot.renewal = Some(Renewal::wanted(Reason::OverMemory, now));
            self.over_memory.add(slot.number, now);
            self.relieved_at = Some(now);
        }
    }

    /// Whether somebody has to look at the workers from time to time.
    pub(super) fn wants_samples(&self) -> bool {
        let recycle = &self.settings.recycle;
        // Where the container has no limit of memory, it is never full.
        let container = recycle.container_percent.is_some() && self.limited != Some(false);
        let memory = recycle.memory.is_some() || container;
        let requests = recycle.requests.is_some();
        self.settings.hang.is_some() || memory || requests || self.settings.adaptive.is_some()
    }

    fn judge_memory(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let Some(limit) = self.settings.recycle.memory else { return };
        let slot = &mut self.slots[index];
        let Phase::Ready(worker, _) = &slot.phase else { return };
        let Some(memory) = worker.vitals.memory.filter(|memory| *memory > limit) else { return };
        if slot.renewal.is_none() {
            effects.push(Effect::Change(Change::OverMemory { slot: slot.number, pid: worker.pid, memory, limit }));
            slot.renewal = Some(Renewal::wanted(Reason::OverMemory, now));
            self.over_memory.add(slot.number, now);
        }
    }

    /// A worker that has answered as many requests as it may gives way.
    fn judge_requests(&mut self, index: usize, samples: &Samples, now: Moment) {
        let Some(most) = self.settings.recycle.requests else { return };
        let slot = &mut self.slots[index];
        let Phase::Ready(worker, _) = &slot.phase else { return };
        let served = samples.workers.iter().find(|sample| sample.pid == worker.pid).and_then(|sample| sample.served);
        // So small a share of a number that a person wrote is exact enough.
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let spared = (most as f64 * AGE_JITTER * worker.jitter) as u64;
        if served.is_some_and(|served| served >= most.saturating_sub(spared).max(1)) && slot.renewal.is_none() {
            slot.renewal = Some(Renewal::wanted(Reason::OverRequests, now));
        }
    }

    /// Verdicts that only time brings about: too old, silent for too long.
    pub(super) fn advance_verdicts(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.stop.is_some() {
            return;
        }
        for index in 0..self.slots.len() {
            let Phase::Ready(worker, readiness) = &self.slots[index].phase else { continue };
            let (pid, ready_at) = (worker.pid, readiness.since);
            if let Some(hang) = self.settings.hang
                && let Some(silent) = worker.vitals.silent_for(now).map(|time| time.min(now.saturating_sub(ready_at)))
                && silent >= worker.may_be_silent(hang.after)
            {
                let slot = self.slots[index].number;
                effects.push(Effect::Change(Change::Hung {
                    slot,
                    pid,
                    silent,
                    promised: worker.vitals.alive_at.is_some(),
                }));
                super::reason::count(Reason::Hung, &mut self.replaced);
                self.hung.add(slot, now);
                self.vacate(index, Vacancy::Handover, Reason::Hung, now, effects);
                self.slots[index].succeed(); // else nobody runs, and whoever is forked next is fresh
                continue;
            }
            let due = oldest(&self.settings, worker);
            if due.is_some_and(|due| now >= due) && self.slots[index].renewal.is_none() {
                self.slots[index].renewal = Some(Renewal::wanted(Reason::OverAge, now));
            }
        }
    }

    /// When the next of these verdicts is due, if nothing else happens.
    pub(super) fn verdicts_due(&self) -> Option<Moment> {
        if self.stop.is_some() {
            return None;
        }
        let due = |slot: &super::slot::Slot| {
            let Phase::Ready(worker, readiness) = &slot.phase else { return None };
            let age = oldest(&self.settings, worker).filter(|_| slot.renewal.is_none());
            let since = worker.vitals.alive_at.or(worker.vitals.stuck_since).map(|at| at.max(readiness.since));
            let hung = self.settings.hang.and_then(|hang| since.map(|since| since + worker.may_be_silent(hang.after)));
            age.into_iter().chain(hung).min()
        };
        self.slots.iter().filter_map(due).min()
    }
}

impl Worker {
    /// A worker that says so when it is alive does that as often as it was asked to when it was forked, also where less is allowed by now.
    fn may_be_silent(&self, after: Duration) -> Duration {
        self.promised.filter(|_| self.vitals.alive_at.is_some()).map_or(after, |promised| promised.max(after))
    }
}

/// When a worker is too old.
fn oldest(settings: &Settings, worker: &Worker) -> Option<Moment> {
    settings.recycle.age.map(|age| worker.since + age.mul_f64(1.0 - AGE_JITTER * worker.jitter))
}
