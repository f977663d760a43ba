//! The doors of the hall: accepts connections for workers that have room, and sends them along.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::channel::{Answer, Outbox};
use super::hall::{Door, Freed, Hall, Handed};
use super::tell;
use crate::{kernel, listener};

pub use super::hall::WorkerId;

/// Without descriptors or memory for a connection it is tried again after this time.
const PAUSE: Duration = Duration::from_millis(100);

/// Everything that is passed on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    hall: Hall<Arc<OwnedFd>>,
    channels: BTreeMap<WorkerId, Outbox>,
    /// What is known of the end of workers.
    ends: BTreeMap<WorkerId, End>,
    /// Wakes the task at each door.
    bells: BTreeMap<Door, Arc<Notify>>,
    /// Workers that do not read what they are sent.
    deaf: BTreeSet<WorkerId>,
    /// Attempts to accept that the system refused, and its words.
    refusals: u64,
    complaint: Option<String>,
}

/// What was handed to a worker comes back when it is dead, or has closed its end of the channel, and all that it said before was heard: only then it
/// is known what it had taken.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    gone: bool,
    heard_out: bool,
}

/// What the task at a door does next.
enum Turn {
    Accept,
    Wait,
    Leave,
}

impl Passing {
    /// A worker listens on a socket: connections to it are passed on from now on. `key` is what the worker calls its server.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn admit(
        &self,
        worker: WorkerId,
        key: String,
        socket: &OwnedFd,
        channel: Outbox,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let door = listener::inode(socket).ok_or(io::ErrorKind::InvalidInput)?;
        let mut inner = self.inner();
        if !inner.hall.is_open(door) {
            let watched = kernel::watched(rustix::io::fcntl_dupfd_cloexec(socket, 0)?)?;
            let bell = Arc::<Notify>::default();
            inner.hall.open(door);
            inner.bells.insert(door, Arc::clone(&bell));
            tasks.spawn(keep(self.clone(), door, watched, bell));
        }
        inner.hall.admit(worker, door, key);
        inner.channels.insert(worker, channel);
        inner.ring([door]);
        Ok(())
    }

    /// The primary closes a socket.
    pub fn close(&self, socket: &OwnedFd) {
        let Some(door) = listener::inode(socket) else { return };
        let mut inner = self.inner();
        inner.hall.close(door);
        inner.ring([door]);
        inner.bells.remove(&door);
    }

    /// A worker closed a server.
    pub fn dismiss(&self, worker: WorkerId, key: &str) {
        self.inner().hall.dismiss(worker, key);
    }

    /// Something else than a connection was sent to a worker with a descriptor.
    pub fn sent(&self, worker: WorkerId) {
        self.inner().hall.sent(worker);
    }

    /// Nothing is said to a worker any more.
    pub fn mute(&self, worker: WorkerId) {
        self.inner().mute(worker);
    }

    /// A worker is dead.
    pub fn ended(&self, worker: WorkerId) {
        let mut inner = self.inner();
        inner.mute(worker);
        inner.end(worker, |end| end.gone = true);
    }

    /// All that a worker said was heard; `by_itself` where it closed the channel, and not the primary.
    pub fn heard_out(&self, worker: WorkerId, by_itself: bool) {
        let mut inner = self.inner();
        let closed = by_itself && inner.channels.contains_key(&worker);
        inner.mute(worker);
        inner.end(worker, |end| {
            end.heard_out = true;
            end.gone |= closed;
        });
    }

    /// Only these workers get new connections from now on.
    pub fn choose(&self, workers: BTreeSet<WorkerId>) {
        let mut inner = self.inner();
        if inner.hall.choose(workers) {
            let doors: Vec<Door> = inner.bells.keys().copied().collect();
            inner.ring(doors);
        }
    }

    /// A worker says whether it takes a connection.
    pub fn answered(&self, worker: WorkerId, seq: u64, accepted: bool) {
        let mut inner = self.inner();
        let freed = inner.hall.answered(worker, seq, accepted);
        inner.settle(freed);
    }

    /// A worker says whether a descriptor arrived.
    pub fn arrived(&self, worker: WorkerId, arrived: bool) {
        let mut inner = self.inner();
        let freed = inner.hall.arrived(worker, arrived);
        inner.settle(freed);
    }

    /// Whether a connection is on its way to a worker, or waits for one, here and not in the kernel.
    pub fn is_busy(&self) -> bool {
        self.inner().hall.is_busy()
    }

    /// Whether a worker has been handed one that it did not answer for.
    pub fn owes(&self, worker: WorkerId) -> bool {
        self.inner().hall.owes(worker)
    }

    /// Workers that do not read what they are sent; told once.
    pub fn deaf(&self) -> BTreeSet<WorkerId> {
        std::mem::take(&mut self.inner().deaf)
    }

    /// What the log should know; told at powers of two.
    pub fn complaint(&self) -> Option<String> {
        self.inner().complaint.take()
    }

    /// Passes on what came back, and says how to go on.
    fn turn(&self, door: Door) -> Turn {
        let mut inner = self.inner();
        if !inner.hall.is_open(door) {
            return Turn::Leave;
        }
        let settled = inner.hall.settle(door);
        for handed in settled.handed {
            inner.send(handed);
        }
        if inner.hall.has_room(door) { Turn::Accept } else { Turn::Wait }
    }

    fn came_in(&self, door: Door, connection: OwnedFd) {
        let mut inner = self.inner();
        if let Some(handed) = inner.hall.take(door, Arc::new(connection)) {
            inner.send(handed);
        }
    }

    fn refused(&self, error: &io::Error) {
        let mut inner = self.inner();
        inner.refusals += 1;
        if inner.refusals.is_power_of_two() {
            let times = inner.refusals;
            inner.complaint =
                Some(format!("connections wait, as the system gives the primary none ({times} times): {error}"));
        }
    }

    // A panic elsewhere leaves a whole table behind: the lock's poison says nothing of use.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn send(&mut self, handed: Handed<Arc<OwnedFd>>) {
        let Handed { worker, key, seq, connection } = handed;
        let answer = Answer::with(tell::new_connection(&key, seq), connection);
        if !self.channels.get(&worker).is_some_and(|channel| channel.say(answer)) {
            // This one it has not got.
            let freed = self.hall.answered(worker, seq, false);
            self.settle(freed);
            self.mute(worker);
            self.deaf.insert(worker);
        }
    }

    fn mute(&mut self, worker: WorkerId) {
        self.channels.remove(&worker);
        self.hall.mute(worker);
    }

    fn end(&mut self, worker: WorkerId, change: impl FnOnce(&mut End)) {
        let end = self.ends.entry(worker).or_default();
        change(end);
        if end.gone && end.heard_out {
            self.ends.remove(&worker);
            let freed = self.hall.forget(worker);
            self.settle(freed);
        }
    }

    fn settle(&mut self, freed: Freed<Arc<OwnedFd>>) {
        self.ring(freed.doors);
        drop(freed.dropped); // closes them
    }

    fn ring(&mut self, doors: impl IntoIterator<Item = Door>) {
        for bell in doors.into_iter().filter_map(|door| self.bells.get(&door)) {
            bell.notify_one();
        }
    }
}

/// Stands at a door until it is closed.
async fn keep(passing: Passing, door: Door, socket: AsyncFd<OwnedFd>, bell: Arc<Notify>) {
    loop {
        match passing.turn(door) {
            Turn::Leave => return,
            Turn::Wait => bell.notified().await,
            Turn::Accept => tokio::select! {
                biased;
                () = bell.notified() => {}
                accepted = socket.async_io(Interest::READABLE, |socket| accept(socket.as_fd())) => match accepted {
                    Ok(connection) => passing.came_in(door, connection),
                    Err(error) if of_the_connection(&error) => {}
                    Err(error) => {
                        passing.refused(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            },
        }
    }
}

fn accept(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// Errors of a connection that ended before it was accepted (accept(2)); the next may be well.
fn of_the_connection(error: &io::Error) -> bool {
    let of_one = [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::NETDOWN, Errno::HOSTUNREACH, Errno::NETUNREACH];
    of_one.iter().any(|one| error.raw_os_error() == Some(one.raw_os_error()))
}
