//! Requests that the primary takes itself: which workers get them, where those are, and that they are seen to accept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use primary_protocol::{Answering, ReadyEvidence, Requests, Times};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};

use super::{Accepts, Primary};
use crate::command::Kind;
use crate::config::{Balancing, Config};
use crate::ipc::passing::WorkerId;
use crate::ipc::servers::{Main, Own};
use crate::kernel::shorten_slice;
use crate::listener;
use crate::machine::{Event, Exit, ReadyRule, milliseconds};
use crate::queue::{Affinity, BOUNDS, Histogram, Leading, Limits, Private, Process, Seen, Service};

/// Node serves many requests at a time in one process; of other programs nothing is known, and one at a time is what all can do.
const CAP_OF_NODE: u32 = 64;

/// A request that so many workers died of goes to no other.
const DEATHS: u32 = 2;

/// Descriptors that are not for clients: workers' channels and sockets, files that are read.
const OTHER_DESCRIPTORS: u64 = 256;

/// Descriptors of connections to workers, where there are enough.
const TO_WORKERS: u64 = 4096;

/// The most clients at a time, however many descriptors there are.
const CLIENTS_MAX: u64 = 65_536;

/// Where a worker has one request at a time: the shortest slice that Linux has, for all of them. Where there are more workers that compute than processors,
/// a worker that is given a short request would else wait for the end of a neighbour's slice, and so would the thread that gives it
/// (docs/design/0017-queue.md).
const SLICE: Duration = Duration::from_micros(100);

/// Workers that start are knocked at this often at first; later after a tenth of the time that they have had.
const KNOCK_EVERY: Duration = Duration::from_millis(10);

/// And at least so often.
const KNOCK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// A connection on this machine is made at once, or not at all.
const KNOCK_TIME: Duration = Duration::from_millis(20);

/// What the stats say; `workers` is how many there are to be.
fn requests(seen: &Seen, workers: u32) -> Requests {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let counts = &seen.counts;
    let refused = counts.told.by_reason().into_iter().filter(|(_, count)| *count > 0);
    Requests {
        waiting: number(seen.waiting),
        in_flight: seen.loads.iter().map(|load| load.in_flight).sum(),
        away: number(seen.away),
        places: seen.places,
        capacity: seen.cap.saturating_mul(workers),
        oldest_milliseconds: seen.oldest.map(milliseconds),
        longest_milliseconds: seen.longest.map(milliseconds),
        demand_milliseconds: milliseconds(seen.demand),
        arrived: counts.arrived,
        returned: counts.returned,
        left: counts.left,
        cut: counts.cut,
        roamed: counts.roamed,
        merged: counts.merged,
        alone: counts.alone,
        refused: refused.map(|(reason, count)| (reason.to_string(), count)).collect(),
        upgraded: seen.loads.iter().map(|load| load.upgraded).sum::<u32>().saturating_add(number(seen.upgraded_away)),
        recent: None,
        service: times(&seen.taken.service),
        wait: times(&seen.taken.wait),
    }
}

fn times(histogram: &Histogram) -> Times {
    Times {
        bounds_milliseconds: BOUNDS.to_vec(),
        counts: histogram.counts().to_vec(),
        sum_milliseconds: milliseconds(histogram.sum()),
    }
}

/// Starts to take requests, where that is asked for; workers that are forked by this thread later have its slice.
pub(super) fn start(config: &Config, kind: Kind, main: Option<&Main>) -> io::Result<Option<Service>> {
    let Some(main) = main.filter(|_| config.balancing == Balancing::Queue) else { return Ok(None) };
    let cap = config.queue.cap.map_or(if matches!(kind, Kind::Node { .. }) { CAP_OF_NODE } else { 1 }, NonZeroU32::get);
    if cap == 1 {
        let _ = shorten_slice(SLICE); // where that is refused, they wait
    }
    let waiting = usize::try_from(config.queue.waiting.get()).unwrap_or(usize::MAX);
    let limits = Limits { cap, waiting, wait: config.queue.wait, deaths: DEATHS };
    let service = Service::start(Leading {
        limits,
        trusts: config.queue.trusts,
        clients: clients(),
        ready_path: config.ready_path.clone(),
        own: config.pod_uid.clone(),
        together: config.queue.together.clone(),
        shares_credentials: config.queue.shares_credentials,
        affinity: config
            .queue
            .cookie
            .clone()
            .map(|cookie| Affinity { cookie, began: milliseconds(now_in_unix_time()) }),
    })?;
    service.open(main.of(1))?;
    Ok(Some(service))
}

/// What parts this primary from others that this pod has had.
fn now_in_unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The primary may have as many descriptors as it can, since each client takes some; gives what it could have before.
pub(super) fn raise_descriptors() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let _ = setrlimit(Resource::Nofile, raised); // it goes on with fewer clients
    before
}

/// Each client needs a descriptor, and one more while a worker has a request of its; only of those that speak another protocol there can be more at
/// a time than [`TO_WORKERS`], and the last of them are told so then.
fn clients() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(OTHER_DESCRIPTORS);
    let clients = (descriptors / 2).max(descriptors.saturating_sub(TO_WORKERS)).clamp(16, CLIENTS_MAX);
    usize::try_from(clients).unwrap_or(usize::MAX)
}

/// Workers that have not shown yet that they accept, and a connection to each that one which accepts takes away.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    next: Option<Instant>,
    since: Option<Instant>,
    open: BTreeMap<u32, TcpStream>,
    /// Workers that are asked at the moment whether they are ready.
    asked: BTreeSet<u32>,
}

impl Knocks {
    pub fn due(&self) -> Option<Instant> {
        self.next
    }
}

impl Primary {
    /// The sockets of a worker that is to be forked, where it needs its own.
    pub(super) fn private_sockets(&self) -> Result<Option<Private>, Exit> {
        let refused = |error: io::Error| Exit::NotExecuted(format!("the system gives no socket for it: {error}"));
        let Some(main) = self.main.as_ref().filter(|_| self.queue.is_some()) else { return Ok(None) };
        let opened = if self.launcher.gives_channel() {
            Private::on(main.address.port(), self.forked + 1)
        } else {
            Private::open()
        };
        opened.map(Some).map_err(refused)
    }

    pub(super) fn admit_to_queue(&mut self, id: WorkerId, process: Pid, private: Option<&Private>) {
        if let (Some(queue), Some(private)) = (&self.queue, private) {
            // Where there is none, its death is known when the loop has collected it.
            let descriptor = pidfd_open(process, PidfdFlags::empty()).ok();
            if let Some(descriptor) = descriptor.as_ref().and_then(|descriptor| descriptor.try_clone().ok()) {
                queue.watch(id, descriptor);
            }
            let pid = process.as_raw_nonzero().get().unsigned_abs();
            let process = Process { pid, descriptor: descriptor.map(Arc::new) };
            queue.desk.admit(id, private.inherited, Some(process));
            self.knocks.since = Some(Instant::now());
        }
    }

    pub(super) fn forget_in_queue(&mut self, id: WorkerId) {
        if let Some(queue) = &self.queue {
            queue.desk.forget(id);
        }
    }

    /// Has requests go to those who are ready now.
    pub(super) fn choose_for_queue(&self) {
        let Some(queue) = &self.queue else { return };
        let children = self.machine.ready().filter_map(|pid| self.children.get(&pid));
        let receivers = children.filter(|child| child.accepts == Accepts::Yes).map(|child| child.id).collect();
        queue.desk.choose(receivers);
        if self.machine.watch().nobody_comes {
            queue.desk.dismiss();
        }
    }

    /// Whether a worker has a request; `None` where nobody here knows.
    pub(super) fn is_busy_in_queue(&self, pid: u32) -> Option<bool> {
        Some(self.queue.as_ref()?.desk.is_busy(self.children.get(&pid)?.id))
    }

    /// Whether a worker has a request, or a connection of another protocol; `None` where nobody here knows.
    pub(super) fn is_needed_in_queue(&self, pid: u32) -> Option<bool> {
        Some(self.queue.as_ref()?.desk.is_needed(self.children.get(&pid)?.id))
    }

    /// How many requests a worker has answered.
    pub(super) fn served_by(&self, pid: u32) -> Option<u64> {
        self.queue.as_ref()?.desk.served(self.children.get(&pid)?.id)
    }

    /// How many requests and connections of another protocol each worker has.
    pub(super) fn held_in_queue(&self) -> Option<BTreeMap<u32, u32>> {
        let loads = self.queue.as_ref()?.desk.seen().loads;
        let held = |(pid, id)| {
            let load = loads.iter().find(|load| load.worker == id)?;
            Some((pid, load.in_flight.saturating_add(load.upgraded)))
        };
        Some(self.children.iter().map(|(pid, child)| (*pid, child.id)).filter_map(held).collect())
    }

    /// How many places are taken, in percent of one worker's.
    pub(super) fn taken_in_queue(&self) -> Option<u32> {
        let seen = self.queue.as_ref()?.desk.seen();
        let in_flight: u32 = seen.loads.iter().map(|load| load.in_flight).sum();
        Some(in_flight.saturating_mul(100) / seen.cap.max(1))
    }

    /// What the stats say of requests.
    pub(super) fn requests(&mut self) -> Option<Requests> {
        let now = self.now();
        let mut requests = requests(&self.queue.as_ref()?.desk.seen(), self.machine.most_workers());
        requests.recent = self.marks.look(&requests, now);
        Some(requests)
    }

    /// What each worker has of them.
    pub(super) fn answering(&self) -> BTreeMap<u32, Answering> {
        let Some(queue) = &self.queue else { return BTreeMap::new() };
        let (loads, now) = (queue.desk.seen().loads, queue.desk.now());
        let of = |id| {
            let load = loads.iter().find(|load| load.worker == id)?;
            let idle = load.idle_since.map(|since| milliseconds(now.saturating_sub(since)));
            Some(Answering { in_flight: load.in_flight, served: load.served, idle_milliseconds: idle })
        };
        self.children.iter().filter_map(|(pid, child)| Some((*pid, of(child.id)?))).collect()
    }

    /// The socket that a worker gets which asks for the primary's port.
    pub(super) fn main_of(&self, pid: u32) -> Option<Own> {
        let main = self.main.as_ref()?;
        let private = self.children.get(&pid).and_then(|child| child.private.as_ref());
        let slot = self.machine.slot_of(pid).unwrap_or(1);
        let socket = private.map_or_else(|| main.of(slot), |private| &private.listener).clone();
        Some(Own { address: main.address, socket, first: main.of(1).clone() })
    }

    /// Looks which of the workers that start accept by now, on the port that is theirs or from the socket that they inherited.
    pub(super) fn knock_if_due(&mut self) {
        let now = Instant::now();
        let lacks = |pid: &u32| {
            self.children.get(pid).is_some_and(|child| child.private.is_some() && child.accepts != Accepts::Yes)
        };
        let unproven: Vec<u32> = self.machine.workers().into_iter().filter(lacks).collect();
        self.knocks.open.retain(|pid, _| unproven.contains(pid));
        let asking = self.config.ready == ReadyRule::Http && !self.machine.watch().unproven.is_empty();
        if self.queue.is_none() || (unproven.is_empty() && !asking) {
            self.knocks.next = None;
            return;
        }
        if self.knocks.next.is_some_and(|next| now < next) {
            return;
        }
        let lasts = self.knocks.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        self.knocks.next = Some(now + (lasts / 10).clamp(KNOCK_EVERY, KNOCK_AT_LEAST_EVERY));
        self.ask_those_that_accept();
        for pid in unproven {
            if let Some(evidence) = self.knock(pid) {
                self.knocks.open.remove(&pid);
                self.note_accepting(pid);
                self.feed(Event::Evidence { pid, evidence });
            }
        }
    }

    /// Looks at once whether a worker accepts that says so. Gives whether there is anything to look at.
    pub(super) fn knock_at_once(&mut self, pid: u32) -> bool {
        let has_own = self.children.get(&pid).is_some_and(|child| child.private.is_some());
        if has_own {
            (self.knocks.since, self.knocks.next) = (Some(Instant::now()), None);
            self.knock_if_due();
        }
        has_own
    }

    /// A worker accepts no more, though its process lives: whoever connects to it would wait for nobody. It is knocked at, should it listen again.
    pub(super) fn note_closed(&mut self, pid: u32) {
        if !self.machine.ready().any(|ready| ready == pid) {
            return; // one that leaves is to close it
        }
        let Some(child) = self.children.get_mut(&pid) else { return };
        let Some(private) = &child.private else { return };
        child.accepts = Accepts::NoMore;
        // Whoever waits in it is told so, and not left to wait for nobody.
        let waits = || listener::queue(&private.listener).is_some_and(|queue| queue.depth > 0);
        while waits() && rustix::net::accept(private.listener.as_ref()).is_ok() {}
        (self.knocks.since, self.knocks.next) = (Some(Instant::now()), None);
        self.choose_for_queue();
    }

    /// A worker was seen to accept: it may have requests from when it is ready.
    fn note_accepting(&mut self, pid: u32) {
        if let Some(child) = self.children.get_mut(&pid) {
            child.accepts = Accepts::Yes;
        }
    }

    /// Asks those that accept and are not ready whether they are, where that is the rule.
    fn ask_those_that_accept(&mut self) {
        if self.config.ready != ReadyRule::Http {
            return;
        }
        let accepts = |pid: &u32| self.children.get(pid).is_some_and(|child| child.accepts == Accepts::Yes);
        let unready: Vec<u32> = self.machine.watch().unproven.into_iter().filter(accepts).collect();
        self.knocks.asked.retain(|pid| unready.contains(pid));
        for pid in unready {
            if self.answers(pid) {
                self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Http });
            }
        }
    }

    /// Whether a worker gave a good answer to the question whether it is ready; asks it again where it did not.
    fn answers(&mut self, pid: u32) -> bool {
        let (Some(queue), Some(child)) = (&self.queue, self.children.get(&pid)) else { return false };
        match queue.desk.take_check(child.id) {
            Some(true) => return true,
            Some(false) => self.knocks.asked.remove(&pid),
            None => false,
        };
        if !self.knocks.asked.contains(&pid) && queue.check(child.id) {
            self.knocks.asked.insert(pid);
        }
        false
    }

    fn knock(&mut self, pid: u32) -> Option<ReadyEvidence> {
        let child = self.children.get_mut(&pid)?;
        let (queue, private) = (self.queue.as_ref()?, child.private.as_ref()?);
        if let Some(own) = &private.own
            && TcpStream::connect_timeout(&own.address, KNOCK_TIME).is_ok()
        {
            queue.desk.relocate(child.id, own.address);
            return Some(ReadyEvidence::OwnSocket);
        }
        if self.knocks.open.contains_key(&pid) {
            let depth = listener::queue(&private.listener)?.depth;
            return (depth == 0).then_some(ReadyEvidence::Listening);
        }
        let knock = TcpStream::connect_timeout(&private.inherited, KNOCK_TIME).ok()?;
        self.knocks.open.insert(pid, knock);
        None
    }
}
