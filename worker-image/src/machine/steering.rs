//! Which slots get new connections, when each has a listening socket of its own; and that a worker which leaves accepts first who waits in its.

use std::time::Duration;

use super::slot::{Leaving, Phase, Slot, Vacancy};
use super::{Effect, Machine, Moment, Reason, Sockets};

/// See [`Machine::last_words`].
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A worker that leaves, and is not told before nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The number of its slot.
    pub slot: u32,
    /// Its process.
    pub pid: u32,
    /// From then on connections of another protocol do not keep it from being told.
    pub upgraded_until: Moment,
}

/// A worker that has been ready for long enough has this share of new connections, a fresh one less.
const FULL: u32 = 4;

/// One slot's share of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number of the slot.
    pub slot: u32,
    /// Against those of the others.
    pub weight: u32,
}

impl Machine {
    /// The share of a worker that has been ready for so long: a quarter more with each quarter of the slow start.
    fn share(&self, ready_for: Duration) -> u32 {
        (1..FULL).find(|quarters| ready_for < self.policy.slow_start * *quarters / FULL).unwrap_or(FULL)
    }

    /// When a worker's share grows next.
    pub(super) fn shares_due(&self) -> Option<Moment> {
        let since = |slot: &Slot| match &slot.phase {
            Phase::Ready(_, readiness) => Some(readiness.since),
            _ => None,
        };
        let steps = |since: Moment| (1..FULL).map(move |quarters| since + self.policy.slow_start * quarters / FULL);
        let steered =
            self.slots.iter().filter(|_| self.policy.sockets == Sockets::PerSlot && !self.policy.slow_start.is_zero());
        steered.filter_map(since).flat_map(steps).filter(|at| *at > self.shares_at).min()
    }

    /// Says so when other slots than before are to get new connections. Where nobody is ready, all are in which somebody will be.
    pub(super) fn advance_steering(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.shares_at = now;
        if self.policy.sockets != Sockets::PerSlot || self.is_draining() {
            return;
        }
        let ready = |slot: &Slot| Some(Share { slot: slot.number, weight: self.share(slot.ready_for(now)?) });
        let mut slots: Vec<Share> = self.slots.iter().filter_map(ready).collect();
        if slots.is_empty() {
            let comes = |slot: &&Slot| {
                !matches!(slot.phase, Phase::Empty(Vacancy::Drained | Vacancy::Surplus | Vacancy::Stopped))
            };
            let alike = |slot: &Slot| Share { slot: slot.number, weight: FULL };
            slots = self.slots.iter().filter(comes).map(alike).collect();
        }
        if slots != self.steered_to && !slots.is_empty() {
            effects.push(Effect::Steer(slots.clone()));
            self.steered_to = slots;
        }
    }

    /// The workers that are ready.
    pub fn ready(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().filter(|slot| slot.is_ready()).filter_map(Slot::incumbent).map(|worker| worker.pid)
    }

    /// The workers that are to get connections, where the primary hands them over: those that are ready, and where nobody is, whoever comes up
    /// first.
    pub fn receivers(&self) -> impl Iterator<Item = u32> {
        let nobody = !self.slots.iter().any(Slot::is_ready);
        let counts = move |slot: &&Slot| slot.is_ready() || nobody;
        self.slots.iter().filter(counts).filter_map(Slot::incumbent).map(|worker| worker.pid)
    }

    /// Until when a worker that leaves now may still accept who waits for it alone. Where another takes its place, or all share a socket, nobody
    /// waits for it alone.
    pub(super) fn untold_until(&self, reason: Reason, was_ready: bool, now: Moment) -> Option<Moment> {
        let until = match self.policy.sockets {
            Sockets::Shared => return None,
            // One that accepts nobody for so long is told all the same.
            Sockets::PerSlot => now + self.settings.drain / 2,
            // As long as it has requests, whatever it leaves for.
            Sockets::PerWorker => self.drain_deadline(now).saturating_sub(self.last_words()).max(now),
        };
        let alone = match self.policy.sockets {
            Sockets::PerWorker => reason != Reason::Hung,
            _ => matches!(reason, Reason::Drained | Reason::Surplus),
        };
        (alone && was_ready).then_some(until)
    }

    /// Whether somebody accepts who comes in on a slot's own socket, or will.
    pub fn attends(&self, number: u32) -> bool {
        let gone =
            |slot: &Slot| slot.is_deserted() && matches!(slot.phase, Phase::Empty(Vacancy::Drained | Vacancy::Surplus));
        self.stop.is_some() || self.slots.iter().any(|slot| slot.number == number && !gone(slot))
    }

    /// A worker that is busy until its time is over is told this long before it, so that it can end by itself.
    pub(super) fn last_words(&self) -> Duration {
        LAST_WORDS.min(self.settings.drain / 5)
    }

    pub(super) fn untold(&self) -> Vec<Untold> {
        let of = |slot: &'_ Slot| {
            let untold = slot.leaving.iter().filter(|leaving| leaving.untold_until.is_some());
            let of = |leaving: &Leaving| {
                let (pid, upgraded_until) = (leaving.worker.pid, leaving.upgraded_until);
                Untold { slot: slot.number, pid, upgraded_until }
            };
            untold.map(of).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(of).collect()
    }

    pub(super) fn on_nobody_waits(&mut self, pid: u32, now: Moment) {
        let leaving = self.slots.iter_mut().flat_map(|slot| &mut slot.leaving);
        for leaving in leaving.filter(|leaving| leaving.worker.pid == pid) {
            leaving.untold_until = leaving.untold_until.map(|until| until.min(now));
        }
    }

    /// Tells those whose time has come.
    pub(super) fn tell_untold(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            for at in 0..self.slots[index].leaving.len() {
                let due = |leaving: &Leaving| leaving.untold_until.is_some_and(|until| now >= until);
                let Some(leaving) = self.slots[index].leaving.get(at).filter(|leaving| due(leaving)).cloned() else {
                    continue;
                };
                let told = self.tell(&leaving, now, effects);
                if let Some(leaving) = self.slots[index].leaving.get_mut(at) {
                    *leaving = told;
                }
            }
        }
    }
}
