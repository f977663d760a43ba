//! The stats as Prometheus text. Series are for slots and verdicts, so that their number does not grow with restarts.

use std::fmt::Write;
use std::time::Duration;

use primary_protocol::{Requests, Shown, SlotState, Stats, Times};

use crate::proc;
use crate::queue::Told;
use crate::remote::Refusal;

/// One page of metrics under construction.
#[derive(Default)]
struct Page(String);

/// The whole page.
pub fn text(shown: &Shown) -> String {
    let stats = &shown.stats;
    let mut page = Page::default();
    let workers = &stats.workers;
    page.family("info", "gauge", "Version of the primary; always 1.");
    page.sample("info", &format!("version={}", quoted(&stats.primary_version)), 1);
    page.family("uptime_seconds", "gauge", "Seconds since the primary started.");
    page.ratio("uptime_seconds", "", stats.uptime_milliseconds, 1000.0);
    page.family("workers", "gauge", "Workers: desired, ready, running, and busy (holding a connection).");
    page.sample("workers", "state=\"desired\"", workers.desired.into());
    page.sample("workers", "state=\"ready\"", workers.ready.into());
    page.sample("workers", "state=\"running\"", workers.running.into());
    if let Some(busy) = workers.busy {
        page.sample("workers", "state=\"busy\"", busy.into());
    }
    page.family("worker_ready", "gauge", "Whether the worker in a slot is ready.");
    for slot in &stats.slots {
        page.sample("worker_ready", &slot_label(slot.slot), u64::from(slot.state == SlotState::Ready));
    }
    page.family("worker_restarts_total", "counter", "Workers forked in a slot after the first.");
    for slot in &stats.slots {
        page.sample("worker_restarts_total", &slot_label(slot.slot), slot.restarts);
    }
    page.family("worker_deaths_total", "counter", "Ends of workers that the primary had not asked for, by verdict.");
    let deaths = &stats.deaths;
    for (verdict, number) in [
        ("exited", deaths.exited),
        ("crashed", deaths.crashed),
        ("never_ready", deaths.never_ready),
        ("out_of_memory", deaths.out_of_memory),
    ] {
        page.sample("worker_deaths_total", &format!("verdict=\"{verdict}\""), number);
    }
    page.family("worker_replacements_total", "counter", "Workers replaced although they had not died, by reason.");
    let replaced = &stats.replaced;
    for (reason, number) in [
        ("reload", replaced.reloaded),
        ("over_memory", replaced.over_memory),
        ("over_age", replaced.over_age),
        ("over_requests", replaced.over_requests),
        ("hung", replaced.hung),
    ] {
        page.sample("worker_replacements_total", &format!("reason=\"{reason}\""), number);
    }
    page.family(
        "worker_memory_bytes",
        "gauge",
        "Memory of the worker in a slot: PSS, each page divided among those who share it.",
    );
    for (slot, memory) in stats.slots.iter().filter_map(|slot| Some((slot.slot, slot.usage.memory_bytes?))) {
        page.sample("worker_memory_bytes", &slot_label(slot), memory);
    }
    page.family("worker_cpu_cores", "gauge", "Processors that the worker in a slot used between the last two looks.");
    for (slot, percent) in stats.slots.iter().filter_map(|slot| Some((slot.slot, slot.usage.cpu_percent?))) {
        let _ = writeln!(page.0, "workercluster_primary_worker_cpu_cores{{{}}} {}", slot_label(slot), percent / 100.0);
    }
    page.family("worker_connections", "gauge", "Connections that the worker in a slot holds.");
    for (slot, connections) in stats.slots.iter().filter_map(|slot| Some((slot.slot, slot.usage.connections?))) {
        page.sample("worker_connections", &slot_label(slot), connections.into());
    }
    page.family("listener_queue_depth", "gauge", "Connections that no worker has accepted yet.");
    for listener in &stats.listeners {
        if let Some(depth) = listener.queue_depth {
            page.sample("listener_queue_depth", &address_label(&listener.address), depth.into());
        }
    }
    page.family("listener_backlog", "gauge", "Connections that may wait to be accepted.");
    for listener in &stats.listeners {
        if let Some(backlog) = listener.backlog {
            page.sample("listener_backlog", &address_label(&listener.address), backlog.into());
        }
    }
    if let Some(requests) = &stats.requests {
        page.requests(requests);
    }
    page.family("orders_total", "counter", "Orders over the network that were carried out.");
    page.sample("orders_total", "", stats.orders.taken);
    page.family("orders_refused_total", "counter", "Orders over the network that were refused, by reason.");
    for (_, reason) in Refusal::ALL {
        let count = stats.orders.refused.get(reason).copied().unwrap_or_default();
        page.sample("orders_refused_total", &format!("reason=\"{reason}\""), count);
    }
    page.container(stats);
    page.family("warning", "gauge", "1 for each warning that holds; the words are in /v1/stats.");
    for warning in &stats.warnings {
        page.sample("warning", &format!("reason=\"{:?}\"", warning.reason), 1);
    }
    if let Some(bytes) = proc::own_memory() {
        page.family("resident_memory_bytes", "gauge", "Resident memory of the primary itself, without workers.");
        page.sample("resident_memory_bytes", "", bytes);
    }
    page.0
}

impl Page {
    fn requests(&mut self, requests: &Requests) {
        self.family("requests", "gauge", "Requests: waiting for a worker, with one, or of another protocol by now.");
        self.sample("requests", "state=\"waiting\"", requests.waiting.into());
        self.sample("requests", "state=\"in_flight\"", requests.in_flight.into());
        self.sample("requests", "state=\"upgraded\"", requests.upgraded.into());
        self.family("request_places", "gauge", "Requests that ready workers may have at a time.");
        self.sample("request_places", "", requests.places.into());
        self.family("requests_oldest_seconds", "gauge", "For how long the request has waited that has waited longest.");
        self.ratio("requests_oldest_seconds", "", requests.oldest_milliseconds.unwrap_or_default(), 1000.0);
        self.family("requests_total", "counter", "Requests that came.");
        self.sample("requests_total", "", requests.arrived);
        for (name, help, count) in [
            (
                "requests_returned_total",
                "Requests given to another worker because the first one died.",
                requests.returned,
            ),
            ("requests_left_total", "Requests whose client left while they waited.", requests.left),
            (
                "requests_cut_total",
                "Requests whose worker died when the client had a part of the answer.",
                requests.cut,
            ),
            (
                "requests_roamed_total",
                "Requests given to other replicas, since no worker was free here.",
                requests.roamed,
            ),
            (
                "requests_merged_total",
                "Requests answered with the answer to another one that was the same.",
                requests.merged,
            ),
            (
                "requests_alone_total",
                "Requests that were another replica's, which could not be reached.",
                requests.alone,
            ),
        ] {
            self.family(name, "counter", help);
            self.sample(name, "", count);
        }
        self.family(
            "requests_refused_total",
            "counter",
            "Requests that the primary answered itself, with 400, 408, 502, 503 and their like, by reason.",
        );
        for (reason, _) in Told::default().by_reason() {
            let count = requests.refused.get(reason).copied().unwrap_or_default();
            self.sample("requests_refused_total", &format!("reason=\"{reason}\""), count);
        }
        self.histogram("request_seconds", "For how long workers had requests.", &requests.service);
        self.histogram("request_wait_seconds", "For how long requests waited for a worker.", &requests.wait);
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Times) {
        self.family(name, "histogram", help);
        let mut sum = 0_u64;
        let bounds =
            times.bounds_milliseconds.iter().map(|bound| Duration::from_millis(*bound).as_secs_f64().to_string());
        for (bound, count) in bounds.chain(["+Inf".to_string()]).zip(&times.counts) {
            sum = sum.saturating_add(*count);
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), sum);
        }
        self.ratio(&format!("{name}_sum"), "", times.sum_milliseconds, 1000.0);
        self.sample(&format!("{name}_count"), "", sum);
    }

    fn container(&mut self, stats: &Stats) {
        if let Some(cpu) = &stats.cpu {
            self.family("container_cpu_seconds_total", "counter", "Processor time of the container.");
            self.ratio("container_cpu_seconds_total", "", cpu.usage_microseconds, 1e6);
            if let Some(limit) = cpu.limit_millicores {
                self.family("container_cpu_limit_cores", "gauge", "Processors that the container may use.");
                self.ratio("container_cpu_limit_cores", "", limit, 1000.0);
            }
        }
        if let Some(memory) = &stats.memory {
            self.family("container_memory_bytes", "gauge", "Memory of the container, as the kernel accounts it.");
            self.sample("container_memory_bytes", "", memory.usage_bytes);
            if let Some(limit) = memory.limit_bytes {
                self.family("container_memory_limit_bytes", "gauge", "Memory that the container may use.");
                self.sample("container_memory_limit_bytes", "", limit);
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            writeln!(self.0, "# HELP workercluster_primary_{name} {help}\n# TYPE workercluster_primary_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "workercluster_primary_{name}{} {value}", braced(labels));
    }

    fn ratio(&mut self, name: &str, labels: &str, value: u64, unit: f64) {
        #[allow(clippy::cast_precision_loss)] // exact up to 2^53 microseconds: 285 years
        let value = value as f64 / unit;
        let _ = writeln!(self.0, "workercluster_primary_{name}{} {value}", braced(labels));
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn slot_label(slot: u32) -> String {
    format!("slot=\"{slot}\"")
}

fn address_label(address: &str) -> String {
    format!("address={}", quoted(address))
}

/// A label's value with the escapes of the text format.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
