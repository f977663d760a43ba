//! The table with who waits at it, and where its workers are. Requests and the primary's loop meet here; nothing is done under its lock but to look
//! and to note.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::peers::Peers;
use super::table::{
    self, Asked, Counts, Limits, Load, Moment, PeerId, Refusal, Table, Taken, Ticket, Turn, Wants, Why, WorkerId,
};

mod held;
mod others;
mod seat;
mod workers;

use held::Held;
pub use seat::{Arriving, Away, Connected, Seat};
use workers::Known;
pub use workers::Process;

/// Who is to answer a request.
#[derive(Debug)]
pub enum Given {
    /// A worker of this replica.
    Here(Seat),
    /// Another replica, which has room as far as is known.
    There(Peer),
}

/// Another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: PeerId,
    pub address: SocketAddr,
}

/// How a request that waits is told.
type Waiter = oneshot::Sender<Result<Given, Refusal>>;

/// What all share.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    state: Mutex<State>,
    arriving: AtomicUsize,
    /// Connections of another protocol that a worker of another replica has.
    upgraded_away: AtomicUsize,
    connections: AtomicUsize,
    away: AtomicUsize,
    closes: AtomicBool,
    /// Whether other replicas are known, so that nobody has to look for one where there is none.
    has_peers: AtomicBool,
    queued: Notify,
}

#[derive(Debug)]
struct State {
    table: Table<Waiter>,
    workers: BTreeMap<WorkerId, Known>,
    peers: Peers,
    held: Held,
    /// Nobody gets a worker any more.
    stops: bool,
}

/// What the stats tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub waiting: usize,
    /// For how long the one has waited that has waited longest.
    pub oldest: Option<Moment>,
    /// For how long a worker, here or of another replica, has had the one that it has had longest.
    pub longest: Option<Moment>,
    pub counts: Counts,
    pub loads: Vec<Load>,
    pub places: u32,
    /// So many requests one worker may have at a time.
    pub cap: u32,
    pub taken: Taken,
    /// The sum over time of the requests that waited or were with a worker.
    pub demand: Moment,
    /// Requests that other replicas have for this one.
    pub away: usize,
    /// Connections of another protocol that workers of other replicas have.
    pub upgraded_away: usize,
}

/// A request that has come.
#[derive(Debug)]
pub enum Place {
    Now(Given),
    /// It is told when its turn has come, or that it will not.
    Later(oneshot::Receiver<Result<Given, Refusal>>),
    Refused(Refusal),
}

impl Desk {
    /// `own` is the UID of this replica's pod; empty outside of Kubernetes.
    pub fn new(limits: Limits, own: String) -> Self {
        let state = State {
            table: Table::new(limits),
            workers: BTreeMap::new(),
            peers: Peers::of(own),
            held: Held::default(),
            stops: false,
        };
        Self(Arc::new(Inner {
            begun: Instant::now(),
            state: Mutex::new(state),
            arriving: AtomicUsize::new(0),
            upgraded_away: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            away: AtomicUsize::new(0),
            closes: AtomicBool::new(false),
            has_peers: AtomicBool::new(false),
            queued: Notify::new(),
        }))
    }

    pub fn now(&self) -> Moment {
        self.0.begun.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to come: its connection is new, or its first byte is there. Until this is dropped.
    pub fn arrives(&self) -> Arriving {
        self.0.arriving.fetch_add(1, Ordering::Relaxed);
        Arriving(self.clone())
    }

    /// Whether requests wait, or are about to, or are with another replica: their clients' connections are here.
    pub fn holds_requests(&self) -> bool {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        count(&self.0.arriving) > 0 || count(&self.0.away) > 0 || self.waiting() > 0
    }

    /// Whether connections of another protocol that workers of other replicas have go through here.
    pub fn holds_others_upgraded(&self) -> bool {
        self.0.upgraded_away.load(Ordering::Relaxed) > 0
    }

    /// A request is with another replica. Until this is dropped.
    pub fn sends_away(&self) -> Away {
        self.0.away.fetch_add(1, Ordering::Relaxed);
        let given = self.now();
        self.state().held.add(given);
        Away { desk: self.clone(), given, upgraded: false }
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

    /// Whether clients' connections end with their next answer.
    pub fn part(&self, closes: bool) {
        self.0.closes.store(closes, Ordering::Relaxed);
    }

    /// See [`Self::part`].
    pub fn closes(&self) -> bool {
        self.0.closes.load(Ordering::Relaxed)
    }

    /// For how long a request may wait.
    pub fn patience(&self) -> Duration {
        self.state().table.limits().wait
    }

    /// Told when a request begins to wait.
    pub fn queued(&self) -> &Notify {
        &self.0.queued
    }

    /// The number of a request that has just come.
    pub fn number(&self) -> Ticket {
        self.state().table.number()
    }

    /// Another number for one that had its own already.
    pub fn number_again(&self) -> Ticket {
        self.state().table.number_again()
    }

    /// A request wants a worker.
    pub fn ask(&self, ticket: Ticket, why: Why, wants: Wants) -> Place {
        let mut held = self.state();
        let state = &mut *held;
        if state.stops {
            return Place::Refused(Refusal::Stopping);
        }
        let now = self.now();
        let mut told = None;
        let asked = state.table.ask(ticket, why, wants, now, || {
            let (waiter, receiver) = oneshot::channel();
            told = Some(receiver);
            waiter
        });
        match (asked, told) {
            (Asked::Now(place), _) => self.given(state, &place, now).map_or(Place::Refused(Refusal::Full), Place::Now),
            (Asked::Waits, Some(told)) => {
                self.0.queued.notify_one();
                Place::Later(told)
            }
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
        self.turn_all(|state, now| what(&mut state.table, now));
    }

    fn turn_all(&self, what: impl FnOnce(&mut State, Moment) -> Vec<Turn<Waiter>>) {
        let now = self.now();
        let told: Vec<(Waiter, Option<Given>)> = {
            let mut state = self.state();
            let turns = what(&mut state, now);
            turns.into_iter().map(|turn| (turn.who, self.given(&mut state, &turn.place, now))).collect()
        };
        // Outside of the lock: the seat of one who has left is given back here.
        for (waiter, given) in told {
            let _ = waiter.send(given.ok_or(Refusal::Full));
        }
    }

    /// Counts something.
    pub fn count(&self, what: impl FnOnce(&mut Counts)) {
        self.state().table.count(what);
    }

    pub fn seen(&self) -> Seen {
        let now = self.now();
        let mut state = self.state();
        let demand = state.table.demand(now);
        let table = &state.table;
        Seen {
            waiting: table.waiting(),
            oldest: table.oldest(now),
            longest: state.held.longest(now),
            counts: table.counts(),
            loads: table.loads().collect(),
            places: table.places(),
            cap: table.limits().cap,
            taken: table.taken().clone(),
            demand,
            away: self.0.away.load(Ordering::Relaxed),
            upgraded_away: self.0.upgraded_away.load(Ordering::Relaxed),
        }
    }

    fn given(&self, state: &mut State, place: &table::Place, now: Moment) -> Option<Given> {
        match place {
            table::Place::Worker(worker) => self.seat(state, *worker, now).map(Given::Here),
            table::Place::Peer(id) => Some(Given::There(Peer { id: id.clone(), address: state.peers.address(id)? })),
        }
    }

    fn seat(&self, state: &mut State, worker: WorkerId, now: Moment) -> Option<Seat> {
        // Whoever is in the table is here as well: both are changed under one lock.
        let address = state.workers.get(&worker)?.address;
        state.held.add(now);
        Some(Seat { desk: self.clone(), worker, address, given: now, upgraded: false, taken: true })
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    const ONE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn desk() -> Desk {
        let limits = Limits { cap: 1, waiting: 2, wait: Duration::from_millis(50), deaths: 2 };
        let desk = Desk::new(limits, String::new());
        desk.admit(1, ONE, None);
        desk.choose([1].into());
        desk
    }

    fn come(desk: &Desk) -> Place {
        desk.ask(desk.number(), Why::New, Wants::default())
    }

    #[tokio::test]
    async fn a_seat_that_is_given_back_is_the_next_ones() {
        let desk = desk();
        let Place::Now(Given::Here(seat)) = come(&desk) else { panic!("nobody is there") };
        assert_eq!(seat.address, ONE);
        let (Place::Later(gone), Place::Later(told)) = (come(&desk), come(&desk)) else { panic!("the worker has one") };
        assert!(matches!(come(&desk), Place::Refused(Refusal::Full)));
        drop(gone);
        drop(seat);
        let Ok(Given::Here(seat)) = told.await.unwrap() else { panic!("it was its turn") };
        assert!(desk.is_busy(1), "who left gave it back, and the next one has it");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(desk.seen().longest.is_some_and(|longest| longest >= Duration::from_millis(2)));
        drop(seat);
        assert!(!desk.is_busy(1));
        assert_eq!(desk.seen().longest, None);
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
    }

    #[test]
    fn an_upgraded_seat_leaves_room_and_is_counted_until_it_ends() {
        let desk = desk();
        let Place::Now(Given::Here(mut seat)) = come(&desk) else { panic!("nobody is there") };
        seat.upgrade();
        seat.upgrade();
        assert_eq!(desk.seen().loads.iter().map(|load| (load.in_flight, load.upgraded)).collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(desk.seen().longest, None, "another protocol is no request");
        let mut away = desk.sends_away();
        assert!(desk.seen().longest.is_some() && desk.holds_requests(), "its client would lose it with this replica");
        away.upgrade();
        let seen = desk.seen();
        assert_eq!((seen.longest, seen.away, seen.upgraded_away, desk.holds_requests()), (None, 0, 1, false));
        drop(away);
        assert_eq!((desk.seen().away, desk.seen().upgraded_away), (0, 0));
        drop(seat);
        assert_eq!(desk.seen().loads[0].upgraded, 0);
    }
}
