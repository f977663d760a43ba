//! What is read of workers once a second, and the verdicts that follow: over memory, over age, hung.

use std::time::Duration;

use super::replace::Renewal;
use super::settings::{AGE_JITTER, Settings};
use super::slot::{Phase, Vacancy, Worker};
use super::{Change, Effect, Machine, Moment, Reason};

/// What was read of all workers at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// One for each worker that could be read.
    pub workers: Vec<Sample>,
    /// What the container's memory limit leaves, in bytes. `None` where there is no limit, or it is not known.
    pub free_memory: Option<u64>,
    /// Connections that no worker has accepted yet. `None` where nobody knows.
    pub waiting: Option<u32>,
}

/// What was read of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which.
    pub pid: u32,
    /// Its memory (PSS, or RSS where that is below the limit anyway), in bytes.
    pub memory: Option<u64>,
    /// Processor time that it and its threads have used.
    pub cpu: Option<Duration>,
    /// Bytes that it has read and written.
    pub moved: Option<u64>,
    /// Whether a connection of it has bytes that it has not read.
    pub unread: Option<bool>,
}

/// What is known of a worker from samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals {
    pub memory: Option<u64>,
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
        let waiting = samples.waiting.is_some_and(|waiting| waiting > 0);
        for sample in &samples.workers {
            if let Some(worker) = self.worker_mut(sample.pid) {
                worker.vitals.take(sample, waiting || sample.unread == Some(true), now);
            }
        }
        self.adapt(samples.waiting, now);
        for index in 0..self.slots.len() {
            self.judge_memory(index, now, effects);
        }
    }

    /// Whether somebody has to look at the workers from time to time.
    pub(super) fn wants_samples(&self) -> bool {
        self.settings.hang.is_some() || self.settings.recycle.memory.is_some() || self.settings.adaptive.is_some()
    }

    fn judge_memory(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let Some(limit) = self.settings.recycle.memory else { return };
        let slot = &mut self.slots[index];
        let Phase::Ready(worker, _) = &slot.phase else { return };
        let Some(memory) = worker.vitals.memory.filter(|memory| *memory > limit) else { return };
        if slot.renewal.is_none() {
            effects.push(Effect::Change(Change::OverMemory { slot: slot.number, pid: worker.pid, memory, limit }));
            slot.renewal = Some(Renewal::wanted(Reason::OverMemory, now));
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
                && silent >= hang.after
            {
                let slot = self.slots[index].number;
                effects.push(Effect::Change(Change::Hung {
                    slot,
                    pid,
                    silent,
                    promised: worker.vitals.alive_at.is_some(),
                }));
                self.tally.add(Reason::Hung);
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
            let hung = self.settings.hang.and_then(|hang| since.map(|since| since + hang.after));
            age.into_iter().chain(hung).min()
        };
        self.slots.iter().filter_map(due).min()
    }
}

/// When a worker is too old.
fn oldest(settings: &Settings, worker: &Worker) -> Option<Moment> {
    settings.recycle.age.map(|age| worker.since + age.mul_f64(1.0 - AGE_JITTER * worker.jitter))
}
