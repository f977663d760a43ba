//! What comes out of the machine.

use std::time::Duration;

use primary_protocol::ReadyEvidence;

use super::{Exit, Reason, Share};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fork a worker, then report [`Event::Forked`] or [`Event::ForkFailed`].
    Fork {
        /// The number of the slot.
        slot: u32,
        /// Whether it inherits the listening socket.
        with_listener: bool,
    },
    /// Send a signal to a worker, or to its whole group.
    Signal {
        /// The worker.
        pid: u32,
        /// The signal.
        signal: i32,
        /// Whether the whole group gets it.
        group: bool,
    },
    /// Ask a Node worker to finish what is in flight and to close its channel.
    Disconnect {
        /// The worker.
        pid: u32,
    },
    /// Let no new connection in, on any listening socket; then report [`Event::Emptied`] when nobody waits any more.
    CloseDoor,
    /// Let new connections go to the sockets of these slots only, as their shares say.
    Steer(Vec<Share>),
    /// Close the listening socket.
    Release,
    /// Open the listening socket, then report [`Event::Opened`] or [`Event::OpenFailed`].
    Reopen,
    /// Write to the log.
    Note(Note),
    /// Write to the log as well.
    Change(Change),
    /// Everything ended; leave.
    Finish,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker was forked.
    Forked { slot: u32, pid: u32, with_listener: bool },
    /// A worker became ready.
    Ready { slot: u32, pid: u32, evidence: ReadyEvidence, after: Duration },
    /// A worker ended.
    Exited { slot: u32, pid: u32, exit: Exit, lived: Duration, was_ready: bool, out_of_memory: bool },
    /// A slot waits before its next fork.
    BackOff { slot: u32, wait: Duration, failures: u32 },
    /// No process could be forked.
    ForkFailed { slot: u32, exit: Exit },
    /// A worker runs for long and is not ready.
    NeverReady { slot: u32, pid: u32, after: Duration },
    /// The port is let go, to see whether the program binds it itself.
    PortReleased,
    /// The port was opened again.
    PortReopened,
    /// A worker was seen to bind the port itself.
    PortOwnedByWorker { slot: u32 },
    /// The order to stop.
    Stopping { signal: i32, serve_on: Duration, drain: Duration },
    /// No new connection is let in, and those that wait are served first, for so long at the most.
    DoorClosed { at_most: Duration },
    /// Workers are told to stop.
    Draining { workers: u32 },
    /// The time to drain is over for a worker.
    Overdue { slot: u32, pid: u32 },
    /// A second order to stop.
    StopAtOnce,
    /// Another number of workers.
    Scaling { from: u32, to: u32 },
    /// The replica is not ready any more, by order.
    Withdrawn,
    /// And is again.
    Returned,
    /// Other settings.
    Configured,
}

/// What is worth a line about workers that are replaced although they have not died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A worker was asked to leave.
    Leaving { slot: u32, pid: u32, reason: Reason },
    /// A worker took another's place.
    Replaced { slot: u32, pid: u32, old: Option<u32>, reason: Option<Reason> },
    /// A worker is to be replaced for its memory.
    OverMemory { slot: u32, pid: u32, memory: u64, limit: u64 },
    /// A worker is to be replaced, because the container is nearly full and it has grown the most.
    ContainerFull { slot: u32, pid: u32, memory: u64, used: u64, limit: u64 },
    /// A worker is killed, because it makes no progress; `promised` is whether it was to send `WATCHDOG=1`.
    Hung { slot: u32, pid: u32, silent: Duration, promised: bool },
    /// A fresh worker did not get ready, and the old one stays.
    RenewalFailed { slot: u32, reason: Reason },
    /// All workers are to be replaced.
    Reloading { slots: u32, at_once: u32 },
    /// All workers were.
    Reloaded { slots: u32 },
    /// The rest of the workers stays.
    ReloadFailed { done: u32, slots: u32, why: String },
}
