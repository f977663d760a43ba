//! How workers stop: all of them when the primary was told to, or one of them that is to be replaced.

use std::time::Duration;

use super::port::Death;
use super::slot::{Channel, Phase};
use super::{Effect, Machine, Moment, Note};

/// Node workers that were asked to disconnect and still run get the signal this long before the deadline, so that
/// a handler of theirs can still do something.
const SIGNAL_BEFORE_DEADLINE: Duration = Duration::from_secs(1);

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

/// The order to stop one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopOrder {
    /// When the worker gets the signal, if it has not had it.
    pub signal_at: Option<Moment>,
    /// When its whole group is killed.
    pub deadline: Moment,
    /// It was.
    pub killed: bool,
    /// How long it had been ready.
    pub ready_for: Option<Duration>,
    /// Nobody asked it: a Node worker disconnected by itself.
    pub by_itself: bool,
}

impl Machine {
    /// Whether workers have been told to stop, so that none is forked any more.
    pub(super) fn is_draining(&self) -> bool {
        self.stop.is_some_and(|plan| plan.draining)
    }

    pub(super) fn on_stop(&mut self, signal: i32, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.stop {
            None => {
                let (serve_on, drain) = (self.policy.endpoints_delay, self.policy.drain);
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
            let workers = self.slots.iter().filter(|slot| slot.worker().is_some()).count();
            effects.push(Effect::Note(Note::Draining { workers: u32::try_from(workers).unwrap_or(u32::MAX) }));
        }
        if self.is_draining() {
            for index in 0..self.slots.len() {
                if matches!(self.slots[index].phase, Phase::Waiting { .. }) {
                    self.slots[index].phase = Phase::Stopped;
                }
                self.stop_worker(index, plan.deadline, plan.signal, now, effects);
            }
            self.hasten(plan.deadline);
            let ended = self.slots.iter().all(|slot| matches!(slot.phase, Phase::Stopped));
            self.finished = ended || now >= plan.deadline + KILL_GRACE;
        }
    }

    /// Nothing stops later than the replica.
    fn hasten(&mut self, latest: Moment) {
        for slot in &mut self.slots {
            match &mut slot.phase {
                Phase::Stopping(_, StopOrder { deadline, .. }) | Phase::Lingering { deadline, .. } => {
                    *deadline = (*deadline).min(latest);
                }
                _ => {}
            }
        }
    }

    /// Asks the worker in a slot to stop until `deadline`, if there is one that was not asked yet.
    fn stop_worker(&mut self, index: usize, deadline: Moment, signal: i32, now: Moment, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        let ready_for = slot.ready_for(now);
        let (worker, was_ready) = match &slot.phase {
            Phase::Starting(worker) => (worker.clone(), false),
            Phase::Ready(worker, _) => (worker.clone(), true),
            _ => return,
        };
        let pid = worker.pid;
        // A worker that never was ready has nothing in flight, and no ear for the message perhaps.
        let asks = worker.channel == Channel::Online && was_ready;
        let signal_at = if asks {
            effects.push(Effect::Disconnect { pid });
            Some(deadline.saturating_sub(SIGNAL_BEFORE_DEADLINE))
        } else {
            effects.push(Effect::Signal { pid, signal, group: self.policy.stop_group });
            None
        };
        slot.phase =
            Phase::Stopping(worker, StopOrder { signal_at, deadline, killed: false, ready_for, by_itself: false });
    }

    pub(super) fn on_channel_closed(&mut self, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let (signal, group) = (self.stop_signal(), self.policy.stop_group);
        let deadline = now + self.policy.drain;
        let Some(index) = self.index_of(pid) else { return };
        let slot = &mut self.slots[index];
        let ready_for = slot.ready_for(now);
        let Some(worker) = slot.worker_mut() else { return };
        let was_online = std::mem::replace(&mut worker.channel, Channel::None) == Channel::Online;
        let worker = worker.clone();
        match &mut slot.phase {
            // All its connections have ended; a timer may keep it from ending by itself.
            Phase::Stopping(_, order) if order.signal_at.is_some() && !order.by_itself => {
                order.signal_at = None;
                effects.push(Effect::Signal { pid, signal, group });
            }
            // It left the cluster (`worker.disconnect()`): it serves nothing any more, and ends when it has finished.
            Phase::Starting(_) | Phase::Ready(..) if was_online => {
                let signal_at = Some(deadline.saturating_sub(SIGNAL_BEFORE_DEADLINE));
                let order = StopOrder { signal_at, deadline, killed: false, ready_for, by_itself: true };
                slot.phase = Phase::Stopping(worker, order);
            }
            _ => {}
        }
    }

    fn stop_signal(&self) -> i32 {
        self.stop.map_or(libc::SIGTERM, |plan| plan.signal)
    }

    /// A worker that was asked to stop has. Says whether the primary is to open the port again.
    pub(super) fn on_stopped(
        &mut self,
        index: usize,
        pid: u32,
        group_left: bool,
        order: StopOrder,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.is_draining() {
            self.slots[index].phase = if group_left {
                Phase::Lingering { pid, deadline: order.deadline, killed: order.killed }
            } else {
                Phase::Stopped
            };
            return false;
        }
        if group_left {
            effects.push(Effect::Signal { pid, signal: libc::SIGKILL, group: true });
        }
        self.back_off(index, now, effects);
        self.port.on_death(Death::of_nobody(index), now, false)
    }

    pub(super) fn on_group_ended(&mut self, pid: u32) {
        for slot in &mut self.slots {
            if matches!(slot.phase, Phase::Lingering { pid: of, .. } if of == pid) {
                slot.phase = Phase::Stopped;
            }
        }
    }

    /// Signals and kills that are due.
    pub(super) fn advance_slots(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let (signal, group) = (self.stop_signal(), self.policy.stop_group);
        for slot in &mut self.slots {
            let number = slot.number;
            match &mut slot.phase {
                Phase::Stopping(worker, order) => {
                    let pid = worker.pid;
                    if order.signal_at.is_some_and(|at| now >= at) {
                        order.signal_at = None;
                        effects.push(Effect::Signal { pid, signal, group });
                    }
                    if now >= order.deadline && !order.killed {
                        order.killed = true;
                        effects.push(Effect::Note(Note::Overdue { slot: number, pid }));
                        effects.push(Effect::Signal { pid, signal: libc::SIGKILL, group: true });
                    }
                }
                Phase::Lingering { pid, deadline, killed } if now >= *deadline && !*killed => {
                    *killed = true;
                    effects.push(Effect::Note(Note::Overdue { slot: number, pid: *pid }));
                    effects.push(Effect::Signal { pid: *pid, signal: libc::SIGKILL, group: true });
                }
                _ => {}
            }
        }
    }

    /// A worker on trial that had its time without binding the port: where only a socket counts it makes room for
    /// an attempt with the primary's; else it is taken as it is.
    pub(super) fn advance_trial(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some((index, _)) = self.port.trial_ends().filter(|(_, at)| now >= *at) else { return };
        match self.slots[index].phase {
            Phase::Starting(_) => {
                self.port.give_up_trial();
                self.stop_worker(index, now + self.policy.drain, libc::SIGTERM, now, effects);
            }
            Phase::Ready(..) => self.port.accept_trial(),
            _ => self.port.give_up_trial(), // it is about to end by itself
        }
    }
}
