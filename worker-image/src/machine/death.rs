//! The end of a worker: under which verdict it counts, and what follows for its slot and for the port.

use super::port::Death;
use super::slot::{Phase, Place, Worker};
use super::{Effect, Exit, Machine, Moment, Note, Reason, SETTLED};

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: u32,
    /// How.
    pub exit: Exit,
    /// Whether the kernel killed it for memory.
    pub out_of_memory: bool,
    /// Whether processes of its group are left.
    pub group_left: bool,
}

impl Machine {
    pub(super) fn on_exited(&mut self, ended: &Ended, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(ended.pid) else { return };
        let slot = &mut self.slots[index];
        let Some(place) = slot.place_of(ended.pid) else { return };
        let Some(worker) = slot.worker_mut(ended.pid).cloned() else { return };
        let ready_for = match place {
            Place::Incumbent => slot.ready_for(now),
            Place::Successor => None,
            Place::Leaving(at) => slot.leaving.get(at).and_then(|leaving| leaving.ready_for),
        };
        effects.push(Effect::Note(Note::Exited {
            slot: slot.number,
            pid: ended.pid,
            exit: ended.exit.clone(),
            lived: now.saturating_sub(worker.since),
            was_ready: ready_for.is_some(),
            out_of_memory: ended.out_of_memory,
        }));
        slot.last_exit = Some(ended.exit.clone());
        if ended.out_of_memory {
            self.out_of_memory.add(slot.number, now);
        }
        match place {
            Place::Leaving(at) => self.on_leaver_ended(index, at, ended, now, effects),
            Place::Successor => {
                slot.successor = None;
                ended.exit.count(&mut self.deaths, false, ended.out_of_memory);
                self.on_renewal_failed(index, &ended.exit.to_string(), now, effects);
            }
            Place::Incumbent => self.on_incumbent_ended(index, &worker, ended, now, effects),
        }
    }

    fn on_leaver_ended(&mut self, index: usize, at: usize, ended: &Ended, now: Moment, effects: &mut Vec<Effect>) {
        let draining = self.is_draining();
        let Some(left) = self.on_left(index, at, ended.group_left, now, effects) else { return };
        match left.reason {
            // What was asked for is no death; this nobody asked for.
            Reason::ByItself if !draining => {
                self.slots[index].remember_death(now);
                ended.exit.count(&mut self.deaths, left.ready_for.is_some(), ended.out_of_memory);
            }
            Reason::Hung => self.slots[index].remember_death(now),
            _ => {}
        }
    }

    fn on_incumbent_ended(
        &mut self,
        index: usize,
        worker: &Worker,
        ended: &Ended,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let another_runs = self.slots.iter().enumerate().any(|(other, slot)| other != index && slot.is_ready());
        let slot = &mut self.slots[index];
        slot.remember_death(now);
        let (ready_for, served) = (slot.ready_for(now), slot.has_served());
        ended.exit.count(&mut self.deaths, ready_for.is_some(), ended.out_of_memory);
        let lived = now.saturating_sub(worker.since);
        let failed = ended.exit.is_failure_of_its_own() && !ended.out_of_memory;
        let death = Death { slot: slot.number, had_listener: worker.with_listener, failed, served, lived };
        if lived >= self.settings.backoff.reset_after {
            slot.failures = 0;
        }
        if slot.succeed() {
            return;
        }
        if self.port.on_death(death, now, another_runs) {
            effects.push(Effect::Reopen);
        }
        if ready_for.is_some_and(|time| time >= SETTLED) {
            self.slots[index].phase = Phase::Waiting { until: now };
        } else {
            self.back_off(index, now, effects);
        }
        self.on_renewal_failed(index, &ended.exit.to_string(), now, effects);
    }

    /// Puts a slot into back-off after one more early death.
    pub(super) fn back_off(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let jitter = self.jitter.next();
        let contested = self.port.is_contested();
        let slot = &mut self.slots[index];
        slot.failures = slot.failures.saturating_add(1);
        // While another worker has the port, forking soon cannot help.
        let failures = if contested { u32::MAX } else { slot.failures };
        let wait = self.settings.backoff.delay(failures, jitter);
        slot.phase = Phase::Waiting { until: now + wait };
        effects.push(Effect::Note(Note::BackOff { slot: slot.number, wait, failures: slot.failures }));
    }
}
