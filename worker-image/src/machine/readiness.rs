//! What makes a worker ready.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::slot::{Channel, Phase, Place, Readiness, Slot, Successor, Vacancy, Worker};
use super::{CHANNEL_SILENT_FACTOR, Change, Effect, Machine, Moment, NEVER_READY, Note, ReadyRule, SETTLED, Sockets};

/// Whether a worker was seen to serve, and not only to live.
fn shows_service(evidence: ReadyEvidence) -> bool {
    matches!(
        evidence,
        ReadyEvidence::Listening | ReadyEvidence::Notify | ReadyEvidence::OwnSocket | ReadyEvidence::Http
    )
}

impl ReadyRule {
    fn accepts(self, evidence: ReadyEvidence) -> bool {
        match self {
            Self::Auto | Self::Immediate => true,
            Self::Notify => evidence == ReadyEvidence::Notify,
            Self::Http => evidence == ReadyEvidence::Http,
            Self::Listening => matches!(evidence, ReadyEvidence::Listening | ReadyEvidence::OwnSocket),
        }
    }
}

impl Machine {
    pub(super) fn on_evidence(&mut self, pid: u32, evidence: ReadyEvidence, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        let slot = &mut self.slots[index];
        let number = slot.number;
        if shows_service(evidence) {
            let with_listener = slot.worker_mut(pid).is_some_and(|worker| worker.with_listener);
            let owned = self.port.is_owned();
            self.port.on_served(number, with_listener);
            if !owned && self.port.is_owned() {
                effects.push(Effect::Note(Note::PortOwnedByWorker { slot: number }));
            }
        }
        if self.policy.ready.accepts(evidence) {
            self.become_ready(index, pid, evidence, now, effects);
        }
    }

    /// A worker was seen to use the inherited socket: evidence about the port, and of readiness where it is asked for.
    pub(super) fn on_uses_listener(&mut self, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        let slot = &mut self.slots[index];
        let Some(true) = slot.worker_mut(pid).map(|worker| worker.with_listener) else { return };
        self.port.on_served(slot.number, true);
        if self.policy.ready == ReadyRule::Listening {
            self.become_ready(index, pid, ReadyEvidence::Listening, now, effects);
        } else if let Phase::Ready(worker, readiness) = &mut slot.phase
            && worker.pid == pid
        {
            readiness.served = true;
        }
    }

    pub(super) fn become_ready(
        &mut self,
        index: usize,
        pid: u32,
        evidence: ReadyEvidence,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        let ready = |worker: &Worker, effects: &mut Vec<Effect>| {
            let after = now.saturating_sub(worker.since);
            effects.push(Effect::Note(Note::Ready { slot: slot.number, pid, evidence, after }));
            Readiness { since: now, evidence, served: shows_service(evidence) }
        };
        match (slot.place_of(pid), &mut slot.phase, &mut slot.successor) {
            (Some(Place::Successor), _, Some(Successor::Starting(worker))) => {
                slot.successor = Some(Successor::Ready(worker.clone(), ready(worker, effects)));
            }
            (Some(Place::Incumbent), Phase::Starting(worker), _) => {
                slot.phase = Phase::Ready(worker.clone(), ready(worker, effects));
                self.served = true;
            }
            (Some(Place::Successor), _, Some(Successor::Ready(_, readiness)))
            | (Some(Place::Incumbent), Phase::Ready(_, readiness), _) => readiness.improve(evidence),
            _ => {}
        }
    }

    /// A successor has stayed ready: it takes the incumbent's place, and the incumbent leaves.
    fn promote(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        if slot.heir_ready_since().is_none_or(|since| now.saturating_sub(since) < SETTLED) {
            return;
        }
        let Some(Successor::Ready(heir, readiness)) = slot.successor.take() else { return };
        let old = slot.incumbent().map(|worker| worker.pid);
        let reason = slot.renewal.as_ref().map(|renewal| renewal.reason);
        effects.push(Effect::Change(Change::Replaced { slot: slot.number, pid: heir.pid, old, reason }));
        self.vacate(index, Vacancy::Handover, reason.unwrap_or(super::Reason::Reload), now, effects);
        self.slots[index].phase = Phase::Ready(heir, readiness);
        self.served = true;
    }

    /// How long a worker has to be alive to be ready for nothing better; `None` if something better is to be had.
    pub(super) fn alive_suffices_after(&self, worker: &Worker) -> Option<Duration> {
        // Of a worker with sockets of its own it is seen whether it accepts.
        let seen = self.port.wants_own_socket() || self.policy.sockets == Sockets::PerWorker;
        if self.policy.ready != ReadyRule::Auto || seen {
            return None;
        }
        match worker.channel {
            Channel::Online if self.policy.listens => None,
            Channel::Silent => Some(self.settings.startup * CHANNEL_SILENT_FACTOR),
            Channel::Online | Channel::None => Some(self.settings.startup),
        }
    }

    /// A worker that is not ready after this long is told of.
    pub(super) fn late_after(&self, worker: &Worker) -> Duration {
        let expected = self.alive_suffices_after(worker).unwrap_or(self.settings.startup);
        NEVER_READY.max(expected + SETTLED)
    }

    pub(super) fn advance_readiness(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let starting: Vec<Worker> = self.slots[index].starting().cloned().collect();
            for worker in starting {
                let lived = now.saturating_sub(worker.since);
                if self.alive_suffices_after(&worker).is_some_and(|time| lived >= time) {
                    self.become_ready(index, worker.pid, ReadyEvidence::Alive, now, effects);
                } else if lived >= self.late_after(&worker) && !worker.reported {
                    let slot = &mut self.slots[index];
                    let number = slot.number;
                    if let Some(worker) = slot.worker_mut(worker.pid) {
                        worker.reported = true;
                    }
                    effects.push(Effect::Note(Note::NeverReady { slot: number, pid: worker.pid, after: lived }));
                }
            }
            self.promote(index, now, effects);
        }
    }
}

impl Slot {
    /// The workers that have to show yet that they are ready.
    pub fn starting(&self) -> impl Iterator<Item = &Worker> {
        let incumbent = if let Phase::Starting(worker) = &self.phase { Some(worker) } else { None };
        let heir = if let Some(Successor::Starting(worker)) = &self.successor { Some(worker) } else { None };
        incumbent.into_iter().chain(heir)
    }
}

impl Readiness {
    /// Better evidence than that it is alive comes late from programs that start slowly.
    fn improve(&mut self, evidence: ReadyEvidence) {
        if shows_service(evidence) {
            self.served = true;
            if matches!(self.evidence, ReadyEvidence::Alive) {
                self.evidence = evidence;
            }
        }
    }
}
