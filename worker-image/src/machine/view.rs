//! What the machine shows: when it wants to be called again, what it wants to be watched, and its part of the stats.

use std::time::Duration;

use primary_protocol::{Deaths, Replaced, ReplicaState, Slot as SlotStats, SlotState, Usage, WorkerCounts};

use super::slot::{LEAVING_MAX, Phase, Slot, Vacancy, Worker};
use super::{Machine, Moment, Reason, Settings};

/// What the loop should look at for the machine, because the kernel does not report it by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Workers that may be about to bind the port themselves.
    pub own_socket: Vec<u32>,
    /// Workers that may be about to use the inherited socket.
    pub uses_listener: Vec<u32>,
    /// Whether workers are to be sampled once a second.
    pub samples: bool,
    /// Whether the accept queues are to be looked at until nobody waits in them.
    pub emptying: bool,
    /// Workers that are to leave when nobody waits for them any more.
    pub untold: Vec<super::Untold>,
    /// Workers with sockets of their own that are not ready yet.
    pub unproven: Vec<u32>,
    /// All workers have been told to leave, and none comes any more.
    pub nobody_comes: bool,
}

/// One process of the user's command, as the machine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The number of its slot.
    pub slot: u32,
    /// Its process id.
    pub pid: u32,
    /// What it is there for.
    pub role: Role,
    /// When it was forked.
    pub since: Moment,
    /// What it uses, but for its connections, which the machine does not see.
    pub usage: Usage,
}

/// What a worker is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not ready yet.
    Starting,
    /// Serves.
    Ready,
    /// Is to take the place of another when it is ready.
    Successor,
    /// Finishes what it has, and ends.
    Leaving(Reason),
}

impl Machine {
    /// The next time at which something is due without an event.
    pub fn next_due(&self) -> Option<Moment> {
        let mut due = DueTime::default();
        if let Some(plan) = self.stop {
            due.add(plan.due());
        }
        if let Some((_, at)) = self.port.trial_ends() {
            due.add(at);
        }
        for at in self.renewals_due().into_iter().chain(self.verdicts_due()).chain(self.shares_due()) {
            due.add(at);
        }
        let free_at = self.starts_free_at();
        for slot in &self.slots {
            if let Phase::Waiting { until } = slot.phase
                && slot.leaving.len() < LEAVING_MAX
            {
                let until = until.max(free_at);
                match (slot.gate, self.port.is_waiting()) {
                    (Some(gate), _) => due.add(gate.max(until)),
                    (None, true) => {}
                    (None, false) => due.add(until),
                }
            }
            for worker in slot.starting() {
                if let Some(time) = self.alive_suffices_after(worker) {
                    due.add(worker.since + time);
                }
                if !worker.reported {
                    due.add(worker.since + self.late_after(worker));
                }
            }
            for leaving in &slot.leaving {
                if let Some(at) = leaving.untold_until {
                    due.add(at);
                    continue;
                }
                if let Some(at) = leaving.signal_at.filter(|_| !leaving.lingers) {
                    due.add(at);
                }
                if !leaving.killed {
                    due.add(leaving.deadline);
                }
            }
        }
        due.0
    }

    /// What the loop should look at.
    pub fn watch(&self) -> Watch {
        let (samples, emptying) = (self.wants_samples(), self.is_emptying());
        let mut watch = Watch { samples, emptying, ..Watch::default() };
        watch.untold = self.untold();
        watch.nobody_comes = self.is_draining();
        if self.policy.sockets == super::Sockets::PerWorker {
            let starting = self.slots.iter().flat_map(Slot::starting);
            watch.unproven = starting.map(|worker| worker.pid).collect();
        }
        let listening = self.policy.ready == super::ReadyRule::Listening;
        for slot in &self.slots {
            for worker in slot.starting() {
                if self.port.wants_own_socket() {
                    watch.own_socket.push(worker.pid);
                }
                if worker.with_listener && (self.port.wants_proof() || listening) {
                    watch.uses_listener.push(worker.pid);
                }
            }
            if let Phase::Ready(worker, readiness) = &slot.phase {
                if !readiness.served && self.port.wants_own_socket() {
                    watch.own_socket.push(worker.pid);
                }
                if worker.with_listener && self.port.wants_proof() {
                    watch.uses_listener.push(worker.pid);
                }
            }
        }
        watch
    }

    /// Ready workers in which Node's cluster module runs.
    pub fn online(&self) -> Vec<u32> {
        let online = |slot: &Slot| match &slot.phase {
            Phase::Ready(worker, _) if worker.channel == super::slot::Channel::Online => Some(worker.pid),
            _ => None,
        };
        self.slots.iter().filter_map(online).collect()
    }

    /// How many slots there are.
    pub fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The slot of a worker.
    pub fn slot_of(&self, pid: u32) -> Option<u32> {
        Some(self.slots.get(self.index_of(pid)?)?.number)
    }

    /// Whether a worker that ended may leave processes behind for now, because it was asked to stop.
    pub fn spares_group(&self, pid: u32) -> bool {
        let leaving = self.slots.iter().flat_map(|slot| &slot.leaving).find(|leaving| leaving.worker.pid == pid);
        leaving.is_some_and(|leaving| self.is_draining() || leaving.reason.spares_group())
    }

    /// The workers that ended and left processes of their group behind.
    pub fn lingering(&self) -> Vec<u32> {
        let leaving = self.slots.iter().flat_map(|slot| &slot.leaving);
        leaving.filter(|leaving| leaving.lingers).map(|leaving| leaving.worker.pid).collect()
    }

    /// The worker processes that exist.
    pub fn workers(&self) -> Vec<u32> {
        self.slots.iter().flat_map(Slot::workers).map(|worker| worker.pid).collect()
    }

    /// Every worker process, by slot: the one that counts first, those that leave last.
    pub fn seen(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for slot in &self.slots {
            let mut add = |worker: &Worker, role: Role| {
                let usage = worker.vitals.usage();
                seen.push(Seen { slot: slot.number, pid: worker.pid, role, since: worker.since, usage });
            };
            if let Some(worker) = slot.incumbent() {
                add(worker, if slot.is_ready() { Role::Ready } else { Role::Starting });
            }
            if let Some(heir) = slot.heir() {
                add(heir, Role::Successor);
            }
            for leaving in slot.leaving.iter().filter(|leaving| !leaving.lingers) {
                add(&leaving.worker, Role::Leaving(leaving.reason));
            }
        }
        seen
    }

    /// Which worker of a slot, or of the process group of one of them, said something. Where only the slot is known
    /// (`systemd-notify` has ended before anybody could look), it is the one that is not ready yet.
    pub fn speaker(&self, slot: u32, group: Option<u32>) -> Option<u32> {
        let slot = self.slots.iter().find(|one| one.number == slot)?;
        let mut workers = slot.starting().chain(slot.workers());
        workers.find(|worker| group.is_none_or(|group| group == worker.pid)).map(|worker| worker.pid)
    }

    /// Whether the kernel shall be asked for a worker's memory as exactly as it can: its limit, if it has one.
    pub fn memory_limit(&self) -> Option<u64> {
        self.settings.recycle.memory
    }

    /// What the machine goes by now.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the replica is not ready by order.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// How many workers were replaced for which reason.
    pub fn replaced(&self) -> Replaced {
        self.replaced
    }

    /// What the replica is doing.
    pub fn replica_state(&self) -> ReplicaState {
        if self.stop.is_some() || self.withdrawn {
            ReplicaState::Draining
        } else if self.slots.iter().any(Slot::is_ready) {
            ReplicaState::Serving
        } else if self.served {
            ReplicaState::Unavailable
        } else {
            ReplicaState::Starting
        }
    }

    /// Numbers of workers; the machine does not know which are busy.
    pub fn counts(&self) -> WorkerCounts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        WorkerCounts {
            desired: self.desired(),
            ready: number(self.slots.iter().filter(|slot| slot.is_ready()).count()),
            running: number(self.slots.iter().flat_map(Slot::workers).count()),
            busy: None,
            restarts: self.slots.iter().map(|slot| slot.restarts).sum(),
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
        let leaves = self.leaving.first();
        let state = match self.phase {
            Phase::Forking { .. } | Phase::Starting(_) => SlotState::Starting,
            Phase::Ready(..) => SlotState::Ready,
            Phase::Empty(_) if leaves.is_some() => SlotState::Stopping,
            // After a handover it forks as soon as that is looked at.
            Phase::Waiting { .. } | Phase::Empty(Vacancy::Handover) => SlotState::BackOff,
            Phase::Empty(_) => SlotState::Stopped,
        };
        let worker = self.incumbent().or(leaves.filter(|leaving| !leaving.lingers).map(|leaving| &leaving.worker));
        let evidence = if let Phase::Ready(_, readiness) = &self.phase { Some(readiness.evidence) } else { None };
        let retry = if let Phase::Waiting { until } = self.phase {
            Some(milliseconds(self.gate.map_or(until, |gate| gate.max(until)).saturating_sub(now)))
        } else {
            None
        };
        SlotStats {
            slot: self.number,
            state,
            pid: worker.map(|worker| worker.pid),
            evidence,
            up_milliseconds: worker.map(|worker| milliseconds(now.saturating_sub(worker.since))),
            retry_milliseconds: retry,
            restarts: self.restarts,
            last_exit: self.last_exit.as_ref().map(ToString::to_string),
            usage: worker.map(|worker| worker.vitals.usage()).unwrap_or_default(),
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
