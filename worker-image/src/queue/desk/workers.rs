//! Workers at the desk: where they are, what was seen of them, and who gets requests.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::super::table::WorkerId;
use super::Desk;
use crate::listener;
use crate::proc::is_ending;
use std::net::SocketAddr;

/// A worker, as it is reached.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub address: SocketAddr,
    process: Option<Process>,
    /// Whether it gave a good answer when it was asked for one. `None` where that is not known yet.
    checked: Option<bool>,
    /// Whether it speaks TLS. `None` where it was not asked.
    tls: Option<bool>,
}

/// The process of a worker.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    /// Becomes readable when it has ended. `None` where the kernel has no such descriptors.
    pub descriptor: Option<Arc<OwnedFd>>,
}

impl Process {
    fn has_ended(&self) -> bool {
        self.descriptor.as_ref().is_some_and(|descriptor| listener::has_waiting(descriptor.as_fd()))
    }
}

impl Desk {
    /// A worker takes requests at this address.
    pub fn admit(&self, worker: WorkerId, address: SocketAddr, process: Option<Process>) {
        let now = self.now();
        let mut state = self.state();
        state.table.admit(worker, now);
        state.workers.insert(worker, Known { address, process, checked: None, tls: None });
    }

    /// It takes them elsewhere.
    pub fn relocate(&self, worker: WorkerId, address: SocketAddr) {
        if let Some(known) = self.state().workers.get_mut(&worker) {
            known.address = address;
        }
    }

    pub fn address(&self, worker: WorkerId) -> Option<SocketAddr> {
        Some(self.state().workers.get(&worker)?.address)
    }

    /// A worker was asked whether it is ready.
    pub fn checked(&self, worker: WorkerId, good: bool) {
        if let Some(known) = self.state().workers.get_mut(&worker) {
            known.checked = Some(good);
        }
    }

    /// What it answered; whoever looks takes it away.
    pub fn take_check(&self, worker: WorkerId) -> Option<bool> {
        self.state().workers.get_mut(&worker)?.checked.take()
    }

    /// A worker closed a connection without a word: whether that is the first time, so that it is asked why.
    pub fn wonders(&self, worker: WorkerId) -> bool {
        let mut state = self.state();
        let Some(known) = state.workers.get_mut(&worker).filter(|known| known.tls.is_none()) else { return false };
        known.tls = Some(false);
        true
    }

    /// It speaks TLS.
    pub fn speaks_tls(&self, worker: WorkerId) {
        if let Some(known) = self.state().workers.get_mut(&worker) {
            known.tls = Some(true);
        }
    }

    /// Whether a worker does.
    pub fn meets_tls(&self) -> bool {
        self.state().workers.values().any(|known| known.tls == Some(true))
    }

    /// A worker is dead.
    pub fn forget(&self, worker: WorkerId) {
        self.turn_all(|state, now| {
            state.workers.remove(&worker);
            state.table.forget(worker, now)
        });
    }

    /// Whether a worker gets new requests.
    pub fn is_chosen(&self, worker: WorkerId) -> bool {
        self.state().table.is_chosen(worker)
    }

    /// Whether a worker has ended, or has begun to, also where the primary's loop has not come by yet. It gets no request any more, or not until it is
    /// known to have ended.
    pub fn has_ended(&self, worker: WorkerId) -> bool {
        let known = self.state().workers.get(&worker).cloned();
        let Some(known) = known else { return true };
        let Some(process) = known.process else { return false };
        if process.has_ended() {
            self.forget(worker);
            return true;
        }
        let is_ending = is_ending(process.pid);
        if is_ending {
            self.rest(worker);
        }
        is_ending
    }

    /// Only these get new requests from now on.
    pub fn choose(&self, chosen: BTreeSet<WorkerId>) {
        self.turn(|table, now| table.choose(chosen, now));
    }

    /// A worker took no connection: it gets no request for a moment.
    pub fn rest(&self, worker: WorkerId) {
        let now = self.now();
        self.state().table.rest(worker, now);
    }

    /// Whether a worker is given nothing for now, since it took no connection.
    pub fn rests(&self, worker: WorkerId) -> bool {
        self.state().table.rests(worker)
    }

    /// How many requests a worker has answered.
    pub fn served(&self, worker: WorkerId) -> Option<u64> {
        self.state().table.loads().find(|load| load.worker == worker).map(|load| load.served)
    }

    pub fn is_busy(&self, worker: WorkerId) -> bool {
        self.state().table.is_busy(worker)
    }

    /// Whether a worker has a request, or a connection of another protocol.
    pub fn is_needed(&self, worker: WorkerId) -> bool {
        self.state().table.is_needed(worker)
    }
}
