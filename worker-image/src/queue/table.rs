//! Which request goes to which worker, and when: one queue for all, and the free worker next. A table without IO and without a clock.
//!
//! A request keeps the number under which it came for as long as it lives: one that comes back because its worker died stands before all that came
//! after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::histogram::Histogram;

/// A time, measured from a moment that never changes.
pub type Moment = Duration;

/// A worker, by a number that no other ever has: process ids come again.
pub type WorkerId = u64;

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

/// A request that waits; `W` is how it is told.
#[derive(Debug)]
struct Waiting<W> {
    since: Moment,
    who: W,
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
}

/// Who has which request, and who waits.
#[derive(Debug)]
pub struct Table<W> {
    limits: Limits,
    workers: BTreeMap<WorkerId, Worker>,
    /// Workers that get new requests.
    chosen: BTreeSet<WorkerId>,
    /// Those of the chosen that have room, the emptiest first.
    free: BTreeSet<(u32, Ticket, WorkerId)>,
    waiting: BTreeMap<Ticket, Waiting<W>>,
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

/// What a request meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// A worker is free.
    Now(WorkerId),
    /// All have as many as they may.
    Waits,
    /// It gets none.
    Refused(Refusal),
}

/// A request that waited has a worker.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<W> {
    pub ticket: Ticket,
    pub worker: WorkerId,
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
            waiting: BTreeMap::new(),
            last: 0,
            counts: Counts::default(),
            taken: Taken::default(),
            demand: Demand::default(),
        }
    }

    /// Adds what was there until now; before anything changes.
    fn pass(&mut self, now: Moment) {
        let there = self.demand.in_flight.saturating_add(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX));
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

    /// A request wants a worker: a new one, or one that has come back after so many deaths. It waits under its number where none is free; `who` is
    /// only called then.
    pub fn ask(&mut self, ticket: Ticket, deaths: u32, now: Moment, who: impl FnOnce() -> W) -> Asked {
        self.pass(now);
        if deaths > 0 {
            self.counts.returned += 1;
        }
        if deaths > self.limits.deaths {
            self.counts.deadly += 1;
            return Asked::Refused(Refusal::Deadly);
        }
        // Who waits already goes first, also where somebody is free whom they have not been given yet.
        let is_first = self.first(now).is_none_or(|first| first > ticket);
        if let Some(worker) = is_first.then(|| self.hand(ticket)).flatten() {
            self.taken.wait.add(Duration::ZERO);
            return Asked::Now(worker);
        }
        // One that came back is not turned away at the door: it was let in before.
        if deaths == 0 && self.waiting.len() >= self.limits.waiting {
            self.counts.full += 1;
            return Asked::Refused(Refusal::Full);
        }
        self.waiting.insert(ticket, Waiting { since: now, who: who() });
        Asked::Waits
    }

    /// A request is over that was given to its worker then, and the worker free for another.
    pub fn done(&mut self, worker: WorkerId, given: Moment, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.taken.service.add(now.saturating_sub(given));
        self.release(worker, now, |worker| worker.served += 1);
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

    /// A worker is dead: what it had comes back by itself.
    pub fn forget(&mut self, worker: WorkerId) {
        if let Some(gone) = self.workers.remove(&worker) {
            self.demand.in_flight = self.demand.in_flight.saturating_sub(gone.in_flight);
        }
        self.sort_out();
    }

    /// Only these get new requests from now on.
    pub fn choose(&mut self, chosen: BTreeSet<WorkerId>, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
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
        if self.waiting.remove(&ticket).is_some() {
            self.counts.left += 1;
        }
        self.turns(now)
    }

    /// Nobody gets a worker any more: all that wait are told so.
    pub fn dismiss(&mut self) -> Vec<(Ticket, W)> {
        let all: Vec<_> =
            std::mem::take(&mut self.waiting).into_iter().map(|(ticket, who)| (ticket, who.who)).collect();
        all
    }

    /// Those that have waited for too long, and those that have their turn for that.
    pub fn expire(&mut self, now: Moment) -> (Vec<(Ticket, W)>, Vec<Turn<W>>) {
        self.pass(now);
        let wait = self.limits.wait;
        let is_late = |waiting: &Waiting<W>| now.saturating_sub(waiting.since) >= wait;
        // Nearly always it is the first one or none.
        let tickets = self.waiting.iter().filter(|(_, waiting)| is_late(waiting)).map(|(ticket, _)| *ticket);
        let tickets: Vec<Ticket> = tickets.collect();
        let late = tickets.into_iter().filter_map(|ticket| Some((ticket, self.waiting.remove(&ticket)?.who)));
        let late: Vec<_> = late.collect();
        self.counts.late += u64::try_from(late.len()).unwrap_or(u64::MAX);
        (late, self.turns(now))
    }

    /// When the next one has waited for too long.
    pub fn expires(&self) -> Option<Moment> {
        // One that came back keeps its number and begins to wait anew; that it is told a little late is no harm.
        self.waiting.first_key_value().map(|(_, waiting)| waiting.since + self.limits.wait)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// For how long the one has waited that has waited longest.
    pub fn oldest(&self, now: Moment) -> Option<Duration> {
        self.waiting.values().map(|waiting| now.saturating_sub(waiting.since)).max()
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

    /// Who is next of those that wait. Those that have waited for too long are told so by the next look at them, and not that their turn has come.
    fn first(&self, now: Moment) -> Option<Ticket> {
        let in_time = |waiting: &Waiting<W>| now.saturating_sub(waiting.since) < self.limits.wait;
        self.waiting.iter().find(|(_, waiting)| in_time(waiting)).map(|(ticket, _)| *ticket)
    }

    /// Gives requests that wait to workers that have room.
    fn turns(&mut self, now: Moment) -> Vec<Turn<W>> {
        let mut turns = Vec::new();
        while let Some(ticket) = self.first(now) {
            let Some(worker) = self.hand(ticket) else { break };
            let Some(waiting) = self.waiting.remove(&ticket) else { break };
            self.taken.wait.add(now.saturating_sub(waiting.since));
            turns.push(Turn { ticket, worker, who: waiting.who });
        }
        turns
    }

    fn hand(&mut self, ticket: Ticket) -> Option<WorkerId> {
        let (_, _, id) = self.free.pop_first()?;
        let worker = self.workers.get_mut(&id)?;
        worker.in_flight += 1;
        self.demand.in_flight += 1;
        worker.turn = ticket;
        self.put_in(id);
        Some(id)
    }

    /// Puts a worker to those that have room, where it has.
    fn put_in(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if self.chosen.contains(&id) && worker.in_flight < self.limits.cap {
            self.free.insert((worker.in_flight, worker.turn, id));
        }
    }

    fn sort_out(&mut self) {
        self.free.clear();
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.put_in(id);
        }
    }
}

#[cfg(test)]
mod tests;
