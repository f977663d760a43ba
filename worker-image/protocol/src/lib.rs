//! What a primary tells the operator about its replica: the body of `GET /v1/stats`, version 1; and what the operator tells a
//! primary ([`remote`]).
//!
//! Rules of the version: fields may be added with a default; a field is never removed or given another meaning
//! within a version. A reader ignores what it does not know. No data is `None`, never zero.

pub mod remote;
mod requests;
mod shown;
mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use remote::Told;
pub use requests::{Recent, Requests, Times};
pub use shown::{Shown, ShownWorker};
pub use usage::{Answering, Usage};

/// The version of [`Stats`] that this crate writes.
pub const STATS_VERSION: u32 = 1;

/// The port on which every primary serves `/livez`, `/readyz`, `/metrics` and `/v1/stats` (named `primary` in the pod).
pub const ADMIN_PORT: u16 = 9180;

/// What one replica's primary knows about itself and its workers at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Version of this document, [`STATS_VERSION`].
    pub version: u32,
    /// Version of the primary's binary, as in `primary --version`.
    pub primary_version: String,
    /// Milliseconds since this primary started, from a monotonic clock: the time of this sample. It starts again at 0
    /// with a new primary, and so tells a restart.
    pub uptime_milliseconds: u64,
    /// What the replica is doing.
    pub state: ReplicaState,
    /// The number of workers that the primary keeps, and how many of them are ready.
    pub workers: WorkerCounts,
    /// Why workers ended, summed over all slots since the primary started.
    pub deaths: Deaths,
    /// Processor time of the whole container. `None` where no cgroup can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory of the whole container. `None` where no cgroup can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The shared listening sockets, in the order in which they were opened.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// One entry for each slot, in slot order.
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// What the user should know and can act upon; at most 8.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Workers that were replaced although they had not died, by reason, since the primary started.
    #[serde(default)]
    pub replaced: Replaced,
    /// The last reload. `None` where there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Reload>,
    /// Whether the replica is not ready by order.
    #[serde(default)]
    pub drained: bool,
    /// What the primary was told last. `None` where it takes no orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// How many orders came over the network.
    #[serde(default)]
    pub orders: Orders,
    /// The requests, where the primary takes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
}

/// Orders that came over the network since the primary started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Orders {
    /// Carried out.
    pub taken: u64,
    /// Refused because of who gave them or how, by reason; reasons that did not occur are left out.
    pub refused: BTreeMap<String, u64>,
}

/// Workers that were replaced although they had not died, by reason, since the primary started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replaced {
    /// By a reload.
    pub reloaded: u64,
    /// For their memory.
    pub over_memory: u64,
    /// For their age.
    pub over_age: u64,
    /// For the number of requests that they had answered.
    pub over_requests: u64,
    /// Found hung, and killed.
    pub hung: u64,
}

/// A reload: fresh workers for all that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reload {
    /// Counts from 1.
    pub number: u64,
    /// Slots that it is about.
    pub slots: u32,
    /// Slots that have a fresh worker.
    pub done: u32,
    /// It is over, well or not.
    pub ended: bool,
    /// Why the rest of the workers stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// No worker has been ready yet.
    Starting,
    /// At least one worker is ready.
    Serving,
    /// Workers were ready before, and none is now.
    Unavailable,
    /// It was told to stop: not ready any more, finishing what is in flight.
    Draining,
    /// One that a newer primary knows and this reader does not.
    #[serde(other)]
    Unknown,
}

/// Numbers of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerCounts {
    /// How many the primary is to keep.
    pub desired: u32,
    /// How many are ready.
    pub ready: u32,
    /// How many processes exist, ready or not.
    pub running: u32,
    /// How many hold an established connection. `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<u32>,
    /// How many were forked to replace one that ended, since the primary started.
    pub restarts: u64,
}

/// Deaths of workers by verdict since the primary started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deaths {
    /// Ended by itself with code 0.
    pub exited: u64,
    /// Ended with another code, or by a signal that the primary did not send.
    pub crashed: u64,
    /// Ended before it was ready.
    pub never_ready: u64,
    /// Killed by the kernel for memory.
    pub out_of_memory: u64,
}

/// Processor time of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Microseconds of processor time used since the container started; it only grows.
    pub usage_microseconds: u64,
    /// The limit that the kernel enforces, in thousandths of a processor. `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_millicores: Option<u64>,
}

/// Memory of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Bytes in use, as the kernel accounts them to the container.
    pub usage_bytes: u64,
    /// The limit that the kernel enforces, in bytes. `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

/// One listening socket that the primary holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The address, as `[::]:8000`.
    pub address: String,
    /// Connections that the kernel has accepted and no worker has taken yet (`tcpi_unacked`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u32>,
    /// How many connections may wait there (`tcpi_sacked`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
}

/// One worker's place. Slots are numbered from 1, as Node numbers workers, and outlive the processes in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The number of this slot, from 1.
    pub slot: u32,
    /// What the slot is doing.
    pub state: SlotState,
    /// The worker's process id, where one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What showed that the worker is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ReadyEvidence>,
    /// Milliseconds since this worker was forked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_milliseconds: Option<u64>,
    /// Milliseconds until the next fork, while the slot backs off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_milliseconds: Option<u64>,
    /// How many workers ran in this slot after the first.
    pub restarts: u64,
    /// How the last worker in this slot ended, as `signal 9 (SIGKILL)` or `exit code 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// What the worker uses.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotState {
    /// A worker runs that has not shown yet that it is ready.
    Starting,
    /// A worker runs and is ready.
    Ready,
    /// A worker was asked to stop.
    Stopping,
    /// No worker runs; the next fork waits.
    BackOff,
    /// No worker runs and none will be forked.
    Stopped,
    /// One that a newer primary knows and this reader does not.
    #[serde(other)]
    Unknown,
}

/// What showed that a worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyEvidence {
    /// Node's cluster module said `listening`.
    Listening,
    /// The worker sent `READY=1` (`sd_notify`), or Node's `process.send('ready')`.
    Notify,
    /// It holds a listening socket of its own on the port.
    OwnSocket,
    /// It answered a request that asked whether it is ready (`ready: Http`).
    Http,
    /// It was alive for the start-up time, and nothing better was to be had.
    Alive,
    /// Nothing was asked of it (`ready: Immediate`).
    Immediate,
    /// One that a newer primary knows and this reader does not.
    #[serde(other)]
    Unknown,
}

/// Something that the user should know and can act upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Which it is, also the reason of the condition and the event.
    pub reason: WarningReason,
    /// The cause and the next step, in words for the user; at most 1 KiB.
    pub message: String,
}

/// The kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WarningReason {
    /// The program binds its port itself, so that only one worker can have it.
    PortBoundByWorker,
    /// Workers end again and again before they are ready or soon after.
    CrashLoop,
    /// Workers run and never become ready.
    NeverReady,
    /// The command is not there, or may not be executed.
    CommandNotFound,
    /// The command swallows Node's channel (`npm start`).
    ChannelSwallowed,
    /// Workers speak TLS where the primary gives them requests in plain HTTP (`balancing: Queue`).
    TlsBehindQueue,
    /// Workers made no progress, and were killed.
    Hung,
    /// Workers pass their memory limit again and again, and are replaced.
    OverMemory,
    /// The kernel killed workers for memory.
    OutOfMemory,
    /// A reason that a newer primary knows and this reader does not.
    #[serde(other)]
    Unknown,
}
