//! Metrics of the reading itself. Labels are from fixed lists; no object's name is one.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::{
    error::{QueueError, ScrapeError},
    order::OrderError,
};

/// Result label of what went well.
const OK: &str = "ok";

/// Counters of the reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counters {
    scrapes: IntCounterVec,
    scrape_seconds: Histogram,
    orders: IntCounterVec,
    targets: IntGauge,
    interval_seconds: IntGauge,
    reads: IntCounterVec,
    read_seconds: Histogram,
    servers: IntGauge,
}

// === impl Counters ===

impl Counters {
    /// Makes them and registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = Self {
            scrapes: IntCounterVec::new(
                Opts::new("workercluster_scrapes_total", "Stats of primaries asked for, by result."),
                &["result"],
            )?,
            scrape_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "workercluster_scrape_duration_seconds",
                    "Time until a primary's answer, or its failure.",
                )
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0]),
            )?,
            orders: IntCounterVec::new(
                Opts::new("workercluster_orders_total", "Orders given to primaries, by result."),
                &["result"],
            )?,
            targets: IntGauge::new("workercluster_scrape_targets", "Pods whose primaries are asked.")?,
            interval_seconds: IntGauge::new(
                "workercluster_scrape_interval_seconds",
                "Time between two scrapes of a pod.",
            )?,
            reads: IntCounterVec::new(
                Opts::new("workercluster_queue_reads_total", "Lengths of queues asked for, by result."),
                &["result"],
            )?,
            read_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "workercluster_queue_read_duration_seconds",
                    "Time until a queue server's answer to all questions of a tick, or its failure.",
                )
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]),
            )?,
            servers: IntGauge::new("workercluster_queue_servers", "Queue servers and databases that are read.")?,
        };
        registry.register(Box::new(counters.scrapes.clone()))?;
        registry.register(Box::new(counters.scrape_seconds.clone()))?;
        registry.register(Box::new(counters.orders.clone()))?;
        registry.register(Box::new(counters.targets.clone()))?;
        registry.register(Box::new(counters.interval_seconds.clone()))?;
        registry.register(Box::new(counters.reads.clone()))?;
        registry.register(Box::new(counters.read_seconds.clone()))?;
        registry.register(Box::new(counters.servers.clone()))?;
        // Every series from the start, so that a rate over the first failure is one.
        for result in ScrapeError::CATEGORIES.into_iter().chain([OK]) {
            counters.scrapes.with_label_values(&[result]);
        }
        for result in OrderError::CATEGORIES.into_iter().chain([OK]) {
            counters.orders.with_label_values(&[result]);
        }
        for result in QueueError::CATEGORIES.into_iter().chain([OK]) {
            counters.reads.with_label_values(&[result]);
        }
        Ok(counters)
    }

    pub(super) fn scraped(&self, error: Option<&ScrapeError>, took: Duration) {
        self.scrapes.with_label_values(&[error.map_or(OK, ScrapeError::category)]).inc();
        self.scrape_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn ordered(&self, error: Option<&OrderError>) {
        self.orders.with_label_values(&[error.map_or(OK, OrderError::category)]).inc();
    }

    pub(super) fn read(&self, error: Option<&QueueError>) {
        self.reads.with_label_values(&[error.map_or(OK, QueueError::category)]).inc();
    }

    pub(super) fn read_took(&self, took: Duration) {
        self.read_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn round(&self, targets: usize, interval: Duration) {
        self.targets.set(i64::try_from(targets).unwrap_or(i64::MAX));
        self.interval_seconds.set(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn servers(&self, servers: usize) {
        self.servers.set(i64::try_from(servers).unwrap_or(i64::MAX));
    }

    /// Scrapes with this result until now.
    #[cfg(test)]
    pub(super) fn scrapes_with(&self, result: &str) -> u64 {
        self.scrapes.with_label_values(&[result]).get()
    }
}
