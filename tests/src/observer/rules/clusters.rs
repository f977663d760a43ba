//! What one `WorkerCluster` asked for in the time that is checked.

use std::time::Duration;

use crds::Amount;
use serde_json::Value;

use crate::observer::pods::text;

/// One `WorkerCluster` in the course of a history.
#[expect(clippy::struct_excessive_bools, reason = "four facts that have nothing to do with each other")]
pub struct Cluster {
    pub name: String,
    pub generation: i64,
    pub observed: i64,
    /// Replicas wanted now, and the most and the least since the history began.
    pub wanted: usize,
    most: usize,
    least: usize,
    surge: Amount,
    unavailable: Amount,
    /// What a revision is made of.
    revision: [Value; 4],
    /// The revision has changed since the history began.
    pub changed: bool,
    /// It is being deleted.
    pub ending: bool,
    /// It says that it is ready, and of the present spec.
    pub claims_ready: bool,
    /// It says that as many replicas as are wanted are there, all of the present spec.
    pub is_done: bool,
    /// How many pods were ready, and since when.
    ready: Vec<(Duration, usize)>,
}

// === impl Cluster ===

impl Cluster {
    pub fn new(object: &Value) -> Self {
        let spec = &object["spec"];
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let asked = number(&spec["replicas"]).unwrap_or(1);
        let decided = number(&object["status"]["autoscaling"]["desiredReplicas"]);
        let wanted = if spec["autoscaling"].is_null() { asked } else { decided.unwrap_or(asked) };
        let amount = |field: &str, default| serde_json::from_value(spec["rollout"][field].clone()).unwrap_or(default);
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        let observed = object["status"]["observedGeneration"].as_i64().unwrap_or(0);
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready =
            conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        Self {
            name: text(object, "/metadata/name").to_owned(),
            generation,
            observed,
            wanted,
            most: wanted,
            least: wanted,
            surge: amount("maxSurge", Amount::Percent(25)),
            unavailable: amount("maxUnavailable", Amount::Count(0)),
            revision: ["template", "workers", "http", "nodeLoss"].map(|field| spec[field].clone()),
            changed: false,
            ending: !object["metadata"]["deletionTimestamp"].is_null(),
            claims_ready: ready && observed == generation,
            is_done: observed == generation
                && ["replicas", "updatedReplicas"].iter().all(|field| number(&object["status"][field]) == Some(wanted)),
            ready: Vec::new(),
        }
    }

    /// Goes on to its next state.
    pub fn follow(&mut self, next: Self) {
        *self = Self {
            most: self.most.max(next.wanted),
            least: self.least.min(next.wanted),
            changed: self.changed || self.revision != next.revision,
            ready: std::mem::take(&mut self.ready),
            ..next
        };
    }

    /// What was wanted before does not count any more.
    pub fn rest(&mut self) {
        (self.most, self.least, self.changed) = (self.wanted, self.wanted, false);
    }

    /// The most active pods that are allowed.
    pub fn most(&self) -> usize {
        let surge = if self.changed { self.surge.of_rounded_up(self.most) } else { 0 };
        // Both amounts rounding to none count as one that may be missing; the surge is never more than was asked for.
        self.most + surge
    }

    /// The fewest pods that have to stay.
    pub fn least(&self) -> usize {
        let unavailable = if self.changed { self.unavailable.of_rounded_down(self.least) } else { 0 };
        self.least.saturating_sub(unavailable)
    }

    /// Notes how many pods are ready.
    pub fn note(&mut self, at: Duration, ready: usize) {
        if self.ready.last().is_none_or(|(_, last)| *last != ready) {
            self.ready.push((at, ready));
        }
    }

    /// The most ready pods at a time in the last `lag`.
    pub fn most_ready(&self, at: Duration, lag: Duration) -> usize {
        let from = at.saturating_sub(lag);
        let earlier = self.ready.iter().rev().find(|(since, _)| *since <= from);
        let later = self.ready.iter().filter(|(since, _)| *since > from);
        later.chain(earlier).map(|(_, ready)| *ready).max().unwrap_or(0)
    }
}
