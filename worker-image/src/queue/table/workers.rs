//! The workers at the table, and which of them has room: who is given a request next, and who gets none for now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::line::Wants;
use super::words::{Load, Moment, Ticket, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Worker {
    in_flight: u32,
    /// Connections that are of another protocol by now.
    pub upgraded: u32,
    /// The number of the request that it was last given: who was given one longest ago is next.
    turn: Ticket,
    idle_since: Moment,
    pub served: u64,
    /// It took no connection, and gets no request before this time.
    rests_until: Option<Moment>,
}

/// A worker that took no connection is given nothing for so long: it may be on its way out, or take some again soon.
pub(super) const REST: Duration = Duration::from_millis(100);

/// A place among those that have room: the emptiest first, and of those who was given one longest ago.
type Rank = (u32, Ticket, WorkerId);

#[derive(Debug)]
pub(super) struct Workers {
    /// So many requests may be with one at a time.
    cap: u32,
    all: BTreeMap<WorkerId, Worker>,
    /// Those that get new requests.
    chosen: BTreeSet<WorkerId>,
    /// Those of the chosen that have room.
    free: BTreeSet<Rank>,
    /// Requests that all of them have.
    in_flight: u32,
}

impl Workers {
    pub fn new(cap: u32) -> Self {
        Self { cap, all: BTreeMap::new(), chosen: BTreeSet::new(), free: BTreeSet::new(), in_flight: 0 }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub fn admit(&mut self, id: WorkerId, now: Moment) {
        self.all.insert(id, Worker { idle_since: now, ..Worker::default() });
    }

    /// One is dead, with what it had.
    pub fn forget(&mut self, id: WorkerId) {
        if let Some(gone) = self.all.remove(&id) {
            self.in_flight = self.in_flight.saturating_sub(gone.in_flight);
        }
        self.chosen.remove(&id);
        self.sort_out();
    }

    /// Only these get new requests from now on; says whether that is new.
    pub fn choose(&mut self, chosen: BTreeSet<WorkerId>) -> bool {
        // Whoever is told of late may be dead by now.
        let chosen = chosen.into_iter().filter(|id| self.all.contains_key(id)).collect();
        if self.chosen == chosen {
            return false;
        }
        self.chosen = chosen;
        self.sort_out();
        true
    }

    /// Whether one gets new requests.
    pub fn is_chosen(&self, id: WorkerId) -> bool {
        self.chosen.contains(&id)
    }

    /// Whether one rests, since it took no connection.
    pub fn rests(&self, id: WorkerId) -> bool {
        self.all.get(&id).is_some_and(|worker| worker.rests_until.is_some())
    }

    /// Whether one has a request.
    pub fn is_busy(&self, id: WorkerId) -> bool {
        self.all.get(&id).is_some_and(|worker| worker.in_flight > 0)
    }

    /// Whether one has a request, or a connection of another protocol.
    pub fn is_needed(&self, id: WorkerId) -> bool {
        self.all.get(&id).is_some_and(|worker| worker.in_flight > 0 || worker.upgraded > 0)
    }

    /// Where the one stands that a request which wants this is given. One that did not answer it is its last resort.
    pub fn next(&self, wants: Wants) -> Option<Rank> {
        match wants.worker {
            Some(id) => self.rank(id).filter(|rank| self.free.contains(rank)),
            None => self.free.iter().find(|(.., id)| wants.not != Some(*id)).or(self.free.first()).copied(),
        }
    }

    /// Gives a request to whoever is next for it; `None` where there is no room.
    pub fn give(&mut self, ticket: Ticket, wants: Wants) -> Option<WorkerId> {
        let rank = self.next(wants)?;
        self.free.remove(&rank);
        let (.., id) = rank;
        if let Some(worker) = self.all.get_mut(&id) {
            worker.in_flight += 1;
            worker.turn = ticket;
            self.in_flight += 1;
        }
        self.put_in(id);
        Some(id)
    }

    /// One has a request less.
    pub fn release(&mut self, id: WorkerId, now: Moment, then: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.all.get_mut(&id) else { return };
        self.free.remove(&(worker.in_flight, worker.turn, id));
        worker.in_flight = worker.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        if worker.in_flight == 0 {
            worker.idle_since = now;
        }
        then(worker);
        self.put_in(id);
    }

    /// A connection that speaks another protocol ended.
    pub fn closed(&mut self, id: WorkerId) {
        if let Some(worker) = self.all.get_mut(&id) {
            worker.upgraded = worker.upgraded.saturating_sub(1);
        }
    }

    /// One took no connection: it gets no request for a moment, and then one that shows whether it takes some again.
    pub fn rest(&mut self, id: WorkerId, now: Moment) {
        let Some(worker) = self.all.get_mut(&id) else { return };
        worker.rests_until = Some(now + REST);
        self.free.remove(&(worker.in_flight, worker.turn, id));
    }

    /// Ends the rest of those that had enough of it.
    pub fn wake(&mut self, now: Moment) {
        let is_over = |worker: &Worker| worker.rests_until.is_some_and(|until| until <= now);
        let woken: Vec<_> = self.all.iter().filter(|(_, one)| is_over(one)).map(|(id, _)| *id).collect();
        for id in woken {
            if let Some(worker) = self.all.get_mut(&id) {
                worker.rests_until = None;
            }
            self.put_in(id);
        }
    }

    /// When the next one has rested.
    pub fn wakes(&self) -> Option<Moment> {
        self.all.values().filter_map(|worker| worker.rests_until).min()
    }

    /// So many more requests could be given now.
    pub fn room(&self) -> u32 {
        let free = self.free.iter().map(|(in_flight, _, _)| self.cap.saturating_sub(*in_flight));
        free.fold(0, u32::saturating_add)
    }

    /// So many requests they may have at a time.
    pub fn places(&self) -> u32 {
        u32::try_from(self.chosen.len()).unwrap_or(u32::MAX).saturating_mul(self.cap)
    }

    pub fn loads(&self) -> impl Iterator<Item = Load> {
        self.all.iter().map(|(id, worker)| Load {
            worker: *id,
            in_flight: worker.in_flight,
            upgraded: worker.upgraded,
            served: worker.served,
            idle_since: (worker.in_flight == 0).then_some(worker.idle_since),
        })
    }

    /// Where one stands among those that have room, if it has.
    fn rank(&self, id: WorkerId) -> Option<Rank> {
        self.all.get(&id).map(|worker| (worker.in_flight, worker.turn, id))
    }

    /// Puts one to those that have room, where it has.
    fn put_in(&mut self, id: WorkerId) {
        let Some(worker) = self.all.get(&id) else { return };
        if self.chosen.contains(&id) && worker.in_flight < self.cap && worker.rests_until.is_none() {
            self.free.insert((worker.in_flight, worker.turn, id));
        }
    }

    fn sort_out(&mut self) {
        self.free.clear();
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            self.put_in(id);
        }
    }
}
