//! What a primary tells people about single workers: `GET /v1/workers` on the admin port, and every answer on the control socket.

use serde::{Deserialize, Serialize};

use crate::{Stats, Usage};

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
    /// The command, shortened. Empty over the network, where its arguments are nobody's business.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Resident memory of the primary itself, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_memory_bytes: Option<u64>,
    /// One for each worker process, by slot; the one that counts comes first in its slot.
    pub processes: Vec<ShownWorker>,
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
    /// What it uses.
    #[serde(flatten)]
    pub usage: Usage,
}
