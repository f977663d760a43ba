//! Which worker gets which connection where the primary accepts for all (Passing): a table without IO.
//!
//! A worker answers each connection that it was handed, before it reads from it. Until then the primary keeps the connection, so that it can go
//! to another where the worker refuses it, or is dead and has said all that it had to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A listening socket, by the number of its file.
pub type Door = u64;

/// A worker, by a number that no other ever has: process ids come again.
pub type WorkerId = u64;

/// So many connections may be on their way to a worker that has not answered for them; the others stay in the kernel's queue, for whoever answers
/// first. With one, as in Node, a worker has nothing to do between its answer and the next connection.
const WINDOW: usize = 2;

/// So many descriptors may be unacknowledged; a worker that never acknowledges any cannot make the primary grow.
const SENT_MAX: usize = 1024;

/// Who has which connection.
#[derive(Debug)]
pub struct Hall<C> {
    /// Connections that came back, and have to go to somebody first.
    doors: BTreeMap<Door, VecDeque<Guest<C>>>,
    workers: BTreeMap<WorkerId, Worker<C>>,
    /// Workers that get new connections.
    chosen: BTreeSet<WorkerId>,
    seq: u64,
}

/// A connection.
#[derive(Debug)]
struct Guest<C> {
    connection: C,
    /// Workers that did not want it.
    refused_by: Vec<WorkerId>,
}

#[derive(Debug)]
struct Worker<C> {
    /// What it calls the server behind each door.
    servers: BTreeMap<Door, String>,
    /// What it has not answered for.
    handed: BTreeMap<u64, (Door, Guest<C>)>,
    /// What was sent to it with a descriptor and has not been acknowledged, in order: a connection, or something else.
    sent: VecDeque<Option<u64>>,
    /// When it was last handed one.
    turn: u64,
}

/// A connection to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Handed<C> {
    pub worker: WorkerId,
    /// What the worker calls its server.
    pub key: String,
    /// It answers with this number.
    pub seq: u64,
    pub connection: C,
}

/// What came of an answer, or an end.
#[derive(Debug, PartialEq, Eq)]
pub struct Freed<C> {
    /// Who waits there may have a worker now.
    pub doors: BTreeSet<Door>,
    /// Nobody wants these.
    pub dropped: Vec<C>,
}

/// What became of the connections that came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled<C> {
    pub handed: Vec<Handed<C>>,
    /// Nobody wants these.
    pub dropped: Vec<C>,
}

impl<C> Default for Hall<C> {
    fn default() -> Self {
        Self { doors: BTreeMap::new(), workers: BTreeMap::new(), chosen: BTreeSet::new(), seq: 0 }
    }
}

impl<C> Default for Worker<C> {
    fn default() -> Self {
        Self { servers: BTreeMap::new(), handed: BTreeMap::new(), sent: VecDeque::new(), turn: 0 }
    }
}

impl<C> Worker<C> {
    fn note_sent(&mut self, what: Option<u64>) {
        if self.sent.len() >= SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(what);
    }
}

impl<C: Clone> Hall<C> {
    /// A listening socket is there.
    pub fn open(&mut self, door: Door) {
        self.doors.entry(door).or_default();
    }

    /// It is gone, and with it who came back there and was handed to nobody yet.
    pub fn close(&mut self, door: Door) {
        self.doors.remove(&door);
    }

    pub fn is_open(&self, door: Door) -> bool {
        self.doors.contains_key(&door)
    }

    /// A worker has a server behind a door.
    pub fn admit(&mut self, worker: WorkerId, door: Door, key: String) {
        self.workers.entry(worker).or_default().servers.insert(door, key);
    }

    /// It closed it.
    pub fn dismiss(&mut self, worker: WorkerId, key: &str) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.servers.retain(|_, own| own != key);
        }
    }

    /// A worker cannot be spoken to any more. What it was handed stays its own: it may have it in its buffer, and take it.
    pub fn mute(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.servers.clear();
        }
    }

    /// A worker is dead, or has closed its end, and all that it said has been heard: what it did not answer for is for others.
    pub fn forget(&mut self, worker: WorkerId) -> Freed<C> {
        let handed = self.workers.remove(&worker).map(|worker| worker.handed).unwrap_or_default();
        let mut freed = Freed { doors: BTreeSet::new(), dropped: Vec::new() };
        // The newest first, each before those that came back earlier: so they keep their order.
        for (door, guest) in handed.into_values().rev() {
            match self.doors.get_mut(&door) {
                Some(waiting) => waiting.push_front(guest),
                None => freed.dropped.push(guest.connection),
            }
            freed.doors.insert(door);
        }
        freed
    }

    /// Only these get new connections from now on. Says whether others did before.
    pub fn choose(&mut self, chosen: BTreeSet<WorkerId>) -> bool {
        let changed = self.chosen != chosen;
        self.chosen = chosen;
        changed
    }

    /// Whether a worker can take one that comes in now.
    pub fn has_room(&self, door: Door) -> bool {
        self.next(door, &[]).is_some()
    }

    /// Whether a worker has one that it has not answered for, or one came back.
    pub fn is_busy(&self) -> bool {
        self.workers.values().any(|worker| !worker.handed.is_empty())
            || self.doors.values().any(|waiting| !waiting.is_empty())
    }

    /// Whether a worker has one that it has not answered for.
    pub fn owes(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| !worker.handed.is_empty())
    }

    /// Hands over one that has just come in. Where nobody has room any more it waits; where the door was closed meanwhile, it is as well.
    pub fn take(&mut self, door: Door, connection: C) -> Option<Handed<C>> {
        let guest = Guest { connection, refused_by: Vec::new() };
        if !self.is_open(door) {
            return None;
        }
        match self.hand(door, guest) {
            Ok(handed) => Some(handed),
            Err(guest) => {
                self.doors.get_mut(&door)?.push_back(guest);
                None
            }
        }
    }

    /// Hands over those that came back, as far as somebody has room who has not refused them.
    pub fn settle(&mut self, door: Door) -> Settled<C> {
        let mut settled = Settled { handed: Vec::new(), dropped: Vec::new() };
        for guest in self.doors.get_mut(&door).map(std::mem::take).unwrap_or_default() {
            match self.hand(door, guest) {
                Ok(handed) => settled.handed.push(handed),
                Err(guest) if self.is_unwanted(door, &guest.refused_by) => settled.dropped.push(guest.connection),
                Err(guest) => self.doors.entry(door).or_default().push_back(guest),
            }
        }
        settled
    }

    fn hand(&mut self, door: Door, guest: Guest<C>) -> Result<Handed<C>, Guest<C>> {
        let Some(chosen) = self.next(door, &guest.refused_by) else { return Err(guest) };
        let Some(worker) = self.workers.get_mut(&chosen) else { return Err(guest) };
        let Some(key) = worker.servers.get(&door).cloned() else { return Err(guest) };
        self.seq += 1;
        worker.turn = self.seq;
        worker.note_sent(Some(self.seq));
        let handed = Handed { worker: chosen, key, seq: self.seq, connection: guest.connection.clone() };
        worker.handed.insert(self.seq, (door, guest));
        Ok(handed)
    }

    /// Those that get connections from this door.
    fn at(&self, door: Door) -> impl Iterator<Item = (WorkerId, &Worker<C>)> {
        let workers = self.chosen.iter().filter_map(|id| Some((*id, self.workers.get(id)?)));
        workers.filter(move |(_, worker)| worker.servers.contains_key(&door))
    }

    /// The worker with the fewest on their way; of several, who had its turn longest ago.
    fn next(&self, door: Door, refused_by: &[WorkerId]) -> Option<WorkerId> {
        let free = self.at(door).filter(|(id, worker)| !refused_by.contains(id) && worker.handed.len() < WINDOW);
        free.min_by_key(|(_, worker)| (worker.handed.len(), worker.turn)).map(|(id, _)| id)
    }

    /// All who could have it have refused it: as a program alone does that has as many connections as it allows itself. Where there is nobody, it
    /// waits for whoever comes.
    fn is_unwanted(&self, door: Door, refused_by: &[WorkerId]) -> bool {
        let mut at = self.at(door).peekable();
        at.peek().is_some() && at.all(|(id, _)| refused_by.contains(&id))
    }

    /// Something that is no connection was sent to a worker with a descriptor.
    pub fn sent(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.note_sent(None);
        }
    }

    /// A worker says whether the next of the descriptors that were sent to it arrived. Where it has no room for any more they do not, and it says
    /// nothing else of them.
    pub fn arrived(&mut self, worker: WorkerId, arrived: bool) -> Freed<C> {
        let next = self.workers.get_mut(&worker).and_then(|worker| worker.sent.pop_front()).flatten();
        match next.filter(|_| !arrived) {
            Some(seq) => self.answered(worker, seq, false),
            None => Freed { doors: BTreeSet::new(), dropped: Vec::new() },
        }
    }

    /// A worker says whether it takes what it was handed under this number.
    pub fn answered(&mut self, id: WorkerId, seq: u64, accepted: bool) -> Freed<C> {
        let mut freed = Freed { doors: BTreeSet::new(), dropped: Vec::new() };
        let Some(worker) = self.workers.get_mut(&id) else { return freed };
        let Some((door, mut guest)) = worker.handed.remove(&seq) else { return freed };
        // There is room behind each of its doors.
        freed.doors.extend(worker.servers.keys().copied());
        if accepted {
            return freed;
        }
        guest.refused_by.push(id);
        freed.doors.insert(door);
        match self.doors.get_mut(&door) {
            Some(waiting) => waiting.push_front(guest),
            None => freed.dropped.push(guest.connection),
        }
        freed
    }
}

#[cfg(test)]
mod tests;
