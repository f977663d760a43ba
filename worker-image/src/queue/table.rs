//! Which request goes to which worker, and when: one queue for all, and the free worker next. A table without IO and without a clock.
//!
//! A request keeps the number under which it came for as long as it lives: one that comes back because its worker died stands before all that came
//! after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use line::{Line, Waiting};
use workers::Workers;

pub use line::Wants;
pub use words::{
    Asked, Counts, Limits, Load, Moment, PeerId, Place, Refusal, Taken, Ticket, Told, Turn, Why, WorkerId,
};

mod line;
mod words;
mod workers;

/// Who has which request, and who waits.
#[derive(Debug)]
pub struct Table<W> {
    limits: Limits,
    workers: Workers,
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
    until: Moment,
    sum: Duration,
}

impl<W> Table<W> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            workers: Workers::new(limits.cap),
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
        let there = self.workers.in_flight().saturating_add(self.line.asking(self.limits.cap));
        self.demand.sum = self.demand.sum.saturating_add(now.saturating_sub(self.demand.until).saturating_mul(there));
        self.demand.until = now;
    }

    /// The sum over time of the requests that waited or were with a worker.
    pub fn demand(&mut self, now: Moment) -> Duration {
        self.pass(now);
        self.demand.sum
    }

    /// A number for a request that has just come.
    pub fn number(&mut self) -> Ticket {
        self.counts.arrived += 1;
        self.number_again()
    }

    /// Another number for one that had its own already.
    pub fn number_again(&mut self) -> Ticket {
        self.last += 1;
        self.last
    }

    /// A request wants a worker. It waits under its number where none is free; `who` is only called then.
    pub fn ask(&mut self, ticket: Ticket, why: Why, wants: Wants, now: Moment, who: impl FnOnce() -> W) -> Asked {
        self.pass(now);
        if let Why::Back(deaths @ 1..) = why {
            self.counts.returned += 1;
            if deaths > self.limits.deaths {
                return Asked::Refused(Refusal::Deadly);
            }
        }
        let wants = Wants { worker: wants.worker.filter(|worker| self.workers.is_chosen(*worker)), ..wants };
        let since = why.since().unwrap_or(now);
        // Whatever could be given to one that waits was given to it: what is free is for none of them.
        // What a request waits before it is given again is no more news.
        let counts = matches!(why, Why::New | Why::Alone(_));
        if let Some(place) = self.hand(ticket, wants, counts.then(|| now.saturating_sub(since))) {
            return Asked::Now(place);
        }
        // One that came back is not turned away at the door: it was let in before.
        if matches!(why, Why::New | Why::Alone(_)) && self.line.len() >= self.limits.waiting {
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
    pub fn visit(&mut self, ticket: Ticket, wants: Wants, now: Moment) -> Option<WorkerId> {
        self.pass(now);
        let id = self.workers.give(ticket, Wants { worker: None, ..wants })?;
        self.taken.wait.add(Duration::ZERO);
        Some(id)
    }

    /// A worker took no connection: it gets no request for a moment, and then one that shows whether it takes some again.
    pub fn rest(&mut self, id: WorkerId, now: Moment) {
        self.workers.rest(id, now);
    }

    /// A request is over that was given to its worker then, and the worker free for another.
    pub fn done(&mut self, worker: WorkerId, given: Moment, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.taken.service.add(now.saturating_sub(given));
        self.workers.release(worker, now, |worker| worker.served += 1);
        self.turns(now)
    }

    /// A worker did not take the request that it was given.
    pub fn untaken(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.workers.release(worker, now, |_| {});
        self.turns(now)
    }

    /// A connection speaks another protocol from now on: it counts no more, and is not forgotten.
    pub fn upgraded(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.workers.release(worker, now, |worker| worker.upgraded += 1);
        self.turns(now)
    }

    /// Such a connection ended.
    pub fn closed(&mut self, worker: WorkerId) {
        self.workers.closed(worker);
    }

    /// A worker is there.
    pub fn admit(&mut self, worker: WorkerId, now: Moment) {
        self.workers.admit(worker, now);
    }

    /// A worker is dead: what it had comes back by itself. Who waited for it takes another.
    pub fn forget(&mut self, worker: WorkerId, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        self.workers.forget(worker);
        self.let_go();
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
        self.workers.room()
    }

    /// Only these get new requests from now on.
    pub fn choose(&mut self, chosen: BTreeSet<WorkerId>, now: Moment) -> Vec<Turn<W>> {
        self.pass(now);
        if !self.workers.choose(chosen) {
            return Vec::new();
        }
        self.let_go();
        self.turns(now)
    }

    /// Who waits for a worker that gets no more requests takes another.
    fn let_go(&mut self) {
        let workers = &self.workers;
        self.line.let_go(|id| workers.is_chosen(id));
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
        self.workers.wake(now);
        let tickets = self.line.late(now, self.limits.wait);
        let late = tickets.into_iter().filter_map(|ticket| Some((ticket, self.line.take(ticket)?.who)));
        let late: Vec<_> = late.collect();
        (late, self.turns(now))
    }

    /// When the next one has waited for too long, or a worker has rested.
    pub fn expires(&self) -> Option<Moment> {
        // One that came back keeps its number and begins to wait anew; that it is told a little late is no harm.
        let late = self.line.first_since().map(|since| since + self.limits.wait);
        late.into_iter().chain(self.workers.wakes()).min()
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
        self.workers.places()
    }

    pub fn loads(&self) -> impl Iterator<Item = Load> {
        self.workers.loads()
    }

    /// Whether a worker gets new requests.
    pub fn is_chosen(&self, worker: WorkerId) -> bool {
        self.workers.is_chosen(worker)
    }

    /// Whether a worker is given nothing for now, since it took no connection.
    pub fn rests(&self, worker: WorkerId) -> bool {
        self.workers.rests(worker)
    }

    /// Whether a worker has a request.
    pub fn is_busy(&self, worker: WorkerId) -> bool {
        self.workers.is_busy(worker)
    }

    /// Whether one has a request, or a connection of another protocol.
    pub fn is_needed(&self, worker: WorkerId) -> bool {
        self.workers.is_needed(worker)
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
        self.workers.next(wants).is_some()
            || (wants.worker.is_none() && wants.roams && self.peers.values().any(|free| *free > 0))
    }

    /// Gives a request that has waited for so long to somebody who has room, if there is anybody.
    fn hand(&mut self, ticket: Ticket, wants: Wants, waited: Option<Duration>) -> Option<Place> {
        if let Some(id) = self.workers.give(ticket, wants) {
            if let Some(waited) = waited {
                self.taken.wait.add(waited);
            }
            return Some(Place::Worker(id));
        }
        // Whoever has most room of the others; one that wants a worker of here waits for it.
        let roams = wants.roams && wants.worker.is_none();
        let (peer, free) = self.peers.iter_mut().filter(|_| roams).max_by_key(|(_, free)| **free)?;
        *free = free.checked_sub(1)?;
        Some(Place::Peer(peer.clone()))
    }
}

#[cfg(test)]
mod tests;
