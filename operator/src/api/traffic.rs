//! Metrics of the traffic with the API server beyond the single calls: the Lease, waiting for a turn, watches, and the queue before the
//! reconciler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Clones share all of it.
#[derive(Clone)]
pub struct Traffic {
    lease_attempts: IntCounterVec,
    waits: HistogramVec,
    reads_again: IntCounter,
    watch_ends: IntCounterVec,
    watch_lists: IntCounterVec,
    watch_heard: IntGaugeVec,
    queue: IntGauge,
}

// Most calls do not wait at all; the longest is what a burst of a few thousand creates would.
const WAITS: [f64; 8] = [0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

// === impl Traffic ===

impl Traffic {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// Where the registry has one of the same name.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let waits = HistogramVec::new(
            HistogramOpts::new(
                "workercluster_api_throttle_duration_seconds",
                "How long calls waited for a turn under the operator's own limits, by kind: reads, writes, events.",
            )
            .buckets(WAITS.to_vec()),
            &["kind"],
        )?;
        let reads_again =
            IntCounter::new("workercluster_api_reads_repeated_total", "Reads asked again on a new connection.")?;
        let watch_heard = IntGaugeVec::new(
            Opts::new(
                "workercluster_watch_last_event_timestamp_seconds",
                "When a watch last brought anything: opened, an event or a bookmark. A healthy one is opened anew every 45 s.",
            ),
            &["resource"],
        )?;
        let queue = IntGauge::new("workercluster_queue_depth", "WorkerClusters that wait for the reconciler.")?;
        registry.register(Box::new(waits.clone()))?;
        registry.register(Box::new(reads_again.clone()))?;
        registry.register(Box::new(watch_heard.clone()))?;
        registry.register(Box::new(queue.clone()))?;
        Ok(Self {
            lease_attempts: counter(
                "workercluster_lease_attempts_total",
                "Attempts to hold the lease: held, waiting for another's to run out, expired, error, timeout.",
                &["outcome"],
            )?,
            waits,
            reads_again,
            watch_ends: counter(
                "workercluster_watch_restarts_total",
                "Watches that are opened anew, by why: ended in good order, broken, dropped after silence, gone (410), refused.",
                &["resource", "reason"],
            )?,
            watch_lists: counter(
                "workercluster_watch_lists_total",
                "Times that a watch began with a whole list.",
                &["resource"],
            )?,
            watch_heard,
            queue,
        })
    }

    pub fn lease_attempt(&self, outcome: &str) {
        self.lease_attempts.with_label_values(&[outcome]).inc();
    }

    pub fn throttled(&self, kind: &str, waited: Duration) {
        self.waits.with_label_values(&[kind]).observe(waited.as_secs_f64());
    }

    pub fn read_again(&self) {
        self.reads_again.inc();
    }

    pub fn watch_ended(&self, resource: &str, reason: &str) {
        self.watch_ends.with_label_values(&[resource, reason]).inc();
    }

    pub fn watch_listed(&self, resource: &str) {
        self.watch_lists.with_label_values(&[resource]).inc();
    }

    pub fn watch_heard(&self, resource: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.watch_heard.with_label_values(&[resource]).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    pub fn queued(&self, waiting: usize) {
        self.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}
