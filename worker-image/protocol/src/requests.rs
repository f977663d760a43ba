//! What a primary that takes requests itself tells of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Requests, where the primary takes them (`balancing: Queue`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Those that wait for a worker.
    pub waiting: u32,
    /// Those that workers have.
    pub in_flight: u32,
    /// Those that another replica has for this one.
    #[serde(default)]
    pub away: u32,
    /// So many workers may have at a time: ready workers times `maxInFlightPerWorker`.
    pub places: u32,
    /// So many they may have at a time when all are ready: `adaptive.max`, or the number of workers, times `maxInFlightPerWorker`. What scaling goes by,
    /// since workers that start or are replaced are there again soon.
    #[serde(default)]
    pub capacity: u32,
    /// For how long the one has waited that has waited longest. Missing where none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_milliseconds: Option<u64>,
    /// For how long a worker, here or of another replica, has had the one that it has had longest. Missing where none has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_milliseconds: Option<u64>,
    /// Since the primary started, the sum over time of those that waited or were with a worker, in milliseconds: its growth by the growth of
    /// `uptimeMilliseconds` is how many there were at a time.
    #[serde(default)]
    pub demand_milliseconds: u64,
    /// Since the primary started: all that came.
    pub arrived: u64,
    /// Given to another worker because the first one died.
    #[serde(default)]
    pub returned: u64,
    /// Clients that left while they waited.
    #[serde(default)]
    pub left: u64,
    /// Whose worker died when the client had a part of the answer.
    #[serde(default)]
    pub cut: u64,
    /// Given to other replicas, since no worker was free here.
    #[serde(default)]
    pub roamed: u64,
    /// Answered with the answer to another one that was the same (`http.singleFlight`).
    #[serde(default)]
    pub merged: u64,
    /// Carried out here although they were another replica's, which could not be reached.
    #[serde(default)]
    pub alone: u64,
    /// Answered by the primary, by reason: `full`, `late`, `deadly`, `stopping`, `crowded`, `broken`, `tls`, `died`, `invalid-answer`, `invalid-request`,
    /// `slow`; reasons that did not occur are left out.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Connections of another protocol (WebSocket) that workers, here or of another replica, have.
    #[serde(default)]
    pub upgraded: u32,
    /// What the last seconds were like. Missing where nobody has asked within them before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
    /// How long workers had requests.
    #[serde(default)]
    pub service: Times,
    /// How long requests waited for a worker.
    #[serde(default)]
    pub wait: Times,
}

/// Requests of the last ten seconds, or of so many of them as were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// How many came in a second.
    pub per_second: f64,
    /// How long a worker had each that ended, as a mean in milliseconds. Missing where none ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_milliseconds: Option<f64>,
    /// How long each waited that was given to a worker, as a mean in milliseconds. Missing where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_milliseconds: Option<f64>,
}

impl fmt::Display for Recent {
    /// `312.4 a second, 3.1 ms each after 0.2 ms of waiting`
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:.1} a second", self.per_second)?;
        if let Some(each) = self.service_milliseconds {
            write!(to, ", {each:.1} ms each")?;
        }
        self.wait_milliseconds.map_or(Ok(()), |wait| write!(to, " after {wait:.1} ms of waiting"))
    }
}

/// How long things took, since the primary started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Times {
    /// The upper ends of the buckets in milliseconds.
    pub bounds_milliseconds: Vec<u64>,
    /// How many are in each bucket alone; the last is for what took longer than the last bound.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum_milliseconds: u64,
}
