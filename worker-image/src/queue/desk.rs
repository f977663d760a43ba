//! The table with who waits at it, and where its workers are. Requests and the primary's loop meet here; nothing is done under its lock but to look
//! and to note.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use primary_protocol::remote;
use tokio::sync::{Notify, oneshot};

use super::peers::{Owner, Peers};
use super::stream::Address;
use super::table::{
    self, Asked, Counts, Limits, Load, Moment, PeerId, Refusal, Table, Taken, Ticket, Turn, Wants, Why, WorkerId,
};
use crate::listener;
use crate::proc::is_ending;

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

/// See [`Desk::sends_away`].
#[derive(Debug)]
pub struct Away(Desk);

/// See [`Desk::connects`].
#[derive(Debug)]
pub struct Connected(Desk);

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
    /// Nobody gets a worker any more.
    stops: bool,
}

/// A worker, as it is reached.
#[derive(Clone, Debug)]
struct Known {
    address: Address,
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
    /// Whether it has ended, or has begun to.
    fn has_ended(&self) -> bool {
        self.descriptor.as_ref().is_some_and(|descriptor| listener::has_waiting(descriptor.as_fd()))
            || is_ending(self.pid)
    }
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
    /// So many requests one worker may have at a time.
    pub cap: u32,
    pub taken: Taken,
    /// The sum over time of the requests that waited or were with a worker.
    pub demand: Moment,
    /// Requests that other replicas have for this one.
    pub away: usize,
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
        let state = State { table: Table::new(limits), workers: BTreeMap::new(), peers: Peers::of(own), stops: false };
        Self(Arc::new(Inner {
            begun: Instant::now(),
            state: Mutex::new(state),
            arriving: AtomicUsize::new(0),
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

    /// A worker takes requests at this address.
    pub fn admit(&self, worker: WorkerId, address: Address, process: Option<Process>) {
        let now = self.now();
        let mut state = self.state();
        state.table.admit(worker, now);
        state.workers.insert(worker, Known { address, process, checked: None, tls: None });
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

    /// A request is about to come: its connection is new, or its first byte is there. Until this is dropped.
    pub fn arrives(&self) -> Arriving {
        self.0.arriving.fetch_add(1, Ordering::Relaxed);
        Arriving(self.clone())
    }

    /// Whether requests wait, or are about to.
    pub fn holds_requests(&self) -> bool {
        self.0.arriving.load(Ordering::Relaxed) > 0 || self.waiting() > 0
    }

    /// A request is with another replica. Until this is dropped.
    pub fn sends_away(&self) -> Away {
        self.0.away.fetch_add(1, Ordering::Relaxed);
        Away(self.clone())
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
        self.turn_all(|state, now| {
            state.workers.remove(&worker);
            state.table.forget(worker, now)
        });
    }

    /// Whether a worker gets new requests.
    pub fn is_chosen(&self, worker: WorkerId) -> bool {
        self.state().table.is_chosen(worker)
    }

    /// These replicas serve now. Says whether there is one that was not there before.
    pub fn meet(&self, list: &remote::Peers) -> bool {
        let now = self.now();
        let mut state = self.state();
        let more = state.peers.take(list, now);
        let ids: Vec<PeerId> = state.peers.ids().collect();
        self.0.has_peers.store(!ids.is_empty(), Ordering::Relaxed);
        state.table.meet(ids);
        more
    }

    /// Forgets the other replicas where nobody has told of them for too long.
    pub fn lapse(&self) {
        let now = self.now();
        let mut state = self.state();
        if state.peers.lapse(now) {
            self.0.has_peers.store(false, Ordering::Relaxed);
            state.table.meet([]);
        }
    }

    pub fn peers(&self) -> Vec<Peer> {
        let state = self.state();
        let peer = |id: PeerId| Some(Peer { address: state.peers.address(&id)?, id });
        state.peers.ids().filter_map(peer).collect()
    }

    /// The other replicas at this address.
    pub fn peers_at(&self, address: IpAddr) -> Vec<PeerId> {
        if self.0.has_peers.load(Ordering::Relaxed) { self.state().peers.at(address) } else { Vec::new() }
    }

    /// The UID of this replica's pod.
    pub fn own(&self) -> String {
        self.state().peers.own().to_string()
    }

    /// Whose a key is.
    pub fn owner(&self, key: &[u8]) -> Owner {
        self.state().peers.owner(key)
    }

    /// The replica that has this tag, where it is another one.
    pub fn tagged(&self, tag: &str) -> Option<Peer> {
        let state = self.state();
        let id = state.peers.tagged(tag)?;
        Some(Peer { address: state.peers.address(&id)?, id })
    }

    pub fn own_tag(&self) -> String {
        self.state().peers.own_tag().to_string()
    }

    /// Another replica said that it has room for so many.
    pub fn has_room(&self, peer: &PeerId, free: u32) {
        self.turn(|table, now| table.has_room(peer, free, now));
    }

    /// So many requests of others could be taken now.
    pub fn room(&self) -> u32 {
        let state = self.state();
        if state.stops { 0 } else { state.table.room() }
    }

    /// A worker that is free now, for a request of another replica. It does not wait here.
    pub fn visit(&self, ticket: Ticket) -> Option<Seat> {
        let now = self.now();
        let mut state = self.state();
        if state.stops {
            return None;
        }
        let worker = state.table.visit(ticket, now)?;
        self.seat(&state, worker, now)
    }

    /// Another replica has answered a request that came here then.
    pub fn roamed(&self, since: Moment) {
        let now = self.now();
        self.state().table.roamed(since, now);
    }

    /// Whether clients' connections end with their next answer.
    pub fn part(&self, closes: bool) {
        self.0.closes.store(closes, Ordering::Relaxed);
    }

    /// See [`Self::part`].
    pub fn closes(&self) -> bool {
        self.0.closes.load(Ordering::Relaxed)
    }

    /// Whether a worker has ended, also where the primary's loop has not come by yet. It is forgotten then.
    pub fn has_ended(&self, worker: WorkerId) -> bool {
        let known = self.state().workers.get(&worker).cloned();
        let ended = known.is_none_or(|known| known.process.is_some_and(|process| process.has_ended()));
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

    /// A worker took no connection: it gets no request for a moment.
    pub fn rest(&self, worker: WorkerId) {
        let now = self.now();
        self.state().table.rest(worker, now);
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
            turns.into_iter().map(|turn| (turn.who, self.given(&state, &turn.place, now))).collect()
        };
        // Outside of the lock: the seat of one who has left is given back here.
        for (waiter, given) in told {
            let _ = waiter.send(given.ok_or(Refusal::Full));
        }
    }

    /// How many requests a worker has answered.
    pub fn served(&self, worker: WorkerId) -> Option<u64> {
        self.state().table.loads().find(|load| load.worker == worker).map(|load| load.served)
    }

    pub fn is_busy(&self, worker: WorkerId) -> bool {
        self.state().table.is_busy(worker)
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
            counts: table.counts(),
            loads: table.loads().collect(),
            places: table.places(),
            cap: table.limits().cap,
            taken: table.taken().clone(),
            demand,
            away: self.0.away.load(Ordering::Relaxed),
        }
    }

    fn given(&self, state: &State, place: &table::Place, now: Moment) -> Option<Given> {
        match place {
            table::Place::Worker(worker) => self.seat(state, *worker, now).map(Given::Here),
            table::Place::Peer(id) => Some(Given::There(Peer { id: id.clone(), address: state.peers.address(id)? })),
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

impl Drop for Away {
    fn drop(&mut self) {
        self.0.0.away.fetch_sub(1, Ordering::Relaxed);
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

    use super::*;

    fn desk() -> Desk {
        let limits = Limits { cap: 1, waiting: 2, wait: Duration::from_millis(50), deaths: 2 };
        let desk = Desk::new(limits, String::new());
        desk.admit(1, Address::Unix(PathBuf::from("/one")), None);
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
        assert_eq!(seat.address, Address::Unix(PathBuf::from("/one")));
        let (Place::Later(gone), Place::Later(told)) = (come(&desk), come(&desk)) else { panic!("the worker has one") };
        assert!(matches!(come(&desk), Place::Refused(Refusal::Full)));
        drop(gone);
        drop(seat);
        let Ok(Given::Here(seat)) = told.await.unwrap() else { panic!("it was its turn") };
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
        let Place::Now(Given::Here(mut seat)) = come(&desk) else { panic!("nobody is there") };
        seat.upgrade();
        seat.upgrade();
        assert_eq!(desk.seen().loads.iter().map(|load| (load.in_flight, load.upgraded)).collect::<Vec<_>>(), [(0, 1)]);
        drop(seat);
        assert_eq!(desk.seen().loads[0].upgraded, 0);
    }
}
