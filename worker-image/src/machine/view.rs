//! What the machine shows: when it wants to be called again, what it wants to be watched, and its part of the stats.

use std::time::Duration;

use primary_protocol::{Deaths, ReplicaState, Slot as SlotStats, SlotState, WorkerCounts};

use super::slot::{Phase, Slot};
use super::stop::StopOrder;
use super::{Machine, Moment, NEVER_READY};

/// What the loop should look at for the machine, because the kernel does not report it by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Workers that may be about to bind the port themselves.
    pub own_socket: Vec<u32>,
    /// Workers that may be about to use the inherited socket.
    pub uses_listener: Vec<u32>,
}

impl Machine {
    /// The next time at which something is due without an event.
    pub fn next_due(&self) -> Option<Moment> {
        let mut due = DueTime::default();
        if let Some(plan) = self.stop {
            due.add(if plan.draining { plan.deadline + super::stop::KILL_GRACE } else { plan.drain_at });
        }
        if let Some((_, at)) = self.port.trial_ends() {
            due.add(at);
        }
        for slot in &self.slots {
            match &slot.phase {
                Phase::Waiting { until } => match (slot.gate, self.port.is_waiting()) {
                    (Some(gate), _) => due.add(gate.max(*until)),
                    (None, true) => {}
                    (None, false) => due.add(*until),
                },
                Phase::Starting(worker) => {
                    if let Some(time) = self.alive_suffices_after(worker) {
                        due.add(worker.since + time);
                    }
                    if !worker.reported {
                        due.add(worker.since + NEVER_READY);
                    }
                }
                Phase::Stopping(_, StopOrder { signal_at, deadline, killed, .. }) => {
                    if let Some(at) = signal_at {
                        due.add(*at);
                    }
                    if !killed {
                        due.add(*deadline);
                    }
                }
                Phase::Lingering { deadline, killed: false, .. } => due.add(*deadline),
                Phase::Forking { .. } | Phase::Ready(..) | Phase::Lingering { .. } | Phase::Stopped => {}
            }
        }
        due.0
    }

    /// What the loop should look at.
    pub fn watch(&self) -> Watch {
        let mut watch = Watch::default();
        for slot in &self.slots {
            match &slot.phase {
                Phase::Starting(worker) if self.port.wants_own_socket() => watch.own_socket.push(worker.pid),
                Phase::Ready(worker, readiness) if !readiness.served && self.port.wants_own_socket() => {
                    watch.own_socket.push(worker.pid);
                }
                Phase::Starting(worker) | Phase::Ready(worker, _)
                    if worker.with_listener && (self.port.wants_proof() || self.wants_listening(slot)) =>
                {
                    watch.uses_listener.push(worker.pid);
                }
                _ => {}
            }
        }
        watch
    }

    fn wants_listening(&self, slot: &Slot) -> bool {
        self.policy.ready == super::ReadyRule::Listening && !slot.is_ready()
    }

    /// Whether a worker that ended may leave processes behind for now, because it was asked to stop.
    pub fn spares_group(&self, pid: u32) -> bool {
        self.is_draining()
            && self.index_of(pid).is_some_and(|index| matches!(self.slots[index].phase, Phase::Stopping(..)))
    }

    /// The workers that ended and left processes of their group behind.
    pub fn lingering(&self) -> Vec<u32> {
        let pid_of = |slot: &Slot| if let Phase::Lingering { pid, .. } = slot.phase { Some(pid) } else { None };
        self.slots.iter().filter_map(pid_of).collect()
    }

    /// The worker processes that exist.
    pub fn workers(&self) -> Vec<u32> {
        self.slots.iter().filter_map(|slot| slot.worker().map(|worker| worker.pid)).collect()
    }

    /// The number of the slot that a worker is in.
    pub fn slot_number(&self, pid: u32) -> Option<u32> {
        self.index_of(pid).map(|index| self.slots[index].number)
    }

    /// What the replica is doing.
    pub fn replica_state(&self) -> ReplicaState {
        if self.stop.is_some() {
            ReplicaState::Draining
        } else if self.slots.iter().any(Slot::is_ready) {
            ReplicaState::Serving
        } else if self.served {
            ReplicaState::Unavailable
        } else {
            ReplicaState::Starting
        }
    }

    /// Numbers of workers; nobody here knows which are busy.
    pub fn counts(&self) -> WorkerCounts {
        let count = |test: &dyn Fn(&Slot) -> bool| {
            u32::try_from(self.slots.iter().filter(|slot| test(slot)).count()).unwrap_or(u32::MAX)
        };
        WorkerCounts {
            desired: self.policy.count,
            ready: count(&Slot::is_ready),
            running: count(&|slot| slot.worker().is_some()),
            busy: None,
            restarts: self.slots.iter().map(|slot| slot.forks.saturating_sub(1)).sum(),
        }
    }

    /// Why workers ended.
    pub fn deaths(&self) -> Deaths {
        self.deaths
    }

    /// One entry for each slot, in slot order.
    pub fn slot_stats(&self, now: Moment) -> Vec<SlotStats> {
        self.slots.iter().map(|slot| slot.stats(now)).collect()
    }
}

impl Slot {
    fn stats(&self, now: Moment) -> SlotStats {
        let state = match self.phase {
            Phase::Waiting { .. } => SlotState::BackOff,
            Phase::Forking { .. } | Phase::Starting(_) => SlotState::Starting,
            Phase::Ready(..) => SlotState::Ready,
            Phase::Stopping(..) | Phase::Lingering { .. } => SlotState::Stopping,
            Phase::Stopped => SlotState::Stopped,
        };
        let evidence = if let Phase::Ready(_, readiness) = &self.phase { Some(readiness.evidence) } else { None };
        let retry = if let Phase::Waiting { until } = self.phase {
            Some(milliseconds(self.gate.map_or(until, |gate| gate.max(until)).saturating_sub(now)))
        } else {
            None
        };
        SlotStats {
            slot: self.number,
            state,
            pid: self.worker().map(|worker| worker.pid),
            evidence,
            up_milliseconds: self.worker().map(|worker| milliseconds(now.saturating_sub(worker.since))),
            retry_milliseconds: retry,
            restarts: self.forks.saturating_sub(1),
            last_exit: self.last_exit.as_ref().map(ToString::to_string),
        }
    }
}

/// Milliseconds as the stats carry them.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The earliest of several times.
#[derive(Default)]
struct DueTime(Option<Moment>);

impl DueTime {
    fn add(&mut self, at: Moment) {
        self.0 = Some(self.0.map_or(at, |earliest| earliest.min(at)));
    }
}
