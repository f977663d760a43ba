//! How one worker leaves: asked by Node's `disconnect` or a signal, killed at its deadline, and what follows for its slot.

use std::time::Duration;

use super::port::Death;
use super::settings::HANG_GRACE;
use super::slot::{Channel, Leaving, Phase, Readiness, Successor, Vacancy, Worker};
use super::{Change, Effect, Machine, Moment, Note, Reason, Sockets};

/// A Node worker that has closed its channel has this long to end by itself, with whatever its program does after
/// `disconnect`; then it gets the signal, for a timer may keep it.
const END_BY_ITSELF: Duration = Duration::from_secs(1);

/// When a Node worker that was asked to disconnect and still runs gets the signal: when half of its time is over. What
/// holds it up then (WebSockets) is ended by the program's handler, which has the other half for it.
fn signal_time(now: Moment, deadline: Moment) -> Moment {
    now + deadline.saturating_sub(now) / 2
}

impl Machine {
    /// The signal that asks a worker to stop.
    pub(super) fn stop_signal(&self) -> i32 {
        self.stop.map_or(libc::SIGTERM, |plan| plan.signal)
    }

    /// Until when a worker that is asked to leave now may finish.
    pub(super) fn drain_deadline(&self, now: Moment) -> Moment {
        let deadline = now + self.settings.drain;
        self.stop.map_or(deadline, |plan| plan.deadline.min(deadline).max(now))
    }

    /// Takes the slot's own worker out of its place and asks it to leave; nobody is to take the place but for the
    /// reason that `vacancy` gives.
    pub(super) fn vacate(
        &mut self,
        index: usize,
        vacancy: Vacancy,
        reason: Reason,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let phase = std::mem::replace(&mut self.slots[index].phase, Phase::Empty(vacancy));
        self.slots[index].gate = None;
        match phase {
            Phase::Starting(worker) => self.leave(index, worker, None, reason, now, effects),
            Phase::Ready(worker, readiness) => self.leave(index, worker, Some(readiness), reason, now, effects),
            forking @ Phase::Forking { .. } => self.slots[index].phase = forking, // it is asked when it is there
            Phase::Waiting { .. } | Phase::Empty(_) => {}
        }
    }

    /// Asks the worker that was to take the incumbent's place to leave.
    pub(super) fn dismiss_successor(&mut self, index: usize, reason: Reason, now: Moment, effects: &mut Vec<Effect>) {
        match self.slots[index].successor.take() {
            Some(Successor::Starting(worker)) => self.leave(index, worker, None, reason, now, effects),
            Some(Successor::Ready(worker, readiness)) => {
                self.leave(index, worker, Some(readiness), reason, now, effects);
            }
            forking => self.slots[index].successor = forking,
        }
    }

    /// Asks a worker to leave.
    pub(super) fn leave(
        &mut self,
        index: usize,
        worker: Worker,
        readiness: Option<Readiness>,
        reason: Reason,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let pid = worker.pid;
        let ready_for = readiness.map(|readiness| now.saturating_sub(readiness.since));
        if reason != Reason::Stop {
            effects.push(Effect::Change(Change::Leaving { slot: self.slots[index].number, pid, reason }));
        }
        let untold_until = self.untold_until(reason, ready_for.is_some(), now);
        let deadline = self.drain_deadline(now);
        let leaving = Leaving {
            worker,
            reason,
            untold_until,
            upgraded_until: deadline,
            signal_at: None,
            deadline,
            killed: false,
            ready_for,
            lingers: false,
        };
        let leaving = if untold_until.is_some() { leaving } else { self.tell(&leaving, now, effects) };
        self.slots[index].leaving.push(leaving);
    }

    /// Tells a worker that it is to leave; its time begins now.
    pub(super) fn tell(&self, leaving: &Leaving, now: Moment, effects: &mut Vec<Effect>) -> Leaving {
        let (pid, was_ready) = (leaving.worker.pid, leaving.ready_for.is_some());
        let (mut deadline, mut signal_at) = (self.drain_deadline(now), None);
        match (leaving.reason, self.settings.hang) {
            (Reason::Hung, hang) => {
                // The whole group: what hangs may be a child that the worker waits for.
                let signal = hang.map_or(libc::SIGABRT, |hang| hang.signal);
                effects.push(Effect::Signal { pid, signal, group: true });
                deadline = deadline.min(now + HANG_GRACE);
            }
            // A worker that never was ready has nothing in flight, and no ear for the message perhaps.
            _ if leaving.worker.channel == Channel::Online && was_ready => {
                effects.push(Effect::Disconnect { pid });
                let half = signal_time(now, deadline);
                // One whose requests are done was told late: what holds it up now has no more to finish.
                let late = (now + END_BY_ITSELF).max(deadline.saturating_sub(self.settings.drain / 2));
                signal_at = Some(if self.policy.sockets == Sockets::PerWorker { half.min(late) } else { half });
            }
            _ => effects.push(Effect::Signal { pid, signal: self.stop_signal(), group: self.policy.stop_group }),
        }
        Leaving { untold_until: None, signal_at, deadline, ..leaving.clone() }
    }

    /// Node's channel of a worker was closed.
    pub(super) fn on_channel_closed(&mut self, pid: u32, now: Moment) {
        let deadline = self.drain_deadline(now);
        let Some(index) = self.index_of(pid) else { return };
        let slot = &mut self.slots[index];
        let Some(worker) = slot.worker_mut(pid) else { return };
        let was_online = std::mem::replace(&mut worker.channel, Channel::None) == Channel::Online;
        if let Some(leaving) = slot.leaving.iter_mut().find(|leaving| leaving.worker.pid == pid) {
            // All its connections have ended.
            if leaving.reason != Reason::ByItself {
                leaving.signal_at = leaving.signal_at.map(|at| at.min(now + END_BY_ITSELF));
            }
            return;
        }
        let is_incumbent = slot.incumbent().is_some_and(|worker| worker.pid == pid);
        if !is_incumbent || !was_online {
            return;
        }
        // It left the cluster (`worker.disconnect()`): it serves nothing any more, and ends when it has finished.
        let ready_for = slot.ready_for(now);
        let phase = std::mem::replace(&mut slot.phase, Phase::Empty(Vacancy::Handover));
        if let Phase::Starting(worker) | Phase::Ready(worker, _) = phase {
            let signal_at = Some(signal_time(now, deadline));
            let reason = Reason::ByItself;
            slot.leaving.push(Leaving {
                worker,
                reason,
                untold_until: None,
                upgraded_until: deadline,
                signal_at,
                deadline,
                killed: false,
                ready_for,
                lingers: false,
            });
            slot.succeed();
        }
    }

    /// A worker that was leaving has ended: the slot may go on.
    pub(super) fn on_left(
        &mut self,
        index: usize,
        at: usize,
        group_left: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Option<Leaving> {
        let draining = self.is_draining();
        let slot = &mut self.slots[index];
        let leaving = slot.leaving.get_mut(at)?;
        let (pid, reason) = (leaving.worker.pid, leaving.reason);
        let left = leaving.clone();
        if group_left && (draining || reason.spares_group()) {
            leaving.lingers = true;
            return Some(left);
        }
        slot.leaving.remove(at);
        if group_left {
            effects.push(Effect::Signal { pid, signal: libc::SIGKILL, group: true });
        }
        self.free_port(index, now, effects);
        self.after_leaving(index, reason, left.ready_for, now, effects);
        Some(left)
    }

    /// Where the worker that left was to show whether it binds the port, somebody else has to.
    fn free_port(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        if !self.is_draining() && self.port.on_death(Death::of_nobody(self.slots[index].number), now, false) {
            effects.push(Effect::Reopen);
        }
    }

    /// Nothing is left of a worker that was asked to leave.
    fn after_leaving(
        &mut self,
        index: usize,
        reason: Reason,
        ready_for: Option<Duration>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if !matches!(self.slots[index].phase, Phase::Empty(Vacancy::Handover)) {
            return;
        }
        let settled = ready_for.is_some_and(|time| time >= super::SETTLED);
        match reason {
            Reason::Trial => self.back_off(index, now, effects),
            Reason::Hung | Reason::ByItself if !settled => self.back_off(index, now, effects),
            _ => {
                self.slots[index].planned = !matches!(reason, Reason::Hung | Reason::ByItself);
                self.slots[index].phase = Phase::Waiting { until: now };
            }
        }
    }

    pub(super) fn on_group_ended(&mut self, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let found = slot.leaving.iter().position(|leaving| leaving.lingers && leaving.worker.pid == pid);
            if let Some(at) = found {
                let leaving = slot.leaving.remove(at);
                self.free_port(index, now, effects);
                self.after_leaving(index, leaving.reason, leaving.ready_for, now, effects);
            }
        }
    }

    /// Signals and kills that are due.
    pub(super) fn advance_leaving(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let (signal, group) = (self.stop_signal(), self.policy.stop_group);
        for slot in &mut self.slots {
            let number = slot.number;
            for leaving in slot.leaving.iter_mut().filter(|leaving| leaving.untold_until.is_none()) {
                let pid = leaving.worker.pid;
                if !leaving.lingers && leaving.signal_at.is_some_and(|at| now >= at) {
                    leaving.signal_at = None;
                    effects.push(Effect::Signal { pid, signal, group });
                }
                if now >= leaving.deadline && !leaving.killed {
                    leaving.killed = true;
                    effects.push(Effect::Note(Note::Overdue { slot: number, pid }));
                    effects.push(Effect::Signal { pid, signal: libc::SIGKILL, group: true });
                }
            }
        }
    }
}
