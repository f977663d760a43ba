//! Fresh workers for running ones: by a reload, for too much memory, for age. One way for all of them: the successor
//! is forked beside the incumbent, and takes its place when it has been ready for a second; where there is no room for
//! both, or only one can have the port, the incumbent leaves first.

use std::time::Duration;

use super::slot::{Phase, Slot, Successor, Vacancy};
use super::{Change, Effect, Machine, Moment, NEVER_READY, Reason, SETTLED};

/// A successor has at least this long to get ready, and ten start-up times where those are longer.
const READY_WITHIN: Duration = NEVER_READY;

/// See [`READY_WITHIN`].
const STARTUP_TIMES: u32 = 10;

/// After a successor that did not get ready the incumbent stays for this long before the next try.
const RETRY: Duration = Duration::from_secs(30);

/// A fresh worker for a slot.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    pub reason: Reason,
    /// The reload that it is a part of.
    pub reload: Option<u64>,
    pub step: Step,
}

/// How far a renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Not begun, and not to be before this time.
    Wanted { from: Moment },
    /// The successor is forked, or the incumbent on its way out; the fresh worker has to be ready by this time, and then to stay so.
    Begun { ready_by: Moment },
}

/// All workers are replaced, a few at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Counts from 1.
    pub id: u64,
    /// How many slots are replaced at a time.
    pub at_once: u32,
    /// How many slots it is about.
    pub slots: u32,
    /// How many of them have a fresh worker, or need none any more.
    pub done: u32,
    /// How far it is.
    pub state: ReloadState,
}

/// How far a reload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadState {
    /// Workers are being replaced.
    Running,
    /// All of them were.
    Done,
    /// A fresh worker did not get ready, and the old ones stay; why, in words.
    Failed(String),
}

impl Renewal {
    pub fn wanted(reason: Reason, from: Moment) -> Self {
        Self { reason, reload: None, step: Step::Wanted { from } }
    }

    fn is_begun(&self) -> bool {
        matches!(self.step, Step::Begun { .. })
    }
}

impl Machine {
    /// The last reload.
    pub fn reload(&self) -> Option<&Reload> {
        self.reload.as_ref()
    }

    /// Replaces all workers, beginning anew where a reload is under way: what its workers loaded may be old as well.
    pub(super) fn on_reload(&mut self, at_once: u32, now: Moment, effects: &mut Vec<Effect>) {
        let id = self.reload.as_ref().map_or(0, |reload| reload.id) + 1;
        let mut slots = 0;
        for slot in &mut self.slots {
            if slot.incumbent().is_none() {
                continue; // whoever is forked next is fresh
            }
            slots += 1;
            let step = Step::Wanted { from: now };
            slot.renewal = Some(Renewal { reason: Reason::Reload, reload: Some(id), step });
        }
        for index in 0..self.slots.len() {
            self.dismiss_successor(index, Reason::Reload, now, effects);
        }
        self.reload = Some(Reload { id, at_once: at_once.max(1), slots, done: 0, state: ReloadState::Running });
        effects.push(Effect::Change(Change::Reloading { slots, at_once: at_once.max(1) }));
        self.finish_reload(effects); // where nobody runs there is nothing to do
    }

    /// Ends a reload that is under way: the workers that are there stay.
    pub(super) fn end_reload(&mut self, why: &str, now: Moment, effects: &mut Vec<Effect>) {
        let Some(reload) = self.reload.as_mut().filter(|reload| reload.state == ReloadState::Running) else { return };
        reload.state = ReloadState::Failed(why.to_string());
        let (id, done, slots) = (reload.id, reload.done, reload.slots);
        effects.push(Effect::Change(Change::ReloadFailed { done, slots, why: why.to_string() }));
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.renewal.take_if(|renewal| renewal.reload == Some(id)).is_some() {
                self.dismiss_successor(index, Reason::Reload, now, effects);
            }
        }
    }

    /// Slots that have a fresh worker which has stayed ready: whatever ends at once ends before the next slot begins.
    pub(super) fn settle_renewed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.renewed_since().is_none_or(|since| now.saturating_sub(since) < SETTLED) {
                continue;
            }
            let Some(renewal) = slot.renewal.take() else { continue };
            super::reason::count(renewal.reason, &mut self.replaced);
            self.settle(&renewal, effects);
        }
    }

    /// The slot needs no fresh worker any more: it is drained, or gets one anyway.
    pub(super) fn forget_renewal(&mut self, index: usize, effects: &mut Vec<Effect>) {
        if let Some(renewal) = self.slots[index].renewal.take() {
            self.settle(&renewal, effects);
        }
    }

    fn settle(&mut self, renewal: &Renewal, effects: &mut Vec<Effect>) {
        if let Some(reload) = &mut self.reload
            && renewal.reload == Some(reload.id)
        {
            reload.done += 1;
            self.finish_reload(effects);
        }
    }

    /// Ends a reload that nothing is left of.
    fn finish_reload(&mut self, effects: &mut Vec<Effect>) {
        let Some(reload) = self.reload.as_mut().filter(|reload| reload.state == ReloadState::Running) else { return };
        let id = reload.id;
        let open = |slot: &Slot| slot.renewal.as_ref().is_some_and(|renewal| renewal.reload == Some(id));
        if !self.slots.iter().any(open) {
            reload.state = ReloadState::Done;
            effects.push(Effect::Change(Change::Reloaded { slots: reload.slots }));
        }
    }

    /// A fresh worker ended before it had been ready for long, or took too long.
    pub(super) fn on_renewal_failed(&mut self, index: usize, why: &str, now: Moment, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        let Some(renewal) = slot.renewal.take_if(|renewal| renewal.is_begun()) else { return };
        let number = slot.number;
        if slot.is_ready() && renewal.reload.is_none() {
            slot.renewal = Some(Renewal::wanted(renewal.reason, now + RETRY));
        }
        match renewal.reload {
            Some(id) if self.reload.as_ref().is_some_and(|reload| reload.id == id) => {
                self.end_reload(
                    &format!("the fresh worker of slot {number} did not get and stay ready: {why}"),
                    now,
                    effects,
                );
            }
            _ => effects.push(Effect::Change(Change::RenewalFailed { slot: number, reason: renewal.reason })),
        }
    }

    /// Begins what is wanted, as much as may be under way at a time.
    pub(super) fn advance_renewals(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.stop.is_some() {
            return;
        }
        self.count_what_is_fresh_anyway(effects);
        let budget = self.reload.as_ref().filter(|reload| reload.state == ReloadState::Running);
        let budget = budget.map_or(1, |reload| usize::try_from(reload.at_once).unwrap_or(usize::MAX));
        let mut begun = self.slots.iter().filter(|slot| slot.renewal.as_ref().is_some_and(Renewal::is_begun)).count();
        for index in 0..self.slots.len() {
            if begun >= budget {
                return;
            }
            begun += usize::from(self.begin_renewal(index, now, effects));
        }
    }

    /// Slots in which nobody runs get a fresh worker without our doing.
    fn count_what_is_fresh_anyway(&mut self, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let nobody = slot.incumbent().is_none() && slot.successor.is_none();
            if nobody && slot.renewal.as_ref().is_some_and(|renewal| !renewal.is_begun()) {
                self.forget_renewal(index, effects);
            }
        }
    }

    fn begin_renewal(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) -> bool {
        let slot = &self.slots[index];
        let Some(Renewal { reason, step: Step::Wanted { from }, .. }) = slot.renewal else { return false };
        if now < from || slot.incumbent().is_none() || slot.successor.is_some() || !slot.leaving.is_empty() {
            return false;
        }
        let startup = READY_WITHIN.max(self.settings.startup * STARTUP_TIMES);
        let Some(with_listener) = self.port.for_successor() else { return false };
        let alone = self.only_one_can_have_the_port();
        let room = self.has_room_for_another();
        if !room && !alone && self.is_making_room() {
            return false;
        }
        if room && !alone {
            let slot = &mut self.slots[index];
            slot.successor = Some(Successor::Forking { since: now, with_listener });
            if let Some(renewal) = &mut slot.renewal {
                renewal.step = Step::Begun { ready_by: now + startup };
            }
            effects.push(Effect::Fork { slot: slot.number, with_listener });
        } else {
            if let Some(renewal) = &mut self.slots[index].renewal {
                renewal.step = Step::Begun { ready_by: now + self.settings.drain + startup };
            }
            self.vacate(index, Vacancy::Handover, reason, now, effects);
        }
        true
    }

    /// Whether the container's memory can hold one more worker as large as the largest, besides the successors that are growing already. Where no
    /// limit is known, it can.
    fn has_room_for_another(&self) -> bool {
        let Some(free) = self.free_memory else { return true };
        let largest = self.slots.iter().flat_map(Slot::workers).filter_map(|worker| worker.vitals.memory).max();
        let wanted = self.slots.iter().filter(|slot| slot.successor.is_some()).count() + 1;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        largest.is_none_or(|largest| largest.saturating_mul(wanted) <= free)
    }

    /// Whether somebody is about to leave who takes memory: better to wait for that than to have a worker less.
    fn is_making_room(&self) -> bool {
        self.slots.iter().any(|slot| slot.successor.is_some() || !slot.leaving.is_empty())
    }

    /// Whether a successor could not bind the port while the incumbent has it: the program binds it itself, and no two
    /// workers were seen to have it at a time.
    fn only_one_can_have_the_port(&self) -> bool {
        let owners = self.slots.iter().filter(|slot| slot.is_ready()).count();
        self.port.is_owned() && (self.port.is_contested() || owners < 2)
    }

    /// Ends what takes too long.
    pub(super) fn end_late_renewals(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let Some(Renewal { step: Step::Begun { ready_by }, reason, .. }) = slot.renewal else { continue };
            let came = slot.renewed_since().is_some() || slot.heir_ready_since().is_some();
            if now < ready_by || came {
                continue;
            }
            self.dismiss_successor(index, reason, now, effects);
            self.on_renewal_failed(index, "it took too long", now, effects);
        }
    }

    /// When something about renewals is due.
    pub(super) fn renewals_due(&self) -> Option<Moment> {
        if self.stop.is_some() {
            return None;
        }
        let begun = self.slots.iter().any(|slot| slot.renewal.as_ref().is_some_and(Renewal::is_begun));
        let due = |slot: &Slot| match slot.renewal.as_ref()?.step {
            Step::Begun { ready_by } => {
                let since = slot.renewed_since().or(slot.heir_ready_since());
                Some(since.map_or(ready_by, |since| since + SETTLED))
            }
            // Else it waits for something to end, which is an event.
            Step::Wanted { from } => {
                let held = self.is_making_room() && !self.has_room_for_another();
                let nobody_else = slot.leaving.is_empty() && slot.successor.is_none();
                let free = !begun && !held && nobody_else && slot.incumbent().is_some();
                (free && self.port.for_successor().is_some()).then_some(from)
            }
        };
        self.slots.iter().filter_map(due).min()
    }
}

impl Slot {
    /// Since when the fresh worker of a renewal has been ready in its place.
    fn renewed_since(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Ready(_, readiness) if self.successor.is_none() => {
                self.renewal.as_ref().filter(|renewal| renewal.is_begun()).map(|_| readiness.since)
            }
            _ => None,
        }
    }
}
