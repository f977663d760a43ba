//! The table with who waits at it, and where its workers are. Requests and the primary's loop meet here; nothing is done under its lock but to look
//! and to note.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// See [`Desk::arrives`].
#[derive(Debug)]
pub struct Arriving(Desk);

/// See [`Desk::connects`].
#[derive(Debug)]
pub struct Connected(Desk);

/// How a request that waits is told.
type Waiter = oneshot::Sender<Result<Seat, Refusal>>;

/// What all share.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    state: Mutex<State>,
    arriving: AtomicUsize,
    connections: AtomicUsize,
}

#[derive(Debug)]
struct State {
    table: Table<Waiter>,
    workers: BTreeMap<WorkerId, Known>,
    /// Nobody gets a worker any more.
    stops: bool,
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
    /// The sum over time of the requests that waited or were with a worker.
    pub demand: Moment,
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
        let state = State { table: Table::new(limits), workers: BTreeMap::new(), stops: false };
        Self(Arc::new(Inner {
            begun: Instant::now(),
            state: Mutex::new(state),
            arriving: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }))
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

    /// A request is about to come: its connection is new, or its first byte is there. Until this is dropped.
    pub fn arrives(&self) -> Arriving {
        self.0.arriving.fetch_add(1, Ordering::Relaxed);
        Arriving(self.clone())
    }

    /// Whether requests wait, or are about to.
    pub fn holds_requests(&self) -> bool {
        self.0.arriving.load(Ordering::Relaxed) > 0 || self.waiting() > 0
    }

    /// A client's connection is there. Until this is dropped.
    pub fn connects(&self) -> Connected {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }

    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
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
        self.turn(|table, now| table.choose(chosen, now));
    }

    pub fn limit(&self, limits: Limits) {
        self.turn(|table, now| table.limit(limits, now));
    }

    /// A request that has just come wants a worker. Gives its number as well, under which it comes back.
    pub fn ask_first(&self) -> (Ticket, Place) {
        let mut state = self.state();
        let ticket = state.table.number();
        let place = self.ask_under(&mut state, ticket, 0);
        (ticket, place)
    }

    /// A request that so many workers died of wants another.
    pub fn ask_again(&self, ticket: Ticket, deaths: u32) -> Place {
        self.ask_under(&mut self.state(), ticket, deaths)
    }

    fn ask_under(&self, state: &mut State, ticket: Ticket, deaths: u32) -> Place {
        if state.stops {
            return Place::Refused(Refusal::Stopping);
        }
        let now = self.now();
        let mut waits = None;
        let asked = state.table.ask(ticket, deaths, now, || {
            let (waiter, told) = oneshot::channel();
            waits = Some(told);
            waiter
        });
        match (asked, waits) {
            (Asked::Now(worker), _) => self.seat(state, worker, now).map_or(Place::Refused(Refusal::Full), Place::Now),
            (Asked::Waits, Some(told)) => Place::Later(told),
            (Asked::Waits, None) => Place::Refused(Refusal::Full),
            (Asked::Refused(why), _) => Place::Refused(why),
        }
    }

    /// A client left while it waited.
    pub fn leave(&self, ticket: Ticket) {
        self.turn(|table, now| table.leave(ticket, now));
    }

    /// Tells those that have waited for too long. Gives the time until the next one has.
    pub fn expire(&self) -> Option<Moment> {
        let mut late = Vec::new();
        self.turn(|table, now| {
            let turns;
            (late, turns) = table.expire(now);
            turns
        });
        for (_, waiter) in late {
            let _ = waiter.send(Err(Refusal::Late)); // it may have left
        }
        let now = self.now();
        self.state().table.expires().map(|next| next.saturating_sub(now))
    }

    /// Nobody gets a worker any more.
    pub fn dismiss(&self) {
        let all = {
            let mut state = self.state();
            state.stops = true;
            state.table.dismiss()
        };
        for (_, waiter) in all {
            let _ = waiter.send(Err(Refusal::Stopping)); // it may have left
        }
    }

    /// Does something at the table, and tells those who have their turn for that.
    fn turn(&self, what: impl FnOnce(&mut Table<Waiter>, Moment) -> Vec<Turn<Waiter>>) {
        let now = self.now();
        let told: Vec<(Waiter, Option<Seat>)> = {
            let mut state = self.state();
            let turns = what(&mut state.table, now);
            turns.into_iter().map(|turn| (turn.who, self.seat(&state, turn.worker, now))).collect()
        };
        // Outside of the lock: the seat of one who has left is given back here.
        for (waiter, seat) in told {
            let _ = waiter.send(seat.ok_or(Refusal::Full));
        }
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
        let mut state = self.state();
        let demand = state.table.demand(now);
        let table = &state.table;
        Seen {
            waiting: table.waiting(),
            oldest: table.oldest(now),
            counts: table.counts(),
            loads: table.loads().collect(),
            places: table.places(),
            taken: table.taken().clone(),
            demand,
        }
    }

    fn seat(&self, state: &State, worker: WorkerId, now: Moment) -> Option<Seat> {
        // Whoever is in the table is here as well: both are changed under one lock.
        let address = state.workers.get(&worker)?.address.clone();
        Some(Seat { desk: self.clone(), worker, address, given: now, upgraded: false })
    }
}

impl Seat {
    /// The connection speaks another protocol from now on, for as long as this is kept.
    pub fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.upgraded, true) {
            self.desk.turn(|table, now| table.upgraded(self.worker, now));
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.0.arriving.fetch_sub(1, Ordering::Relaxed);
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
        self.desk.turn(|table, now| table.done(self.worker, self.given, now));
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
        desk.ask_first().1
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
