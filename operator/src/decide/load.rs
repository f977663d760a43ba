//! How much work a replica holds, from what its primary says.

use primary_protocol::Stats;

/// The work of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// None.
    Idle,
    /// So many requests, those that wait or that another replica has for it among them, and connections of another protocol; at least one. Only a primary that takes requests itself
    /// can tell.
    Requests(u64),
    /// Some: a worker holds a connection, or one waits, and nobody knows how much comes over it.
    Connections,
    /// Not known, which counts as busy.
    Unknown,
}

// === impl Load ===

impl Load {
    /// What a primary said a moment ago.
    pub fn of(stats: Option<&Stats>) -> Self {
        let Some(stats) = stats else { return Self::Unknown };
        let depths = stats.listeners.iter().filter_map(|listener| listener.queue_depth);
        let queued = depths.map(u64::from).fold(0, u64::saturating_add);
        if let Some(requests) = &stats.requests {
            // Exact, and of this moment: what waits is in them, and the connections that are kept open between requests are not.
            let held = [requests.waiting, requests.in_flight, requests.upgraded, requests.away]
                .map(u64::from)
                .into_iter()
                .sum::<u64>();
            return match held.saturating_add(queued) {
                0 => Self::Idle,
                held => Self::Requests(held),
            };
        }
        match stats.workers.busy {
            None => Self::Unknown,
            Some(0) if queued == 0 => Self::Idle,
            Some(_) => Self::Connections,
        }
    }

    pub fn is_idle(self) -> bool {
        self == Self::Idle
    }

    /// How much there is to lose or to wait for, as far as it can be compared: what is not told in requests is more than any number of them.
    pub fn weight(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Requests(held) => held,
            Self::Connections | Self::Unknown => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A primary with `busy` workers and so many connections in its accept queue, and what it tells of requests.
    fn load(busy: Option<u32>, queued: u32, requests: Option<[u32; 3]>) -> Load {
        let requests = requests.map_or(Value::Null, |[waiting, in_flight, upgraded]| {
            json!({"waiting": waiting, "inFlight": in_flight, "upgraded": upgraded, "places": 8, "arrived": 9})
        });
        let stats = json!({
            "version": 1, "primaryVersion": "x", "uptimeMilliseconds": 1000, "state": "Serving",
            "workers": {"desired": 1, "ready": 1, "running": 1, "restarts": 0, "busy": busy},
            "deaths": {"exited": 0, "crashed": 0, "neverReady": 0, "outOfMemory": 0},
            "listeners": [{"address": "[::]:8000", "queueDepth": queued}], "requests": requests
        });
        Load::of(Some(&serde_json::from_value(stats).unwrap()))
    }

    #[test]
    fn requests_count_where_they_are_told_and_connections_only_where_they_are_not() {
        for (busy, queued, requests, expected) in [
            (None, 0, Some([0, 0, 0]), Load::Idle),
            (Some(1), 0, Some([0, 0, 0]), Load::Idle), // workers are counted once a second
            (Some(1), 0, Some([2, 3, 0]), Load::Requests(5)),
            (Some(0), 0, Some([0, 0, 4]), Load::Requests(4)),
            (Some(0), 2, Some([0, 0, 0]), Load::Requests(2)),
            (Some(0), 0, None, Load::Idle),
            (Some(0), 1, None, Load::Connections),
            (Some(2), 0, None, Load::Connections),
            (None, 0, None, Load::Unknown),
        ] {
            assert_eq!(load(busy, queued, requests), expected, "{busy:?}, {queued}, {requests:?}");
        }
        assert_eq!(Load::of(None), Load::Unknown);
    }

    #[test]
    fn less_weighs_less_and_what_cannot_be_counted_most() {
        let loads = [Load::Idle, Load::Requests(1), Load::Requests(7), Load::Connections];
        assert!(loads.is_sorted_by(|a, b| a.weight() < b.weight()));
        assert_eq!(Load::Unknown.weight(), Load::Connections.weight());
    }
}
