//! What somebody has for as long as he keeps it: a place at a worker, and what is counted while it is there.

use std::sync::atomic::Ordering;

use super::Desk;
use crate::queue::table::{Moment, WorkerId};
use std::net::SocketAddr;

/// A request's place at a worker; it is given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    pub(super) desk: Desk,
    pub worker: WorkerId,
    pub address: SocketAddr,
    pub(super) given: Moment,
    pub(super) upgraded: bool,
    pub(super) taken: bool,
}

/// See [`Desk::arrives`].
#[derive(Debug)]
pub struct Arriving(pub(super) Desk);

/// See [`Desk::sends_away`].
#[derive(Debug)]
pub struct Away {
    pub(super) desk: Desk,
    pub(super) given: Moment,
    pub(super) upgraded: bool,
}

/// See [`Desk::connects`].
#[derive(Debug)]
pub struct Connected(pub(super) Desk);

impl Seat {
    /// Gives it back: the worker took no connection.
    pub fn untaken(mut self) {
        self.taken = false;
    }

    /// The connection speaks another protocol from now on, for as long as this is kept.
    pub fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.upgraded, true) {
            let (worker, given) = (self.worker, self.given);
            self.desk.turn_all(|state, now| {
                state.held.remove(given);
                state.table.upgraded(worker, now)
            });
        }
    }
}

impl Away {
    /// The connection speaks another protocol from now on, for as long as this is kept: nobody waits for its end.
    pub fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.upgraded, true) {
            self.desk.0.away.fetch_sub(1, Ordering::Relaxed);
            self.desk.0.upgraded_away.fetch_add(1, Ordering::Relaxed);
            self.desk.state().held.remove(self.given);
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.0.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if self.upgraded {
            self.desk.0.upgraded_away.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.desk.0.away.fetch_sub(1, Ordering::Relaxed);
            self.desk.state().held.remove(self.given);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.upgraded {
            self.desk.state().table.closed(self.worker);
            return;
        }
        let Self { worker, given, taken, .. } = *self;
        self.desk.turn_all(|state, now| {
            state.held.remove(given);
            if taken { state.table.done(worker, given, now) } else { state.table.untaken(worker, now) }
        });
    }
}
