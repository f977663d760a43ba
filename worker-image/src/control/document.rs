//! What goes over the control socket: [`Shown`] comes back from every call, [`Document`]s go in. JSON, camelCase;
//! unknown fields are refused going in and ignored coming back, so that a newer primary can say more.

use primary_protocol::Stats;
use serde::{Deserialize, Serialize};

/// Everything that a primary tells about itself: the stats, and what only people ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What the operator gets as well.
    #[serde(flatten)]
    pub stats: Stats,
    /// The name, from `--name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The primary's process id.
    pub primary_pid: u32,
    /// The command, shortened.
    pub command: String,
    /// Resident memory of the primary itself, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_memory_bytes: Option<u64>,
    /// Not ready, by order.
    pub drained: bool,
    /// The last reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ShownReload>,
    /// How many workers were replaced for which reason.
    pub replaced: Replaced,
    /// One for each worker process, by slot; the one that counts comes first in its slot.
    pub processes: Vec<ShownWorker>,
}

/// A reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownReload {
    /// Counts from 1.
    pub id: u64,
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
    /// Found hung, and killed.
    pub hung: u64,
}

/// One process of the user's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownWorker {
    /// The number of its slot.
    pub slot: u32,
    /// Its process id.
    pub pid: u32,
    /// `starting`, `ready`, `successor`, or `leaving: …` with the reason.
    pub state: String,
    /// Milliseconds since it was forked.
    pub age_milliseconds: u64,
    /// Memory (PSS) in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Percent of one processor, over the last second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Connections that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

/// What can be asked for, beside looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `POST /v1/reload`
    Reload,
    /// `POST /v1/drain`
    Drain,
    /// `POST /v1/undrain`
    Undrain,
    /// `POST /v1/scale`
    Scale,
}

impl Task {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Reload, Self::Drain, Self::Undrain, Self::Scale];

    /// Where it is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::Reload => "/v1/reload",
            Self::Drain => "/v1/drain",
            Self::Undrain => "/v1/undrain",
            Self::Scale => "/v1/scale",
        }
    }
}

/// The body of an order; each takes what is its own, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    /// `reload`: so many workers at a time; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// `drain` and `undrain`: this worker only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// `scale`: so many workers, or `max` for as many as the CPU limit allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
}
