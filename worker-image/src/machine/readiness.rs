//! What makes a worker ready.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::slot::{Channel, Phase, Readiness, Worker};
use super::{CHANNEL_SILENT_FACTOR, Effect, Machine, Moment, NEVER_READY, Note, ReadyRule};

/// Whether a worker was seen to serve, and not only to live.
fn shows_service(evidence: ReadyEvidence) -> bool {
    matches!(evidence, ReadyEvidence::Listening | ReadyEvidence::Notify | ReadyEvidence::OwnSocket)
}

impl ReadyRule {
    fn accepts(self, evidence: ReadyEvidence) -> bool {
        match self {
            Self::Auto | Self::Immediate => true,
            Self::Notify => evidence == ReadyEvidence::Notify,
            Self::Listening => matches!(evidence, ReadyEvidence::Listening | ReadyEvidence::OwnSocket),
        }
    }
}

impl Machine {
    pub(super) fn on_evidence(&mut self, pid: u32, evidence: ReadyEvidence, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        if shows_service(evidence) {
            let with_listener = self.slots[index].worker().is_some_and(|worker| worker.with_listener);
            let owned = self.port.is_owned();
            self.port.on_served(index, with_listener);
            if !owned && self.port.is_owned() {
                effects.push(Effect::Note(Note::PortOwnedByWorker { slot: self.slots[index].number }));
            }
        }
        if self.policy.ready.accepts(evidence) {
            self.become_ready(index, evidence, now, effects);
        }
    }

    /// A worker was seen to use the inherited socket: evidence about the port, and of readiness where it is asked for.
    pub(super) fn on_uses_listener(&mut self, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(pid) else { return };
        let Some(true) = self.slots[index].worker().map(|worker| worker.with_listener) else { return };
        self.port.on_served(index, true);
        if self.policy.ready == ReadyRule::Listening {
            self.become_ready(index, ReadyEvidence::Listening, now, effects);
        } else if let Phase::Ready(_, readiness) = &mut self.slots[index].phase {
            readiness.served = true;
        }
    }

    pub(super) fn become_ready(
        &mut self,
        index: usize,
        evidence: ReadyEvidence,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        match &mut slot.phase {
            Phase::Starting(worker) => {
                let after = now.saturating_sub(worker.since);
                effects.push(Effect::Note(Note::Ready { slot: slot.number, pid: worker.pid, evidence, after }));
                let readiness = Readiness { since: now, evidence, served: shows_service(evidence) };
                slot.phase = Phase::Ready(worker.clone(), readiness);
                self.served = true;
            }
            // Better evidence than that it is alive comes late from programs that start slowly.
            Phase::Ready(_, readiness) if shows_service(evidence) => {
                readiness.served = true;
                if matches!(readiness.evidence, ReadyEvidence::Alive) {
                    readiness.evidence = evidence;
                }
            }
            _ => {}
        }
    }

    /// How long a worker has to be alive to be ready for nothing better; `None` if something better is to be had.
    pub(super) fn alive_suffices_after(&self, worker: &Worker) -> Option<Duration> {
        if self.policy.ready != ReadyRule::Auto || self.port.wants_own_socket() {
            return None;
        }
        match worker.channel {
            Channel::Online if self.policy.listens => None,
            Channel::Silent => Some(self.policy.startup * CHANNEL_SILENT_FACTOR),
            Channel::Online | Channel::None => Some(self.policy.startup),
        }
    }

    pub(super) fn advance_readiness(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let Phase::Starting(worker) = &self.slots[index].phase else { continue };
            let lived = now.saturating_sub(worker.since);
            if self.alive_suffices_after(worker).is_some_and(|time| lived >= time) {
                self.become_ready(index, ReadyEvidence::Alive, now, effects);
                continue;
            }
            let slot = &mut self.slots[index];
            let Phase::Starting(worker) = &mut slot.phase else { continue };
            if lived >= NEVER_READY && !worker.reported {
                worker.reported = true;
                effects.push(Effect::Note(Note::NeverReady { slot: slot.number, pid: worker.pid, after: lived }));
            }
        }
    }
}
