//! What one worker uses.

use serde::{Deserialize, Serialize};

/// What one worker uses, as far as it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Its memory in bytes: PSS where that was the question, else RSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Percent of one processor that it used between the last two looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Connections that it holds. Missing where that cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Its requests, where the primary gives them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Answering>,
}

/// What one worker has of the requests that the primary gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answering {
    /// Those that it has.
    pub in_flight: u32,
    /// Those that it has answered.
    pub served: u64,
    /// For how long it has had none. Missing where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_milliseconds: Option<u64>,
}
