//! Prometheus metrics of the operator. No object's name is a label: series do not grow with the cluster.

use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::{api::Traffic, decide::nodes::Census};

/// All metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Of the traffic with the API server beyond single calls.
    pub traffic: Traffic,
    api_calls: IntCounterVec,
    api_seconds: HistogramVec,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    reconcile_busy_seconds: HistogramVec,
    pods_created: IntCounterVec,
    pods_deleted: IntCounterVec,
    scalings: IntCounterVec,
    memory_kills: IntCounter,
    leading: IntGauge,
    nodes: IntGaugeVec,
    breaker_open: IntGauge,
    clusters: IntGauge,
}

// From a fast answer of the API server to its deadline.
const SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
// Fine around the 100 ms that 99 of 100 reconciles have to keep to.
const RECONCILE_SECONDS: &[f64] =
    &[0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0, 3.0, 10.0, 30.0];

// === impl Metrics ===

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// # Errors
    /// Where two have the same name, which the first start would show.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let histogram = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let nodes = IntGaugeVec::new(
            Opts::new(
                "workercluster_nodes",
                "Nodes as the breaker sees them; uncounted are those that are cordoned, set apart or not joined yet.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(nodes.clone()))?;
        let memory_kills = IntCounter::new(
            "workercluster_memory_kills_total",
            "Worker containers that the kernel killed for memory, their primaries with them.",
        )?;
        registry.register(Box::new(memory_kills.clone()))?;
        Ok(Self {
            memory_kills,
            traffic: Traffic::register(&registry)?,
            nodes,
            breaker_open: gauge(
                "workercluster_breaker_open",
                "1 while removals are held back because most nodes are lost.",
            )?,
            api_calls: counter(
                "workercluster_api_calls_total",
                "Calls to the API server.",
                &["verb", "resource", "outcome"],
            )?,
            api_seconds: histogram(
                "workercluster_api_call_duration_seconds",
                "Duration of calls to the API server.",
                SECONDS,
                &["verb", "resource"],
            )?,
            reconciles: counter("workercluster_reconciles_total", "Reconciles by outcome.", &["outcome"])?,
            reconcile_seconds: histogram(
                "workercluster_reconcile_duration_seconds",
                "Duration of reconciles, with all that they wait for.",
                RECONCILE_SECONDS,
                &[],
            )?,
            reconcile_busy_seconds: histogram(
                "workercluster_reconcile_busy_duration_seconds",
                "Processor time of reconciles: without what they wait for, the API server or their turn.",
                RECONCILE_SECONDS,
                &[],
            )?,
            pods_created: counter(
                "workercluster_pods_created_total",
                "Pods created, or rejected at creation.",
                &["outcome"],
            )?,
            pods_deleted: counter("workercluster_pods_deleted_total", "Pods deleted by reason.", &["reason"])?,
            scalings: counter(
                "workercluster_scalings_total",
                "Changes of a decided number of replicas.",
                &["direction", "reason"],
            )?,
            leading: gauge("workercluster_leading", "1 while this operator holds the lease.")?,
            clusters: gauge("workercluster_clusters", "WorkerClusters that are watched.")?,
            registry,
        })
    }

    /// For what others register.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn api_call(&self, verb: &str, resource: &str, outcome: &str, took: Duration) {
        self.api_calls.with_label_values(&[verb, resource, outcome]).inc();
        self.api_seconds.with_label_values(&[verb, resource]).observe(took.as_secs_f64());
    }

    /// A reconcile ended: how long it took, and for how long of that it was busy.
    pub fn reconcile(&self, outcome: &str, took: Duration, busy: Duration) {
        self.reconciles.with_label_values(&[outcome]).inc();
        self.reconcile_seconds.with_label_values(&[] as &[&str]).observe(took.as_secs_f64());
        self.reconcile_busy_seconds.with_label_values(&[] as &[&str]).observe(busy.as_secs_f64());
    }

    pub fn pod_created(&self, outcome: &str) {
        self.pods_created.with_label_values(&[outcome]).inc();
    }

    pub fn pod_deleted(&self, reason: &str) {
        self.pods_deleted.with_label_values(&[reason]).inc();
    }

    pub fn scaled(&self, up: bool, reason: &str) {
        self.scalings.with_label_values(&[if up { "up" } else { "down" }, reason]).inc();
    }

    pub fn killed_for_memory(&self, containers: u64) {
        self.memory_kills.inc_by(containers);
    }

    pub fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    pub fn clusters(&self, count: usize) {
        self.clusters.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn nodes(&self, census: &Census, open: bool) {
        for (state, count) in [
            ("ready", census.ready),
            ("not_ready", census.not_ready),
            ("unknown", census.unknown),
            ("uncounted", census.uncounted),
        ] {
            self.nodes.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.breaker_open.set(i64::from(open));
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::signal::Counters;

    const DASHBOARD: &str = include_str!("../../charts/workercluster-operator/files/dashboard.json");
    /// The page that the primary serves, as it is written: this program does not contain the primary.
    const PRIMARY: &str = include_str!("../../worker-image/src/admin/metrics.rs");

    /// Names of the metrics in a text, as in a query or a page.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':')
            .filter(|word| word.starts_with("workercluster_"))
    }

    /// All queries of the dashboard.
    fn queries(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field {
                        Value::String(query) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                            found.push(query.clone());
                        }
                        _ => queries(field, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
            _ => {}
        }
    }

    /// What the operator serves when each of its metrics has a series: a vector without any is not on the page.
    fn served_by_the_operator() -> BTreeSet<String> {
        let metrics = Metrics::new().unwrap();
        Counters::register(metrics.registry()).unwrap();
        metrics.api_call("get", "pods", "ok", Duration::ZERO);
        metrics.reconcile("ok", Duration::ZERO, Duration::ZERO);
        metrics.pod_created("ok");
        metrics.pod_deleted("ScaledDown");
        metrics.scaled(true, "x");
        metrics.nodes(&Census::default(), false);
        let text = String::from_utf8(metrics.text()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).flat_map(names).map(ToOwned::to_owned).collect()
    }

    fn served_by_the_primary() -> BTreeSet<String> {
        // The name of a family is a text of its own, whatever it is given to.
        let is_name =
            |text: &&str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        let names = PRIMARY.split('"').skip(1).step_by(2).filter(is_name);
        let series = |name: &str| ["", "_bucket"].map(|part| format!("workercluster_primary_{name}{part}"));
        names.flat_map(series).collect()
    }

    #[test]
    fn every_metric_that_the_dashboard_asks_for_is_served_by_operator_or_primary() {
        let mut all = Vec::new();
        queries(&serde_json::from_str(DASHBOARD).unwrap(), &mut all);
        let asked: BTreeSet<&str> = all.iter().flat_map(|query| names(query)).collect();
        let (ours, theirs) = (served_by_the_operator(), served_by_the_primary());
        let unknown: Vec<_> = asked.iter().filter(|name| !ours.contains(**name) && !theirs.contains(**name)).collect();
        assert!(unknown.is_empty(), "nobody serves {unknown:?}");
        let of_the_primary = asked.iter().filter(|name| theirs.contains(**name)).count();
        assert!(of_the_primary >= 10 && asked.len() - of_the_primary >= 5, "only these were found: {asked:?}");
    }
}
