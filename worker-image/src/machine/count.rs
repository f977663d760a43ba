//! How many workers: as many as the settings say, or, between two bounds, as many as the load needs.

use std::time::Duration;

use super::slot::{Phase, Slot, Vacancy};
use super::{Effect, Machine, Moment, Note, Reason};

/// One worker more when workers used this share of a processor each, or connections waited, for [`BUSY_FOR`].
/// Above it there is no room for the load of a worker that dies.
const BUSY: f64 = 0.75;

/// As uWSGI's busyness plugin: three samples of a second, so that one burst adds nobody.
const BUSY_FOR: Duration = Duration::from_secs(3);

/// One worker fewer when the others would have used less than this share each for [`IDLE_FOR`]. Far enough below
/// [`BUSY`] that the one that goes is not the next to come.
const IDLE: f64 = 0.5;

/// Ten times as long as growing takes: a worker that is missing costs more than one too many.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// The number of workers that the load asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adaptation {
    pub count: u32,
    busy_since: Option<Moment>,
    idle_since: Option<Moment>,
}

impl Adaptation {
    pub fn new(count: u32) -> Self {
        Self { count, busy_since: None, idle_since: None }
    }
}

impl Machine {
    /// How many workers there are to be.
    pub(super) fn desired(&self) -> u32 {
        match self.settings.adaptive {
            Some(bounds) => self.adaptation.count.clamp(bounds.min, bounds.max.max(bounds.min)),
            None => self.settings.count,
        }
    }

    /// How many workers there are to be at the most.
    pub fn most_workers(&self) -> u32 {
        self.settings.adaptive.map_or(self.settings.count, |bounds| bounds.max.max(bounds.min))
    }

    /// Takes in how busy the workers were; `waiting` connections were not accepted yet. Where the primary gives out requests, `taken` says how many
    /// of their places are taken, in percent of one worker's: one that waits for others uses no processor, and is busy all the same.
    pub(super) fn adapt(&mut self, waiting: Option<u32>, taken: Option<u32>, now: Moment) {
        let Some(bounds) = self.settings.adaptive else { return };
        let ready = self.slots.iter().filter(|slot| slot.is_ready()).count();
        let loads: Vec<f64> = self.slots.iter().filter_map(Slot::load).collect();
        let desired = self.desired();
        // Whoever just came has to show first what a difference it makes.
        if loads.len() < ready || u32::try_from(ready).unwrap_or(u32::MAX) < desired || loads.is_empty() {
            (self.adaptation.busy_since, self.adaptation.idle_since) = (None, None);
            return;
        }
        let total = loads.iter().sum::<f64>().max(f64::from(taken.unwrap_or_default()) / 100.0);
        let waits = waiting.is_some_and(|waiting| waiting > 0);
        let busy = waits || total / f64::from(desired) > BUSY;
        let idle = !waits && desired > 1 && total / f64::from(desired - 1) < IDLE;
        let adaptation = &mut self.adaptation;
        adaptation.busy_since = busy.then(|| adaptation.busy_since.unwrap_or(now));
        adaptation.idle_since = idle.then(|| adaptation.idle_since.unwrap_or(now));
        let lasted = |since: Option<Moment>, time| since.is_some_and(|since| now.saturating_sub(since) >= time);
        let next = if lasted(adaptation.busy_since, BUSY_FOR) {
            desired.saturating_add(1).min(bounds.max)
        } else if lasted(adaptation.idle_since, IDLE_FOR) {
            desired.saturating_sub(1).max(bounds.min)
        } else {
            desired
        };
        if next != desired {
            *adaptation = Adaptation::new(next);
        }
    }

    /// Adds slots, or lets workers leave, until there are as many as there are to be.
    pub(super) fn advance_count(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.stop.is_some() {
            return;
        }
        let desired = usize::try_from(self.desired()).unwrap_or(usize::MAX);
        let kept = self.slots.iter().filter(|slot| !slot.is_surplus()).count();
        if kept == desired {
            return;
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        effects.push(Effect::Note(Note::Scaling { from: number(kept), to: number(desired) }));
        for _ in kept..desired {
            self.add_slot(now);
        }
        for _ in desired..kept {
            self.drop_slot(now, effects);
        }
    }

    /// The lowest number that is free, or whose last worker is just leaving.
    fn add_slot(&mut self, now: Moment) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_surplus()) {
            slot.phase = Phase::Waiting { until: now };
            slot.planned = slot.used;
            return;
        }
        let free = (1..).zip(&self.slots).position(|(number, slot): (u32, &Slot)| slot.number != number);
        let at = free.unwrap_or(self.slots.len());
        self.slots.insert(at, Slot::new(u32::try_from(at + 1).unwrap_or(u32::MAX), now));
    }

    /// One that is not ready before one that is, and a high number before a low one.
    fn drop_slot(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let kept = self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_surplus());
        let chosen = kept.min_by_key(|(index, slot)| (slot.is_ready(), std::cmp::Reverse(*index)));
        let Some(index) = chosen.map(|(index, _)| index) else { return };
        self.forget_renewal(index, effects);
        self.dismiss_successor(index, Reason::Surplus, now, effects);
        self.vacate(index, Vacancy::Surplus, Reason::Surplus, now, effects);
    }

    /// Slots that are too many go when the last of their workers has gone.
    pub(super) fn forget_surplus(&mut self) {
        self.slots.retain(|slot| !(slot.is_surplus() && slot.is_deserted()));
    }
}

impl Slot {
    fn is_surplus(&self) -> bool {
        matches!(self.phase, Phase::Empty(Vacancy::Surplus))
    }

    /// The share of a processor that a ready worker uses.
    fn load(&self) -> Option<f64> {
        if let Phase::Ready(worker, _) = &self.phase { worker.vitals.load } else { None }
    }
}
