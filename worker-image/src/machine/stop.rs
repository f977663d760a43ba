//! The end of the replica: serving on while load balancers forget it, then letting in nobody new and finishing who is
//! in, then all workers leave.

use std::time::Duration;

use super::slot::{Phase, Slot, Vacancy};
use super::{Effect, Machine, Moment, Note, Reason, Sockets};

/// After a SIGKILL the kernel needs a moment; a process in uninterruptible sleep may need for ever, and is not waited for.
pub(super) const KILL_GRACE: Duration = Duration::from_secs(2);

/// This part of the drain time may pass with the door closed and fewer of those that wait behind it not getting in: then nobody accepts them. And
/// this part of it is for finishing what was accepted last.
const SHARE: u32 = 5;

/// The order to stop the replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopPlan {
    /// The signal that workers get.
    pub signal: i32,
    /// Until then workers serve as ever.
    pub drain_at: Moment,
    /// Workers that run then are killed.
    pub deadline: Moment,
    /// How far it is.
    pub phase: StopPhase,
}

/// How far the end of the replica is. Workers that end are replaced until it is draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopPhase {
    /// As ever.
    Serving,
    /// Nobody new is let in; who waits in the accept queues is accepted, until this time at the latest.
    Emptying {
        /// At the latest; and when they have not become fewer until `stalls_at`.
        until: Moment,
        /// See `until`.
        stalls_at: Moment,
        /// The fewest that were seen to wait.
        fewest: u32,
    },
    /// All workers have been told to stop.
    Draining,
}

impl StopPlan {
    /// When the next phase is due, if nothing happens before.
    pub fn due(&self) -> Moment {
        match self.phase {
            StopPhase::Serving => self.drain_at,
            StopPhase::Emptying { until, stalls_at, .. } => until.min(stalls_at).min(self.deadline),
            StopPhase::Draining => self.deadline + KILL_GRACE,
        }
    }
}

impl Machine {
    /// Whether all workers have been told to stop, so that none is forked any more.
    pub(super) fn is_draining(&self) -> bool {
        self.stop.is_some_and(|plan| plan.phase == StopPhase::Draining)
    }

    /// Whether the accept queues are to be looked at, to know when nobody waits in them any more.
    /// Until when the replica stays for connections of another protocol alone, once it is to end: their programs have the other half to say goodbye in.
    pub fn upgraded_until(&self) -> Option<Moment> {
        self.stop.map(|plan| plan.deadline.saturating_sub(self.settings.drain / 2))
    }

    pub(super) fn is_emptying(&self) -> bool {
        self.stop.is_some_and(|plan| matches!(plan.phase, StopPhase::Emptying { .. }))
    }

    pub(super) fn on_stop(&mut self, signal: i32, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.stop {
            None => {
                let (serve_on, drain) = (self.settings.endpoints_delay, self.settings.drain);
                effects.push(Effect::Note(Note::Stopping { signal, serve_on, drain }));
                let drain_at = now + serve_on;
                let phase = StopPhase::Serving;
                self.stop = Some(StopPlan { signal, drain_at, deadline: drain_at + drain, phase });
            }
            Some(plan) => {
                effects.push(Effect::Note(Note::StopAtOnce));
                plan.drain_at = now;
                plan.deadline = now;
            }
        }
    }

    /// Nobody waits in the accept queues any more, and what is accepted has been read once.
    pub(super) fn on_emptied(&mut self, now: Moment) {
        if let Some(StopPlan { phase: StopPhase::Emptying { until, .. }, .. }) = &mut self.stop {
            *until = now;
        }
    }

    /// So many still wait. As long as they become fewer, somebody accepts them.
    pub(super) fn on_still_waiting(&mut self, connections: u32, now: Moment) {
        let share = self.settings.drain / SHARE;
        if let Some(StopPlan { phase: StopPhase::Emptying { until, stalls_at, fewest }, .. }) = &mut self.stop
            && connections < *fewest
            && *stalls_at < *until
        {
            *fewest = connections;
            *stalls_at = now + share;
        }
    }

    pub(super) fn advance_stop(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(plan) = self.stop else { return };
        let phase = self.next_phase(&plan, now);
        if phase != plan.phase {
            self.stop = Some(StopPlan { phase, ..plan });
            self.end_reload("the replica stops", now, effects);
            match phase {
                StopPhase::Serving => {}
                StopPhase::Emptying { until, .. } => {
                    effects.push(Effect::Note(Note::DoorClosed { at_most: until.saturating_sub(now) }));
                    effects.push(Effect::CloseDoor);
                }
                StopPhase::Draining => {
                    let workers = self.slots.iter().map(|slot| slot.workers().count()).sum::<usize>();
                    effects.push(Effect::Note(Note::Draining { workers: u32::try_from(workers).unwrap_or(u32::MAX) }));
                }
            }
        }
        if phase != StopPhase::Draining {
            return;
        }
        let told_by = match self.policy.sockets {
            Sockets::PerWorker => plan.deadline.saturating_sub(self.last_words()).max(now),
            Sockets::Shared | Sockets::PerSlot => now,
        };
        for index in 0..self.slots.len() {
            self.slots[index].renewal = None;
            self.dismiss_successor(index, Reason::Stop, now, effects);
            self.vacate(index, Vacancy::Stopped, Reason::Stop, now, effects);
            // Nothing stops later than the replica.
            let half = self.upgraded_until().unwrap_or(now);
            for leaving in &mut self.slots[index].leaving {
                leaving.deadline = leaving.deadline.min(plan.deadline);
                leaving.upgraded_until = leaving.upgraded_until.min(half);
                leaving.untold_until = leaving.untold_until.map(|until| until.min(told_by));
            }
        }
        let ended = self.slots.iter().all(|slot| slot.is_deserted() && matches!(slot.phase, Phase::Empty(_)));
        self.finished = ended || now >= plan.deadline + KILL_GRACE;
    }

    fn next_phase(&self, plan: &StopPlan, now: Moment) -> StopPhase {
        // Requests that the primary holds wait for whoever is forked in the place of one that died.
        let comes = |slot: &Slot| match slot.phase {
            Phase::Waiting { until } => until < plan.deadline,
            Phase::Forking { .. } | Phase::Starting(_) | Phase::Empty(Vacancy::Handover) => true,
            _ => false,
        };
        let recovers = self.policy.sockets == Sockets::PerWorker && self.served && self.slots.iter().any(comes);
        if !recovers && self.slots.iter().all(|slot| slot.running_since().is_none()) {
            return StopPhase::Draining; // nobody is there to tell
        }
        // Who never was ready accepts nobody, and waiting for it to do so is for nothing.
        let served = recovers || self.slots.iter().any(Slot::is_ready);
        match plan.phase {
            StopPhase::Serving if now < plan.drain_at => StopPhase::Serving,
            StopPhase::Serving if served && now < plan.deadline => {
                let left = plan.deadline.saturating_sub(now);
                let (until, stalls_at) = match self.policy.sockets {
                    Sockets::Shared | Sockets::PerSlot => (now + left * (SHARE - 1) / SHARE, now + left / SHARE),
                    // The primary holds requests itself, and each of them is answered first, however long workers take.
                    Sockets::PerWorker => {
                        let until = now + left.saturating_sub(self.last_words());
                        (until, until)
                    }
                };
                StopPhase::Emptying { until, stalls_at, fewest: u32::MAX }
            }
            StopPhase::Emptying { until, stalls_at, .. } if now < until.min(stalls_at).min(plan.deadline) => plan.phase,
            _ => StopPhase::Draining,
        }
    }
}
