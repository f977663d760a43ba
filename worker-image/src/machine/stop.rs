//! The end of the replica: serving on while load balancers forget it, then all workers leave.

use std::time::Duration;

use super::slot::{Phase, Vacancy};
use super::{Effect, Machine, Moment, Note, Reason};

/// After a SIGKILL the kernel needs a moment; a process in uninterruptible sleep may need for ever, and is not waited for.
pub(super) const KILL_GRACE: Duration = Duration::from_secs(2);

/// The order to stop the replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopPlan {
    /// The signal that workers get.
    pub signal: i32,
    /// Until then workers serve on, and are replaced when they end.
    pub drain_at: Moment,
    /// Workers that run then are killed.
    pub deadline: Moment,
    /// Workers have been told.
    pub draining: bool,
}

impl Machine {
    /// Whether all workers have been told to stop, so that none is forked any more.
    pub(super) fn is_draining(&self) -> bool {
        self.stop.is_some_and(|plan| plan.draining)
    }

    pub(super) fn on_stop(&mut self, signal: i32, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.stop {
            None => {
                let (serve_on, drain) = (self.settings.endpoints_delay, self.settings.drain);
                effects.push(Effect::Note(Note::Stopping { signal, serve_on, drain }));
                let drain_at = now + serve_on;
                self.stop = Some(StopPlan { signal, drain_at, deadline: drain_at + drain, draining: false });
            }
            Some(plan) => {
                effects.push(Effect::Note(Note::StopAtOnce));
                plan.drain_at = now;
                plan.deadline = now;
            }
        }
    }

    pub(super) fn advance_stop(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(plan) = self.stop else { return };
        let nobody_runs = self.slots.iter().all(|slot| slot.running_since().is_none());
        if !plan.draining && (now >= plan.drain_at || nobody_runs) {
            self.stop = Some(StopPlan { draining: true, ..plan });
            self.end_reload("the replica stops", now, effects);
            let workers = self.slots.iter().map(|slot| slot.workers().count()).sum::<usize>();
            effects.push(Effect::Note(Note::Draining { workers: u32::try_from(workers).unwrap_or(u32::MAX) }));
        }
        if !self.is_draining() {
            return;
        }
        for index in 0..self.slots.len() {
            self.slots[index].renewal = None;
            self.dismiss_successor(index, Reason::Stop, now, effects);
            self.vacate(index, Vacancy::Stopped, Reason::Stop, now, effects);
            // Nothing stops later than the replica.
            for leaving in &mut self.slots[index].leaving {
                leaving.deadline = leaving.deadline.min(plan.deadline);
            }
        }
        let ended = self.slots.iter().all(|slot| slot.is_deserted() && matches!(slot.phase, Phase::Empty(_)));
        self.finished = ended || now >= plan.deadline + KILL_GRACE;
    }
}
