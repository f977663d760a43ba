//! Requests that replicas have or that wait in them, by Little's law: as many replicas as the places that they need at the target. Two windows, as
//! Knative's autoscaler has them: a stable one, and a short one that counts alone while it asks for twice as many as there are.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::{
    cpu::within_tolerance,
    history::Demands,
    input::{Demand, Phase, Pod, ReadyStatus},
};

/// Demand is a mean over this time (Knative's `stable-window`).
pub(super) const STABLE: Duration = Duration::from_secs(60);

/// And over this one where it rises suddenly (Knative's `panic-window-percentage`: a tenth).
pub(super) const PANIC: Duration = Duration::from_secs(6);

/// The short window alone counts from when it asks for so many times as many replicas as are ready (Knative's `panic-threshold-percentage`: 200).
const THRESHOLD: f64 = 2.0;

/// What all replicas have together at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Total {
    /// Requests that wait or are in flight, in all replicas, also those that are to leave: what they have comes back to the others.
    pub requests: f64,
    /// Those of the replicas whose places count.
    pub told: f64,
    /// Requests that one replica may have at a time: as many as the middle one of those that are ready. All of a revision have about as many, and one that
    /// claims a thousand times as many takes nobody away.
    pub places: f64,
    /// Replicas that are ready.
    pub ready: usize,
    /// Replicas that are ready and of which nothing is known: what they have comes on top.
    pub silent: usize,
    /// None is ready, and this is of those that could serve: under more load than they have room for, probes fail as well.
    pub none_ready: bool,
    /// Age of the oldest sample in it.
    pub age: Duration,
}

impl Total {
    /// With those of whom nothing is known counted as one of the others each: left out, the mean would ask for too few as soon as they are known again.
    pub(super) fn with_silent(&self) -> f64 {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let tell = count(self.ready.saturating_sub(self.silent)).max(1.0);
        self.requests + self.told / tell * count(self.silent)
    }
}

/// What requests ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub replicas: i32,
    /// Requests at a time, as a mean over the window that counted.
    pub requests: f64,
    /// Requests that one replica may have at a time.
    pub places: f64,
    /// The short window counted alone.
    pub panic: bool,
    /// Replicas that are ready and of which nothing is known.
    pub silent: usize,
    /// No replica is ready.
    pub none_ready: bool,
    pub age: Duration,
}

/// Reason of a condition or an event where requests are not known.
pub(super) const UNKNOWN: &str = "RequestsUnknown";

/// Why requests ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum RequestsError {
    #[error("no replica is ready yet")]
    NotReady,
    #[error("the replicas that are ready have just become so, and have not been asked yet")]
    Unasked,
    #[error("no worker is ready in any replica that is")]
    NotServing,
    #[error("no replica that is ready tells its requests{}", why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Silent { why: Option<String> },
}

/// What is known of all pods at this moment. One that has just become ready and has not been asked yet is neither silent nor idle: it is not counted.
pub(super) fn total(pods: &[Pod], max_age: Duration, wall: Timestamp) -> Result<Total, RequestsError> {
    let (mut requests, mut silent, mut unasked) = (0.0, 0, false);
    // Places and age of those that serve.
    let (mut ready, mut others) = (Vec::new(), Vec::new());
    let (mut why, mut idle) = (None, false);
    for pod in pods.iter().filter(|pod| pod.phase == Phase::Running) {
        let is_ready = !pod.deleting && pod.ready.is_some_and(|ready| ready.status == ReadyStatus::True);
        match pod.requests {
            Demand::Known { requests: own, places: room, serves, age } if age <= max_age => {
                requests += own;
                let serves = serves && room > 0;
                idle |= is_ready && !serves;
                if serves && !pod.deleting {
                    if is_ready { &mut ready } else { &mut others }.push((room, age, own));
                }
            }
            Demand::Missing if is_ready && is_new(pod, max_age, wall) => unasked = true,
            _ if is_ready => {
                silent += 1;
                why = why.or_else(|| Some(format!("pod {}: {}", pod.name, pod.trouble.as_ref()?)));
            }
            _ => {}
        }
    }
    let none_ready = ready.is_empty() && silent == 0 && !idle && !unasked;
    let mut tells = if none_ready { others } else { ready };
    tells.sort_unstable_by_key(|(room, ..)| *room);
    let Some((places, ..)) = tells.get(tells.len().saturating_sub(1) / 2).copied() else {
        return Err(match (silent, idle) {
            (0, false) if unasked => RequestsError::Unasked,
            (0, false) => RequestsError::NotReady,
            (0, true) => RequestsError::NotServing,
            _ => RequestsError::Silent { why },
        });
    };
    let age = tells.iter().map(|(_, age, _)| *age).max().unwrap_or_default();
    let told = tells.iter().map(|(.., own)| own).sum();
    Ok(Total { requests, told, places: f64::from(places), ready: tells.len() + silent, silent, none_ready, age })
}

/// Ready for less than an answer of its may be old. By a clock that is ahead of ours it is not.
fn is_new(pod: &Pod, max_age: Duration, wall: Timestamp) -> bool {
    let since = pod.ready.map(|ready| wall.duration_since(ready.last_transition));
    since.and_then(|since| Duration::try_from(since).ok()).is_some_and(|since| since < max_age)
}

/// A mean is a thousandth of a replica off, by the times at which it is taken: no replica more for that. Some requests are at least one replica's.
fn rounded_up(replicas: f64) -> i32 {
    saturate(if replicas > 0.0 { (replicas - 1e-3).ceil().max(1.0) } else { 0.0 })
}

/// The number of replicas whose places are used to `target` percent.
pub(super) fn recommend(current: i32, target: i32, total: Total, demands: &Demands, now: Duration) -> Figure {
    // Rounded up last: with one replica a little more than it has places for is no surge.
    let exact = |requests: f64| requests / (total.places * f64::from(target.max(1)) / 100.0);
    let (stable, looked_back) = demands.mean(now, STABLE).unwrap_or((total.requests, Duration::ZERO));
    let (sudden, known) = demands.mean(now, PANIC).unwrap_or((total.requests, Duration::ZERO));
    let ready = f64::from(u32::try_from(total.ready).unwrap_or(u32::MAX));
    // A mean over a moment moves nothing up.
    let is_mean = known >= PANIC / 2;
    let panic = exact(sudden) >= THRESHOLD * ready && is_mean;
    let suits = |requests: f64| within_tolerance(exact(requests) / f64::from(current.max(1)));
    let (replicas, requests) = if panic {
        (if suits(sudden) { current } else { rounded_up(exact(sudden)).max(current) }, sudden)
    } else if suits(stable) {
        (current, stable)
    } else {
        let wanted = rounded_up(exact(stable));
        // After a surge the long mean still has the calm before it, and one that has hardly begun is that of a moment: they take nothing away.
        let holds = demands.surged_within(now, STABLE) || looked_back < STABLE / 2;
        let least = if holds { current } else { 0 };
        (if is_mean { wanted } else { wanted.min(current) }.max(least), stable)
    };
    let Total { places, silent, none_ready, age, .. } = total;
    Figure { replicas, requests, places, panic, silent, none_ready, age }
}

#[allow(clippy::cast_possible_truncation)] // saturates, and turns what is not a number into 0
fn saturate(value: f64) -> i32 {
    value as i32
}
