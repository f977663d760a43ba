//! What was read last, with its time; the adapters that turn it into what the scaling decision takes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use primary_protocol::Stats;
use tokio::time::Instant;

use super::{
    doubt::{Doubt, Trouble},
    error::{QueueError, ScrapeError},
    order::OrderError,
    rate::CpuRate,
    stats::MOST_PLACES,
    target::QueueSource,
    witness::Heard,
};
use crate::decide::autoscale::{Demand, Reading, Sample};

/// The last readings for one WorkerCluster.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// By the pod's UID; a pod that was not asked yet is not in it. Shared: with thousands of pods a copy for each look costs more than the
    /// look. The readers copy it where somebody still looks at the one before.
    pub pods: Arc<HashMap<Arc<str>, PodReading>>,
    /// By the queue; one that was not asked yet is not in it.
    pub queues: HashMap<QueueSource, QueueReading>,
}

/// What a pod's primary said.
#[derive(Clone, Debug, Default)]
pub struct PodReading {
    /// The last good document and when it came.
    pub stats: Option<(Arc<Stats>, Instant)>,
    /// Processor time, from the last good documents of one and the same primary.
    pub cpu: Option<CpuRate>,
    /// Requests at a time, as a mean between the last two good documents of one and the same primary.
    pub requests: Option<f64>,
    /// Why the last attempt failed; `None` where it did not.
    pub failure: Option<Failure>,
    /// Since when each attempt has failed; `None` where the last one did not.
    pub failing_since: Option<Instant>,
    /// Why the last order was not carried out; `None` where it was, or there was none.
    pub order: Option<OrderError>,
    doubt: Doubt,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, from a fixed list.
    pub category: &'static str,
    /// What happened and what to do, in words for the user and without figures that change by themselves.
    pub message: String,
    /// How many attempts in a row failed.
    pub attempts: u32,
}

/// What a queue's server said.
#[derive(Clone, Debug, Default)]
pub struct QueueReading {
    /// The last good length and when it came. Gone as soon as the server says that it does not know.
    pub length: Option<(QueueLength, Instant)>,
    /// Why the last attempt failed; `None` where it did not.
    pub failure: Option<Failure>,
}

/// The length of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLength {
    /// Items that nobody has taken.
    pub waiting: u64,
    /// Items that were taken and not acknowledged; 0 for a list, which does not know.
    pub in_flight: u64,
}

// === impl PodReading ===

impl PodReading {
    /// The last good document, where it is not older than this.
    #[must_use]
    pub fn recent(&self, now: Instant, max_age: Duration) -> Option<&Stats> {
        let (stats, at) = self.stats.as_ref()?;
        (now.saturating_duration_since(*at) <= max_age).then_some(stats)
    }

    /// Processor time for the scaling decision.
    #[must_use]
    pub fn sample(&self, now: Instant) -> Sample {
        match self.cpu {
            Some(rate) => Sample::Known {
                millicores: rate.millicores,
                age: now.saturating_duration_since(rate.at),
                window: rate.window,
            },
            None => Sample::Missing,
        }
    }

    /// Requests for the scaling decision.
    #[must_use]
    pub fn demand(&self, now: Instant) -> Demand {
        let told = self.stats.as_ref().and_then(|(stats, at)| Some((stats.requests.as_ref()?, at)));
        match told {
            Some((told, at)) => Demand::Known {
                requests: self
                    .requests
                    .unwrap_or_else(|| f64::from(told.waiting) + f64::from(told.in_flight))
                    .min(f64::from(MOST_PLACES)),
                serves: told.places > 0,
                places: if told.capacity > 0 { told.capacity } else { told.places },
                age: now.saturating_duration_since(*at),
            },
            None => Demand::Missing,
        }
    }

    /// What is wrong with the primary's answers, once it is so for longer than chance would have it.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.doubt.trouble()
    }

    /// Takes what came of an order.
    pub(super) fn take_order(&mut self, order: Option<Result<(), OrderError>>) {
        if let Some(order) = order {
            self.order = order.err();
        }
    }

    /// Takes what came of an attempt.
    pub(super) fn take(&mut self, heard: Result<Heard, ScrapeError>, cpu: Option<CpuRate>, now: Instant) {
        self.cpu = cpu;
        match heard {
            Ok(Heard { stats, oddity }) => {
                self.requests = self.stats.as_ref().and_then(|(before, _)| mean_requests(before, &stats));
                self.stats = Some((Arc::new(stats), now));
                (self.failure, self.failing_since) = (None, None);
                match oddity {
                    None => self.doubt.good(),
                    Some(oddity) => self.doubt.bad(oddity.category(), &oddity.to_string(), now),
                }
            }
            Err(error) => {
                let failure = Failure::next(self.failure.as_ref(), error.category(), error.to_string());
                self.doubt.bad(failure.category, &failure.message, now);
                self.failure = Some(failure);
                self.failing_since.get_or_insert(now);
            }
        }
    }
}

/// Milliseconds between two documents of which a mean is taken.
const SHORTEST_MEAN: u64 = 100;

/// How many requests there were at a time between two documents. `None` for documents of two primaries, or of one moment.
fn mean_requests(before: &Stats, after: &Stats) -> Option<f64> {
    let sum = |stats: &Stats| stats.requests.as_ref().map(|requests| requests.demand_milliseconds);
    let (time, demand) = (
        // Whole milliseconds say nothing of a shorter time.
        after.uptime_milliseconds.checked_sub(before.uptime_milliseconds).filter(|time| *time >= SHORTEST_MEAN)?,
        sum(after)?.checked_sub(sum(before)?)?,
    );
    let number = |value: u64| u32::try_from(value).map_or(f64::INFINITY, f64::from);
    Some(number(demand) / number(time)).filter(|mean| mean.is_finite())
}

// === impl QueueReading ===

impl QueueReading {
    /// The length for the scaling decision. A server that was silent just now may have spoken a moment ago: the decision looks at the
    /// age. One that said why it does not know has not.
    #[must_use]
    pub fn reading(&self, now: Instant, max_age: Duration) -> Reading {
        let age = |at: Instant| now.saturating_duration_since(at);
        match (self.length, &self.failure) {
            (Some((length, at)), None) => Reading::Known { items: length.items(), age: age(at) },
            (Some((length, at)), Some(_)) if age(at) <= max_age => {
                Reading::Known { items: length.items(), age: age(at) }
            }
            (_, Some(failure)) => Reading::Unknown { error: failure.message.clone() },
            (None, None) => Reading::Unknown { error: "it was not read yet".into() },
        }
    }

    pub(super) fn good(&mut self, length: QueueLength, now: Instant) {
        self.length = Some((length, now));
        self.failure = None;
    }

    pub(super) fn bad(&mut self, error: &QueueError) {
        if !error.is_silence() {
            self.length = None;
        }
        self.failure = Some(Failure::next(self.failure.as_ref(), error.category(), error.to_string()));
    }
}

// === impl QueueLength ===

impl QueueLength {
    /// The demand: what waits and what is in flight.
    #[must_use]
    pub fn items(self) -> u64 {
        self.waiting.saturating_add(self.in_flight)
    }
}

// === impl Failure ===

impl Failure {
    fn next(before: Option<&Self>, category: &'static str, message: String) -> Self {
        Self { category, message, attempts: before.map_or(0, |failure| failure.attempts).saturating_add(1) }
    }
}
