//! What people and the operator may ask of a running primary.

use super::settings::Settings;
use super::slot::{Phase, Vacancy};
use super::{Effect, Machine, Moment, Note, Reason};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Replace all workers, so many at a time.
    Reload {
        /// At least 1.
        at_once: u32,
    },
    /// Let a worker finish and fork none in its place; without a slot, the replica is not ready any more and serves on.
    Drain {
        /// The number of the slot.
        slot: Option<u32>,
    },
    /// The opposite.
    Undrain {
        /// The number of the slot.
        slot: Option<u32>,
    },
    /// Go by these settings from now on.
    Configure(Box<Settings>),
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The replica ends.
    #[error("the replica is stopping: no order is taken any more")]
    Stopping,
    /// There is no such slot.
    #[error("there is no worker slot {slot}: the slots are {known}")]
    NoSuchSlot {
        /// What was asked for.
        slot: u32,
        /// What there is.
        known: String,
    },
}

impl Machine {
    /// Why this order cannot be carried out now, if so.
    ///
    /// # Errors
    /// The reason, in words with what is possible.
    pub fn check(&self, order: &Order) -> Result<(), Refusal> {
        if self.stop.is_some() {
            return Err(Refusal::Stopping);
        }
        if let Order::Drain { slot: Some(slot) } | Order::Undrain { slot: Some(slot) } = order
            && !self.slots.iter().any(|one| one.number == *slot)
        {
            let known: Vec<String> = self.slots.iter().map(|slot| slot.number.to_string()).collect();
            return Err(Refusal::NoSuchSlot { slot: *slot, known: known.join(", ") });
        }
        Ok(())
    }

    pub(super) fn on_order(&mut self, order: Order, now: Moment, effects: &mut Vec<Effect>) {
        if self.check(&order).is_err() {
            return;
        }
        match order {
            Order::Reload { at_once } => self.on_reload(at_once, now, effects),
            Order::Drain { slot: None } => self.set_withdrawn(true, effects),
            Order::Undrain { slot: None } => self.set_withdrawn(false, effects),
            Order::Drain { slot: Some(number) } => self.drain_slot(number, now, effects),
            Order::Undrain { slot: Some(number) } => self.undrain_slot(number, now),
            Order::Configure(settings) => self.configure(*settings, effects),
        }
    }

    fn set_withdrawn(&mut self, withdrawn: bool, effects: &mut Vec<Effect>) {
        if self.withdrawn != withdrawn {
            self.withdrawn = withdrawn;
            effects.push(Effect::Note(if withdrawn { Note::Withdrawn } else { Note::Returned }));
        }
    }

    fn drain_slot(&mut self, number: u32, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.slots.iter().position(|slot| slot.number == number) else { return };
        if matches!(self.slots[index].phase, Phase::Empty(Vacancy::Drained | Vacancy::Surplus | Vacancy::Stopped)) {
            return;
        }
        self.forget_renewal(index, effects);
        self.dismiss_successor(index, Reason::Drained, now, effects);
        self.vacate(index, Vacancy::Drained, Reason::Drained, now, effects);
    }

    fn undrain_slot(&mut self, number: u32, now: Moment) {
        let found = self.slots.iter_mut().find(|slot| slot.number == number);
        if let Some(slot) = found.filter(|slot| matches!(slot.phase, Phase::Empty(Vacancy::Drained))) {
            slot.phase = Phase::Waiting { until: now };
            slot.planned = slot.used;
            slot.failures = 0; // whoever orders it wants to see it try at once
        }
    }

    fn configure(&mut self, settings: Settings, effects: &mut Vec<Effect>) {
        if settings == self.settings {
            return;
        }
        if settings.adaptive.is_none() || self.settings.adaptive.is_none() {
            self.adaptation = super::count::Adaptation::new(settings.first_count());
        }
        if settings.first_count() == 1 {
            self.port.forget_contest();
        }
        self.settings = settings;
        effects.push(Effect::Note(Note::Configured));
    }
}
