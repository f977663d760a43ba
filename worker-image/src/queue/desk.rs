//! The table with who waits at it, and where its workers are. Requests and the primary's loop meet here; nothing is done under its lock but to look
//! and to note.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::stream::Address;
use super::table::{Asked, Counts, Limits, Load, Moment, Refusal, Table, Taken, Ticket, Turn, WorkerId};
use crate::listener;

/// A request's place at a worker; it is given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    desk: Desk,
    pub worker: WorkerId,
    pub address: Address,
    given: Moment,
    upgraded: bool,
}

/// How a request that waits is told.
type Waiter = oneshot::Sender<Result<Seat, Refusal>>;

/// What all share.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table<Waiter>,
    workers: BTreeMap<WorkerId, Known>,
}

/// A worker, as it is reached.
#[derive(Clone, Debug)]
struct Known {
    address: Address,
    /// Becomes readable when it has ended. `None` where the kernel has no such descriptors.
    process: Option<Arc<OwnedFd>>,
    /// Whether it gave a good answer when it was asked for one. `None` where that is not known yet.
    checked: Option<bool>,
}

/// What the stats tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub waiting: usize,
    /// For how long the one has waited that has waited longest.
    pub oldest: Option<Moment>,
    pub counts: Counts,
    pub loads: Vec<Load>,
    pub places: u32,
    pub taken: Taken,
}

/// A request that has come.
#[derive(Debug)]
pub enum Place {
    Now(Seat),
    /// It is told when its turn has come, or that it will not.
    Later(oneshot::Receiver<Result<Seat, Refusal>>),
    Refused(Refusal),
}

impl Desk {
    pub fn new(limits: Limits) -> Self {
        let state = State { table: Table::new(limits), workers: BTreeMap::new() };
        Self(Arc::new(Inner { begun: Instant::now(), state: Mutex::new(state) }))
    }

    fn now(&self) -> Moment {
        self.0.begun.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker takes requests at this address. `process` is its descriptor (`pidfd_open(2)`).
    pub fn admit(&self, worker: WorkerId, address: Address, process: Option<OwnedFd>) {
        let now = self.now();
        let mut state = self.state();
        state.table.admit(worker, now);
        state.workers.insert(worker, Known { address, process: process.map(Arc::new), checked: None });
    }

    /// It takes them elsewhere.
    pub fn relocate(&self, worker: WorkerId, address: Address) {
        if let Some(known) = self.state().workers.get_mut(&worker) {
            known.address = address;
        }
    }

    pub fn address(&self, worker: WorkerId) -> Option<Address> {
        Some(self.state().workers.get(&worker)?.address.clone())
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

    pub fn waiting(&self) -> usize {
        self.state().table.waiting()
    }

    /// A worker is dead.
    pub fn forget(&self, worker: WorkerId) {
        let mut state = self.state();
        state.table.forget(worker);
        state.workers.remove(&worker);
    }

    /// Whether a worker has ended, also where the primary's loop has not come by yet. It is forgotten then.
    pub fn has_ended(&self, worker: WorkerId) -> bool {
        let known = self.state().workers.get(&worker).cloned();
        let ended =
            known.is_none_or(|known| known.process.is_some_and(|process| listener::has_waiting(process.as_fd())));
        if ended {
            self.forget(worker);
        }
        ended
    }

    /// Only these get new requests from now on.
    pub fn choose(&self, chosen: BTreeSet<WorkerId>) {
        let now = self.now();
        let turns = self.state().table.choose(chosen, now);
        self.tell(turns);
    }

    pub fn limit(&self, limits: Limits) {
        let now = self.now();
        let turns = self.state().table.limit(limits, now);
        self.tell(turns);
    }

    /// A number for a request that has just come.
    pub fn number(&self) -> Ticket {
        self.state().table.number()
    }

    /// A request wants a worker: a new one, or one that so many died of.
    pub fn ask(&self, ticket: Ticket, deaths: u32) -> Place {
        let now = self.now();
        let mut waits = None;
        let asked = self.state().table.ask(ticket, deaths, now, || {
            let (waiter, told) = oneshot::channel();
            waits = Some(told);
            waiter
        });
        match (asked, waits) {
            (Asked::Now(worker), _) => self.seat(worker).map_or(Place::Refused(Refusal::Full), Place::Now),
            (Asked::Waits, Some(told)) => Place::Later(told),
            (Asked::Waits, None) => Place::Refused(Refusal::Full),
            (Asked::Refused(why), _) => Place::Refused(why),
        }
    }

    /// A client left while it waited.
    pub fn leave(&self, ticket: Ticket) {
        self.state().table.leave(ticket);
    }

    /// Tells those that have waited for too long. Gives the time until the next one has.
    pub fn expire(&self) -> Option<Moment> {
        let now = self.now();
        let (late, next) = {
            let mut state = self.state();
            (state.table.expire(now), state.table.expires())
        };
        for (_, waiter) in late {
            let _ = waiter.send(Err(Refusal::Late)); // it may have left
        }
        next.map(|next| next.saturating_sub(now))
    }

    /// How many requests a worker has answered.
    pub fn served(&self, worker: WorkerId) -> Option<u64> {
        self.state().table.loads().find(|load| load.worker == worker).map(|load| load.served)
    }

    pub fn is_busy(&self, worker: WorkerId) -> bool {
        self.state().table.is_busy(worker)
    }

    pub fn seen(&self) -> Seen {
        let now = self.now();
        let state = self.state();
        let table = &state.table;
        Seen {
            waiting: table.waiting(),
            oldest: table.oldest(now),
            counts: table.counts(),
            loads: table.loads().collect(),
            places: table.places(),
            taken: table.taken().clone(),
        }
    }

    fn seat(&self, worker: WorkerId) -> Option<Seat> {
        let address = self.state().workers.get(&worker)?.address.clone();
        Some(Seat { desk: self.clone(), worker, address, given: self.now(), upgraded: false })
    }

    fn tell(&self, turns: Vec<Turn<Waiter>>) {
        for turn in turns {
            let Some(seat) = self.seat(turn.worker) else { continue };
            // Who has left meanwhile gives the seat back with the message.
            let _ = turn.who.send(Ok(seat));
        }
    }
}

impl Seat {
    /// The connection speaks another protocol from now on, for as long as this is kept.
    pub fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.upgraded, true) {
            let now = self.desk.now();
            let turns = self.desk.state().table.upgraded(self.worker, now);
            self.desk.tell(turns);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.upgraded {
            self.desk.state().table.closed(self.worker);
            return;
        }
        let now = self.desk.now();
        let turns = self.desk.state().table.done(self.worker, self.given, now);
        self.desk.tell(turns);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn desk() -> Desk {
        let desk = Desk::new(Limits { cap: 1, waiting: 2, wait: Duration::from_millis(50), deaths: 2 });
        desk.admit(1, Address::Unix(PathBuf::from("/one")), None);
        desk.choose([1].into());
        desk
    }

    fn come(desk: &Desk) -> Place {
        desk.ask(desk.number(), 0)
    }

    #[tokio::test]
    async fn a_seat_that_is_given_back_is_the_next_ones() {
        let desk = desk();
        let Place::Now(seat) = come(&desk) else { panic!("nobody is there") };
        assert_eq!(seat.address, Address::Unix(PathBuf::from("/one")));
        let (Place::Later(gone), Place::Later(told)) = (come(&desk), come(&desk)) else { panic!("the worker has one") };
        assert!(matches!(come(&desk), Place::Refused(Refusal::Full)));
        drop(gone);
        drop(seat);
        let seat = told.await.unwrap().unwrap();
        assert!(desk.is_busy(1), "who left gave it back, and the next one has it");
        drop(seat);
        assert!(!desk.is_busy(1));
    }

    #[tokio::test]
    async fn who_waits_for_too_long_is_told() {
        let desk = desk();
        let _seat = come(&desk);
        let Place::Later(told) = come(&desk) else { panic!("the worker has one") };
        while desk.expire().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(told.await.unwrap().unwrap_err(), Refusal::Late);
        assert_eq!(desk.seen().counts.late, 1);
    }

    #[test]
    fn an_upgraded_seat_leaves_room_and_is_counted_until_it_ends() {
        let desk = desk();
        let Place::Now(mut seat) = come(&desk) else { panic!("nobody is there") };
        seat.upgrade();
        seat.upgrade();
        assert_eq!(desk.seen().loads.iter().map(|load| (load.in_flight, load.upgraded)).collect::<Vec<_>>(), [(0, 1)]);
        drop(seat);
        assert_eq!(desk.seen().loads[0].upgraded, 0);
    }
}
