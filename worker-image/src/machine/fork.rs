//! When the next worker is forked, and what becomes of the fork.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::port::{Death, Gate};
use super::slot::{LEAVING_MAX, Phase, Slot, Successor, Worker};
use super::{Effect, Exit, Machine, Moment, Note, ReadyRule};

/// Whoever has not become ready in this time holds up the next start no longer: it may wait for something else than a processor.
const STARTS_FOR: Duration = Duration::from_millis(200);

/// The first worker of all starts alone for so long, where there are more workers than processors: most of what Node does until it listens. Two
/// that start beside each other are both late, and somebody waits for the first answer.
const HEAD_START: Duration = Duration::from_millis(40);

impl Machine {
    /// So many workers may start at a time from now on: as many as there are processors.
    pub fn start_at_once(&mut self, most: u32) {
        self.policy.starts_at_once = most;
    }

    /// When fewer workers start than may at a time, if nothing happens before.
    pub(super) fn starts_free_at(&self) -> Moment {
        let starts = |slot: &Slot| match &slot.phase {
            Phase::Forking { since, .. } => Some(*since),
            Phase::Starting(worker) => Some(worker.since),
            _ => None,
        };
        let mut starts: Vec<Moment> = self.slots.iter().filter_map(starts).collect();
        starts.sort_unstable();
        let most = usize::try_from(self.policy.starts_at_once.max(1)).unwrap_or(usize::MAX);
        let full = starts.len().checked_sub(most).and_then(|at| starts.get(at)).map(|since| *since + STARTS_FOR);
        let crowded = !self.served && self.policy.starts_at_once < self.desired();
        let alone = starts.first().filter(|_| crowded).map(|since| *since + HEAD_START);
        full.into_iter().chain(alone).max().unwrap_or_default()
    }

    pub(super) fn fork_due(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.is_draining() {
            return;
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let Phase::Waiting { until } = slot.phase else { continue };
            if until > now || slot.leaving.len() >= LEAVING_MAX || self.starts_free_at() > now {
                continue;
            }
            let siblings: Vec<Moment> = self.slots.iter().filter_map(Slot::running_since).collect();
            let with_listener = match self.port.gate(slot.number, now, &siblings, self.slots.len() > 1) {
                Gate::Fork { with_listener } => with_listener,
                Gate::ReleaseAndFork => {
                    effects.push(Effect::Release);
                    effects.push(Effect::Note(Note::PortReleased));
                    false
                }
                Gate::Reopen => {
                    effects.push(Effect::Reopen);
                    return;
                }
                Gate::Wait(gate) => {
                    self.slots[index].gate = gate;
                    continue;
                }
            };
            let slot = &mut self.slots[index];
            slot.gate = None;
            slot.phase = Phase::Forking { since: now, with_listener };
            effects.push(Effect::Fork { slot: slot.number, with_listener });
        }
    }

    pub(super) fn on_forked(&mut self, number: u32, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let (jitter, channel) = (self.jitter.next(), self.policy.channel);
        let promised = self.settings.hang.map(|hang| hang.after);
        let new = |with_listener| Worker { promised, ..Worker::new(pid, now, with_listener, channel, jitter) };
        let Some(index) = self.slots.iter().position(|slot| slot.number == number) else { return };
        let slot = &mut self.slots[index];
        let with_listener = match (&slot.phase, &slot.successor) {
            (Phase::Forking { with_listener, .. }, _) => {
                let with_listener = *with_listener;
                slot.phase = Phase::Starting(new(with_listener));
                slot.restarts += u64::from(slot.used && !slot.planned);
                (slot.used, slot.planned) = (true, false);
                with_listener
            }
            (_, Some(Successor::Forking { with_listener, .. })) => {
                let with_listener = *with_listener;
                slot.successor = Some(Successor::Starting(new(with_listener)));
                with_listener
            }
            _ => return,
        };
        effects.push(Effect::Note(Note::Forked { slot: number, pid, with_listener }));
        if self.policy.ready == ReadyRule::Immediate {
            self.become_ready(index, pid, ReadyEvidence::Immediate, now, effects);
        }
    }

    pub(super) fn on_fork_failed(&mut self, number: u32, exit: Exit, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.slots.iter().position(|slot| slot.number == number) else { return };
        let slot = &mut self.slots[index];
        let is_incumbent = matches!(slot.phase, Phase::Forking { .. });
        if !is_incumbent && !matches!(slot.successor, Some(Successor::Forking { .. })) {
            return;
        }
        let why = exit.to_string();
        effects.push(Effect::Note(Note::ForkFailed { slot: number, exit: exit.clone() }));
        slot.last_exit = Some(exit);
        if is_incumbent {
            if self.port.on_death(Death::of_nobody(number), now, false) {
                effects.push(Effect::Reopen);
            }
            self.back_off(index, now, effects);
        } else {
            slot.successor = None;
        }
        self.on_renewal_failed(index, &why, now, effects);
    }
}
