//! What goes into the machine.

use primary_protocol::ReadyEvidence;

use super::Exit;
use super::death::Ended;
use super::order::Order;
use super::vitals::Samples;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Nothing but that time passed.
    Tick,
    /// [`Effect::Fork`] was done.
    Forked {
        /// The number of the slot.
        slot: u32,
        /// The new worker.
        pid: u32,
    },
    /// [`Effect::Fork`] could not be done.
    ForkFailed {
        /// The number of the slot.
        slot: u32,
        /// Why.
        exit: Exit,
    },
    /// A worker ended.
    Exited(Ended),
    /// The last process of a worker's group ended after the worker.
    GroupEnded {
        /// The worker.
        pid: u32,
    },
    /// A worker showed that it is ready.
    Evidence {
        /// Which.
        pid: u32,
        /// How.
        evidence: ReadyEvidence,
    },
    /// A worker uses the inherited socket.
    UsesListener {
        /// Which.
        pid: u32,
    },
    /// A worker sent `WATCHDOG=1`.
    Alive {
        /// Which.
        pid: u32,
    },
    /// Workers were looked at.
    Sampled(Samples),
    /// Somebody who may wants something.
    Order(Order),
    /// Node's cluster module said `online`.
    Online {
        /// Which worker.
        pid: u32,
    },
    /// Node's channel closed.
    ChannelClosed {
        /// Whose.
        pid: u32,
    },
    /// [`Effect::Reopen`] was done.
    Opened,
    /// The listening socket was opened, because a worker asked for it on Node's channel.
    OpenedFor {
        /// Which.
        pid: u32,
    },
    /// [`Effect::Reopen`] could not be done.
    OpenFailed,
    /// An order to stop, by this signal. A second one means: at once.
    Stop {
        /// Workers get the same signal.
        signal: i32,
    },
    /// Nobody waits any more for a worker that is to leave.
    NobodyWaits {
        /// Which.
        pid: u32,
    },
    /// After [`Effect::CloseDoor`]: somebody still waits to be accepted.
    StillWaiting {
        /// How many, as far as the kernel tells.
        connections: u32,
    },
    /// After [`Effect::CloseDoor`]: nobody waits to be accepted any more.
    Emptied,
}
