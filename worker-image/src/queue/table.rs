//! Which request goes to which worker, and when: one queue for all, and the free worker next. A table without IO and without a clock.
//!
//! A request keeps the number under which it came for as long as it lives: one that comes back because its worker died stands before all that came
//! after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::histogram::Histogram;
use line::{Line, Waiting};

pub use line::Wants;

mod line;

/// A time, measured from a moment that never changes.
pub type Moment = Duration;

/// A worker, by a number that no other ever has: process ids come again.
pub type WorkerId = u64;

/// Another replica, by its pod's UID.
pub type PeerId = Arc<str>;

/// A request, by the order in which it came.
pub type Ticket = u64;

/// How much may wait, and how much a worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many requests may be with one worker at a time.
    pub cap: u32,
    /// So many may wait.
    pub waiting: usize,
    /// For so long each.
    pub wait: Duration,
    /// A request that so many workers died of is not given to another.
    pub deaths: u32,
}

/// Why a request gets no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// As many wait as may.
    Full,
    /// It has waited for as long as it may.
    Late,
    /// Workers died of it.
    Deadly,
    /// Nobody is given one any more.
    Stopping,
}

#[derive(Debug, Default)]
struct Worker {
    in_flight: u32,
    /// Connections that are of another protocol by now.
    upgraded: u32,
    /// The number of the request that it was last given: who was given one longest ago is next.
    turn: Ticket,
    idle_since: Moment,
    served: u64,
    /// It took no connection, and gets no request before this time.
    rests_until: Option<Moment>,
}

/// A worker that took no connection is given nothing for so long: it may be on its way out, or take some again soon.
const REST: Duration = Duration::from_millis(100);

/// Who has which request, and who waits.
#[derive(Debug)]
pub struct Table<W> {
    limits: Limits,
    workers: BTreeMap<WorkerId, Worker>,
    /// Workers that get new requests.
    chosen: BTreeSet<WorkerId>,
    /// Those of the chosen that have room, the emptiest first.
    free: BTreeSet<(u32, Ticket, WorkerId)>,
    /// Other replicas, and how many requests each is taken to have room for.
    peers: BTreeMap<PeerId, u32>,
    line: Line<W>,
    last: Ticket,
    counts: Counts,
    taken: Taken,
    demand: Demand,
}

/// The sum over time of the requests that are there.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Those that workers have.
    in_flight: u32,
    until: Moment,
    sum: Duration,
}

/// What was counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came.
    pub arrived: u64,
    /// Requests that came back because their worker died.
    pub returned: u64,
    pub full: u64,
    pub late: u64,
    pub deadly: u64,
    /// Given to other replicas, since no worker was free here.
    pub roamed: u64,
    /// Whose worker died when the client had a part of the answer.
    pub cut: u64,
    /// Answered with the answer to another one that was the same.
    pub merged: u64,
    /// Carried out here although another replica was to do it for all, since that one could not be reached.
    pub alone: u64,
    /// Clients that left while they waited.
    pub left: u64,
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// With workers.
    pub service: Histogram,
    /// Before they had one.
    pub wait: Histogram,
}

/// Why a request asks for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has just come.
    New,
    /// So many workers died of it, or did not answer it.
    Back(u32),
    /// Whoever it was given to did not take it after all; it has waited since then.
    Untaken(Moment),
    /// It was to be answered together with others, and is not; it has waited since then, and in no line.
    Alone(Moment),
}

impl Why {
    /// Since when it has waited, where it has not just begun to.
    pub fn since(self) -> Option<Moment> {
        match self {
            Self::Untaken(since) | Self::Alone(since) => Some(since),
            Self::New | Self::Back(_) => None,
        }
    }
}

/// What a request meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Somebody is free.
    Now(Place),
    /// All have as many as they may.
    Waits,
    /// It gets none.
    Refused(Refusal),
}

/// Who has a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Worker(WorkerId),
    Peer(PeerId),
}

/// A request that waited has a worker.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<W> {
    pub ticket: Ticket,
    pub place: Place,
    pub who: W,
}

/// What is to be told of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub worker: WorkerId,
    pub in_flight: u32,
    pub upgraded: u32,
    /// Answers that it gave.
    pub served: u64,
    /// Since when it has had none, where it has none.
    pub idle_since: Option<Moment>,
}

impl<W> Table<W> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            workers: BTreeMap::new(),
            chosen: BTreeSet::new(),
            free: BTreeSet::new(),
            peers: BTreeMap::new(),
            line: Line::new(),
            last: 0,
            counts: Counts::default(),
            taken: Taken::default(),
            demand: Demand::default(),
        }
    }

    /// Adds what was there until now; before anything changes.
    fn pass(&mut self, now: Moment) {
        let there = self.demand.in_flight.saturating_add(u32::try_from(self.line.len()).unwrap_or(u32::MAX));
        self.demand.sum = self.demand.sum.saturating_add(now.saturating_sub(self.demand.until).saturating_mul(there));
        self.demand.until = now;
    }

    /// The sum over time of the requests that waited or were with a worker.
    pub fn demand(&mut self, now: Moment) -> Duration {
        self.pass(now);
        self.demand.sum
    }

    /// Other limits, from the next request on; who waits keeps the time that it has waited.
    pub fn limit(&mut self, limits: Limits, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.limits = limits;
        self.sort_out();
        self.turns(now)
    }

    /// A number for a request that has just come.
    pub fn number(&mut self) -> Ticket {
        self.last += 1;
        self.counts.arrived += 1;
        self.last
    }

    /// A request wants a worker. It waits under its number where none is free; `who` is only called then.
    pub fn ask(&mut self, ticket: Ticket, why: Why, wants: Wants, now: Moment, who: impl FnOnce() -> W) -> Asked {
        self.pass(now);
        if let Why::Back(deaths @ 1..) = why {
            self.counts.returned += 1;
            if deaths > self.limits.deaths {
                self.counts.deadly += 1;
                return Asked::Refused(Refusal::Deadly);
            }
        }
        let wants = Wants { worker: wants.worker.filter(|worker| self.chosen.contains(worker)), ..wants };
        let since = why.since().unwrap_or(now);
        // Whatever could be given to one that waits was given to it: what is free is for none of them.
        // What a request waits before it is given again is no more news.
        let counts = matches!(why, Why::New | Why::Alone(_));
        if let Some(place) = self.hand(ticket, wants, counts.then(|| now.saturating_sub(since))) {
            return Asked::Now(place);
        }
        // One that came back is not turned away at the door: it was let in before.
        if matches!(why, Why::New | Why::Alone(_)) && self.line.len() >= self.limits.waiting {
            self.counts.full += 1;
            return Asked::Refused(Refusal::Full);
        }
        self.line.put(ticket, Waiting { since, wants, counts, who: who() });
        Asked::Waits
    }

    /// Another replica has answered a request that came here then.
    pub fn roamed(&mut self, since: Moment, now: Moment) {
        self.counts.roamed += 1;
        self.taken.wait.add(now.saturating_sub(since));
    }

    /// A request of another replica, which has no worker free, is given one that is free here; it does not wait.
    pub fn visit(&mut self, ticket: Ticket, now: Moment) -> Option<WorkerId> {
        self.pass(now);
        let (_, _, id) = self.free.pop_first()?;
        self.taken.wait.add(Duration::ZERO);
        self.give(ticket, id);
        Some(id)
    }

    /// A worker took no connection: it gets no request for a moment, and then one that shows whether it takes some again.
    pub fn rest(&mut self, id: WorkerId, now: Moment) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.rests_until = Some(now + REST);
        self.free.remove(&(worker.in_flight, worker.turn, id));
    }

    /// Ends the rest of those that had enough of it.
    fn wake(&mut self, now: Moment) {
        let is_over = |worker: &Worker| worker.rests_until.is_some_and(|until| until <= now);
        let woken: Vec<_> = self.workers.iter().filter(|(_, one)| is_over(one)).map(|(id, _)| *id).collect();
        for id in woken {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.rests_until = None;
            }
            self.put_in(id);
        }
    }

    /// A request is over that was given to its worker then, and the worker free for another.
    pub fn done(&mut self, worker: WorkerId, given: Moment, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.taken.service.add(now.saturating_sub(given));
        self.release(worker, now, |worker| worker.served += 1);
        self.turns(now)
    }

    /// A worker did not take the request that it was given.
    pub fn untaken(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.release(worker, now, |_| {});
        self.turns(now)
    }

    /// A connection speaks another protocol from now on: it counts no more, and is not forgotten.
    pub fn upgraded(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.release(worker, now, |worker| worker.upgraded += 1);
        self.turns(now)
    }

    /// Such a connection ended.
    pub fn closed(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.upgraded = worker.upgraded.saturating_sub(1);
        }
    }

    /// A worker is there.
    pub fn admit(&mut self, worker: WorkerId, now: Moment) {
        self.workers.insert(worker, Worker { idle_since: now, ..Worker::default() });
    }

    /// A worker is dead: what it had comes back by itself. Who waited for it takes another.
    pub fn forget(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        if let Some(gone) = self.workers.remove(&worker) {
            self.demand.in_flight = self.demand.in_flight.saturating_sub(gone.in_flight);
        }
        self.chosen.remove(&worker);
        self.sort_out();
        self.turns(now)
    }

    /// Which other replicas there are; nothing is known of new ones.
    pub fn meet(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        let known = std::mem::take(&mut self.peers);
        let free = |peer: &PeerId| known.get(peer).copied().unwrap_or_default();
        self.peers = peers.into_iter().map(|peer| (peer.clone(), free(&peer))).collect();
    }

    /// Another replica has room for so many.
    pub fn has_room(&mut self, peer: &PeerId, free: u32, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        if let Some(known) = self.peers.get_mut(peer) {
            *known = free;
        }
        self.turns(now)
    }

    /// So many more requests could be given to workers now, of whoever asks: who waits here wants none of them.
    pub fn room(&self) -> u32 {
        let free = self.free.iter().map(|(in_flight, _, _)| self.limits.cap.saturating_sub(*in_flight));
        free.fold(0, u32::saturating_add)
    }

    /// Only these get new requests from now on.
    pub fn choose(&mut self, chosen: BTreeSet<WorkerId>, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        // Whoever is told of late may be dead by now.
        let chosen = chosen.into_iter().filter(|id| self.workers.contains_key(id)).collect();
        if self.chosen == chosen {
            return Vec::new();
        }
        self.chosen = chosen;
        self.sort_out();
        self.turns(now)
    }

    /// A client left while it waited. Who comes after it may have its turn.
    pub fn leave(&mut self, ticket: Ticket, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        if self.line.take(ticket).is_some() {
            self.counts.left += 1;
        }
        self.turns(now)
    }

    /// Nobody gets a worker any more: all that wait are told so.
    pub fn dismiss(&mut self) -> Vec<(Ticket, W)> {
        self.line.take_all().into_iter().map(|(ticket, waiting)| (ticket, waiting.who)).collect()
    }

    /// Those that have waited for too long, and those that have their turn for that, or since a worker has rested.
    pub fn expire(&mut self, now: Moment) -> (Vec<(Ticket, W)>, Vec<Turn<W>>) {
        self.pass(now);
        self.wake(now);
        let tickets = self.line.late(now, self.limits.wait);
        let late = tickets.into_iter().filter_map(|ticket| Some((ticket, self.line.take(ticket)?.who)));
        let late: Vec<_> = late.collect();
        self.counts.late += u64::try_from(late.len()).unwrap_or(u64::MAX);
        (late, self.turns(now))
    }

    /// When the next one has waited for too long, or a worker has rested.
    pub fn expires(&self) -> Option<Moment> {
        // One that came back keeps its number and begins to wait anew; that it is told a little late is no harm.
        let late = self.line.first_since().map(|since| since + self.limits.wait);
        let woken = self.workers.values().filter_map(|worker| worker.rests_until).min();
        late.into_iter().chain(woken).min()
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// For how long the one has waited that has waited longest.
    pub fn oldest(&self, now: Moment) -> Option<Duration> {
        self.line.oldest(now)
    }

    /// Counts something that is not seen here.
    pub fn count(&mut self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.counts);
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// So many requests workers may have at a time.
    pub fn places(&self) -> u32 {
        let workers = self.chosen.iter().filter(|id| self.workers.contains_key(id)).count();
        u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(self.limits.cap)
    }

    pub fn loads(&self) -> impl Iterator<Item = Load> {
        self.workers.iter().map(|(id, worker)| Load {
            worker: *id,
            in_flight: worker.in_flight,
            upgraded: worker.upgraded,
            served: worker.served,
            idle_since: (worker.in_flight == 0).then_some(worker.idle_since),
        })
    }

    /// Whether a worker gets new requests.
    pub fn is_chosen(&self, worker: WorkerId) -> bool {
        self.chosen.contains(&worker)
    }

    /// Whether a worker has a request.
    pub fn is_busy(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.in_flight > 0)
    }

    fn release(&mut self, id: WorkerId, now: Moment, then: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        self.free.remove(&(worker.in_flight, worker.turn, id));
        worker.in_flight = worker.in_flight.saturating_sub(1);
        self.demand.in_flight = self.demand.in_flight.saturating_sub(1);
        if worker.in_flight == 0 {
            worker.idle_since = now;
        }
        then(worker);
        self.put_in(id);
    }

    /// Gives requests that wait to those that have room.
    fn turns(&mut self, now: Moment) -> Vec<Turn<W>> {
        let mut turns = Vec::new();
        while self.line.len() > 0 {
            let next = self.line.first(|wants| self.can(wants), now, self.limits.wait);
            let Some((ticket, wants)) = next else { break };
            let Some(waiting) = self.line.take(ticket) else { break };
            let waited = waiting.counts.then(|| now.saturating_sub(waiting.since));
            let Some(place) = self.hand(ticket, wants, waited) else { break };
            turns.push(Turn { ticket, place, who: waiting.who });
        }
        turns
    }

    /// Whether somebody has room for one that wants this.
    fn can(&self, wants: Wants) -> bool {
        match wants.worker {
            Some(id) => self.place_of(id).is_some_and(|place| self.free.contains(&place)),
            None => !self.free.is_empty() || (wants.roams && self.peers.values().any(|free| *free > 0)),
        }
    }

    /// Gives a request that has waited for so long to somebody who has room, if there is anybody.
    fn hand(&mut self, ticket: Ticket, wants: Wants, waited: Option<Duration>) -> Option<Place> {
        let next = match wants.worker {
            Some(id) => Some(self.place_of(id).filter(|place| self.free.remove(place))?),
            None => self.free.pop_first(),
        };
        if let Some((_, _, id)) = next {
            self.give(ticket, id);
            if let Some(waited) = waited {
                self.taken.wait.add(waited);
            }
            return Some(Place::Worker(id));
        }
        // Whoever has most room of the others.
        let (peer, free) = self.peers.iter_mut().filter(|_| wants.roams).max_by_key(|(_, free)| **free)?;
        *free = free.checked_sub(1)?;
        Some(Place::Peer(peer.clone()))
    }

    /// Where a worker stands among those that have room, if it has.
    fn place_of(&self, id: WorkerId) -> Option<(u32, Ticket, WorkerId)> {
        self.workers.get(&id).map(|worker| (worker.in_flight, worker.turn, id))
    }

    fn give(&mut self, ticket: Ticket, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.in_flight += 1;
            worker.turn = ticket;
            self.demand.in_flight += 1;
        }
        self.put_in(id);
    }

    /// Puts a worker to those that have room, where it has.
    fn put_in(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if self.chosen.contains(&id) && worker.in_flight < self.limits.cap && worker.rests_until.is_none() {
            self.free.insert((worker.in_flight, worker.turn, id));
        }
    }

    fn sort_out(&mut self) {
        self.free.clear();
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.put_in(id);
        }
        let (workers, chosen) = (&self.workers, &self.chosen);
        self.line.let_go(|id| chosen.contains(&id) && workers.contains_key(&id));
    }
}

#[cfg(test)]
mod tests;
