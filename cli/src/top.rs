//! One line for each worker of all replicas, from what their primaries say: pure.

use std::{cmp::Reverse, fmt::Write};

use clap::ValueEnum;
use crds::names;
use primary_protocol::{Answering, Recent, Requests, Shown, ShownWorker, SlotState};
use serde::Serialize;

use crate::{
    age::span,
    cluster::Cluster,
    style::{Style, Tone, harmless},
    table::{Cell, cell, table},
};

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By pod, then by slot
    #[default]
    Pod,
    /// Who uses the processor most
    Cpu,
    /// Who has the most memory
    Memory,
    /// Whose slot was restarted most often
    Restarts,
}

/// What one pod's primary said, or why nothing is known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    pub pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Shown>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One worker, or a slot without one.
struct Row {
    pod: String,
    slot: u32,
    cpu: Option<f64>,
    memory: Option<u64>,
    restarts: u64,
    cells: Vec<Cell>,
}

/// The last three only where a primary gives out requests.
const COLUMNS: [&str; 12] =
    ["POD", "SLOT", "PID", "STATE", "AGE", "CPU", "MEMORY", "CONN", "RESTARTS", "REQ", "IDLE", "SERVED"];

/// The whole picture, at most `height` lines where there is a limit.
pub fn screen(cluster: &Cluster, replicas: &[Replica], order: Order, height: Option<usize>, style: Style) -> String {
    let mut text = head(cluster, replicas, style);
    let mut rows: Vec<Row> = replicas.iter().flat_map(|replica| rows(cluster, replica)).collect();
    rows.sort_by(|a, b| (&a.pod, a.slot).cmp(&(&b.pod, b.slot)));
    match order {
        Order::Pod => {}
        Order::Cpu => rows.sort_by(|a, b| b.cpu.unwrap_or(-1.0).total_cmp(&a.cpu.unwrap_or(-1.0))),
        Order::Memory => rows.sort_by_key(|row| Reverse(row.memory)),
        Order::Restarts => rows.sort_by_key(|row| Reverse(row.restarts)),
    }
    let notes = notes(cluster, replicas, style);
    let taken = text.lines().count() + notes.lines().count() + 3;
    let shown = height.map_or(rows.len(), |height| height.saturating_sub(taken).min(rows.len()));
    let hidden = rows.len() - shown;
    let cells: Vec<Vec<Cell>> = rows.into_iter().take(shown).map(|row| row.cells).collect();
    text.push('\n');
    let answers =
        replicas.iter().any(|replica| replica.told.as_ref().is_some_and(|told| told.stats.requests.is_some()));
    let columns = if answers { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 3] };
    let cells: Vec<Vec<Cell>> = cells.into_iter().map(|row| row.into_iter().take(columns.len()).collect()).collect();
    text.push_str(&table(style, 0, columns, &cells));
    if hidden > 0 {
        let _ = writeln!(text, "… and {hidden} more workers; --sort-by chooses who is shown");
    }
    text + &notes
}

fn head(cluster: &Cluster, replicas: &[Replica], style: Style) -> String {
    let told = || replicas.iter().filter_map(|replica| replica.told.as_deref());
    let sum = |of: fn(&Shown) -> u64| told().map(of).fold(0, u64::saturating_add);
    let (ready, desired) = (sum(|one| one.stats.workers.ready.into()), sum(|one| one.stats.workers.desired.into()));
    let busy: Option<u64> = told().map(|one| one.stats.workers.busy.map(u64::from)).sum();
    let waiting =
        sum(|one| one.stats.listeners.iter().filter_map(|listener| listener.queue_depth).map(u64::from).sum());
    let memory = sum(|one| one.stats.memory.map_or(0, |memory| memory.usage_bytes));
    let asked = |of: fn(&Requests) -> u32| sum_of(told().filter_map(|one| one.stats.requests.as_ref()).map(of));
    let requests = match (asked(|requests| requests.waiting), asked(|requests| requests.in_flight)) {
        (Some(waiting), Some(in_flight)) => {
            format!(", {waiting} requests wait, {in_flight} in flight{}", pace(replicas))
        }
        _ => String::new(),
    };
    let busy = busy.map(|busy| format!(", {busy} busy")).unwrap_or_default();
    let tone = if ready == desired { Tone::Good } else { Tone::Warn };
    format!(
        "{}: {} of {} replicas answer, {}{busy}, {waiting} connections wait{requests}, {} restarts, {}\n",
        style.paint(Tone::Bold, &harmless(&cluster.name)),
        told().count(),
        replicas.len(),
        style.paint(tone, &format!("{ready} of {desired} workers ready")),
        sum(|one| one.stats.workers.restarts),
        bytes(memory),
    )
}

/// How many requests came to all of them in a second, and how long each took, where that was looked at.
fn pace(replicas: &[Replica]) -> String {
    let told = replicas.iter().filter_map(|replica| replica.told.as_ref()?.stats.requests.as_ref()?.recent);
    let told: Vec<Recent> = told.collect();
    // Each replica counts by how much comes to it, and not at all where nothing ended there.
    let mean = |of: fn(&Recent) -> Option<f64>| {
        let known = || told.iter().filter_map(|recent| Some((recent.per_second, of(recent)?)));
        let weight: f64 = known().map(|(weight, _)| weight).sum();
        (weight > 0.0).then(|| known().map(|(weight, value)| weight * value).sum::<f64>() / weight)
    };
    let per_second: f64 = told.iter().map(|recent| recent.per_second).sum();
    if per_second <= 0.0 {
        return String::new();
    }
    let (service, wait) = (mean(|recent| recent.service_milliseconds), mean(|recent| recent.wait_milliseconds));
    format!(" ({})", Recent { per_second, service_milliseconds: service, wait_milliseconds: wait })
}

/// `None` where there are none to be summed.
fn sum_of(numbers: impl Iterator<Item = u32>) -> Option<u64> {
    numbers.fold(None, |sum: Option<u64>, number| Some(sum.unwrap_or(0).saturating_add(number.into())))
}

fn rows(cluster: &Cluster, replica: &Replica) -> Vec<Row> {
    let Some(told) = &replica.told else { return Vec::new() };
    let pod = short(cluster, &replica.pod);
    let mut rows = Vec::new();
    for slot in &told.stats.slots {
        let here: Vec<&ShownWorker> = told.processes.iter().filter(|worker| worker.slot == slot.slot).collect();
        for worker in &here {
            rows.push(Row {
                pod: pod.clone(),
                slot: slot.slot,
                cpu: worker.usage.cpu_percent,
                memory: worker.usage.memory_bytes,
                restarts: slot.restarts,
                cells: vec![
                    cell(&pod),
                    cell(slot.slot),
                    cell(worker.pid),
                    Cell(worker.state.clone(), tone(&worker.state)),
                    cell(span(i64::try_from(worker.age_milliseconds / 1000).unwrap_or(i64::MAX))),
                    cell(worker.usage.cpu_percent.map_or_else(dash, |percent| format!("{percent:.0}%"))),
                    cell(worker.usage.memory_bytes.map_or_else(dash, bytes)),
                    cell(worker.usage.connections.map_or_else(dash, |count| count.to_string())),
                    cell(slot.restarts),
                ]
                .into_iter()
                .chain(answering(worker.usage.requests))
                .collect(),
            });
        }
        if here.is_empty() {
            let exit = slot.last_exit.as_ref().map(|exit| format!(", the last ended with {exit}")).unwrap_or_default();
            let state = match (slot.state, slot.retry_milliseconds) {
                (SlotState::BackOff, Some(wait)) => format!("next fork in {}{exit}", seconds(wait)),
                (SlotState::Stopped, _) => format!("drained{exit}"),
                (state, _) => format!("{state:?}{exit}"),
            };
            rows.push(Row {
                pod: pod.clone(),
                slot: slot.slot,
                cpu: None,
                memory: None,
                restarts: slot.restarts,
                cells: vec![
                    cell(&pod),
                    cell(slot.slot),
                    cell("-"),
                    Cell(state, Tone::Bad),
                    cell(""),
                    cell(""),
                    cell(""),
                    cell(""),
                    cell(slot.restarts),
                    cell(""),
                    cell(""),
                    cell(""),
                ],
            });
        }
    }
    rows
}

/// What a worker has of the requests that its primary gives out.
fn answering(own: Option<Answering>) -> [Cell; 3] {
    let Some(own) = own else { return [cell("-"), cell("-"), cell("-")] };
    let idle = own.idle_milliseconds.map_or_else(dash, |idle| span(i64::try_from(idle / 1000).unwrap_or(i64::MAX)));
    [cell(own.in_flight), cell(idle), cell(own.served)]
}

/// What a user should know and can act upon, below the table.
fn notes(cluster: &Cluster, replicas: &[Replica], style: Style) -> String {
    let mut text = String::new();
    for replica in replicas {
        let pod = short(cluster, &replica.pod);
        if let Some(error) = &replica.error {
            let _ = writeln!(text, "{}", style.paint(Tone::Warn, &harmless(&format!("{pod}: {error}"))));
        }
        let Some(told) = &replica.told else { continue };
        if told.stats.drained {
            let _ = writeln!(text, "{pod}: drained by order");
        }
        for warning in &told.stats.warnings {
            let words = harmless(&format!("{pod}: {:?}: {}", warning.reason, warning.message));
            let _ = writeln!(text, "{}", style.paint(Tone::Bad, &words));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn tone(state: &str) -> Tone {
    match state {
        "ready" => Tone::Good,
        "starting" | "successor" => Tone::Warn,
        _ => Tone::Dim,
    }
}

fn dash() -> String {
    "-".into()
}

/// The pod's own part of its name.
fn short(cluster: &Cluster, pod: &str) -> String {
    pod.strip_prefix(&cluster.name).and_then(|rest| rest.strip_prefix('-')).unwrap_or(pod).to_owned()
}

fn seconds(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds}ms")
    } else {
        span(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))
    }
}

/// `41Mi`, as Kubernetes writes sizes.
fn bytes(bytes: u64) -> String {
    for (unit, name) in [(1_u64 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")] {
        if bytes >= unit {
            let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
            return if whole < 10 { format!("{whole}.{tenth}{name}") } else { format!("{whole}{name}") };
        }
    }
    bytes.to_string()
}

/// Whether a pod has a primary that can be asked.
pub fn has_primary(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let status = pod.status.as_ref();
    let running = status.and_then(|status| status.phase.as_deref()) == Some("Running");
    let labelled = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(names::LABEL_REVISION));
    running && labelled && status.is_some_and(|status| status.pod_ip.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::tests::cluster;

    const PLAIN: Style = Style { colour: false, terminal: false };

    fn replica(pod: &str, cpu: f64) -> Replica {
        let shown = json!({
            "version": 1, "primaryVersion": "0.1.0", "uptimeMilliseconds": 61000, "state": "Serving",
            "workers": {"desired": 2, "ready": 1, "running": 1, "busy": 1, "restarts": 3},
            "deaths": {"exited": 0, "crashed": 3, "neverReady": 0, "outOfMemory": 0},
            "memory": {"usageBytes": 104_857_600},
            "listeners": [{"address": "[::]:8000", "queueDepth": 4, "backlog": 4096}],
            "slots": [
                {"slot": 1, "state": "Ready", "pid": 11, "restarts": 0},
                {"slot": 2, "state": "BackOff", "retryMilliseconds": 2000, "restarts": 3, "lastExit": "exit code 1"}
            ],
            "warnings": [{"reason": "CrashLoop", "message": "ends again and again"}],
            "primaryPid": 7,
            "processes": [{"slot": 1, "pid": 11, "state": "ready", "ageMilliseconds": 61000, "memoryBytes": 44_040_192_u64, "cpuPercent": cpu, "connections": 1}]
        });
        Replica { pod: format!("web-{pod}"), told: Some(Box::new(serde_json::from_value(shown).unwrap())), error: None }
    }

    #[test]
    fn every_worker_has_a_line_and_what_is_wrong_is_below() {
        let silent = Replica { pod: "web-c".into(), told: None, error: Some("no answer".into()) };
        let text = screen(&cluster(json!({})), &[replica("a", 12.0), silent], Order::Pod, None, PLAIN);
        for words in [
            "web: 1 of 2 replicas answer, 1 of 2 workers ready, 1 busy, 4 connections wait, 3 restarts, 100Mi\n",
            "a     1      11    ready",
            "61s   12%   42Mi     1      0",
            "next fork in 2s, the last ended with exit code 1",
            "c: no answer\n",
            "a: CrashLoop: ends again and again\n",
        ] {
            assert!(text.contains(words), "{words} is missing in:\n{text}");
        }
    }

    #[test]
    fn who_uses_most_comes_first_and_what_does_not_fit_is_told() {
        let replicas = [replica("a", 12.0), replica("b", 90.0)];
        let text = screen(&cluster(json!({})), &replicas, Order::Cpu, None, PLAIN);
        assert!(text.find("90%") < text.find("12%"), "{text}");
        let text = screen(&cluster(json!({})), &replicas, Order::Cpu, Some(8), PLAIN);
        assert!(text.contains("90%") && !text.contains("12%") && text.contains("more workers"), "{text}");
        assert!(text.lines().count() <= 8, "{text}");
    }

    #[test]
    fn sizes_are_written_as_kubernetes_does() {
        for (size, words) in [(999, "999"), (1536, "1.5Ki"), (42 << 20, "42Mi"), (3 << 30, "3.0Gi")] {
            assert_eq!(bytes(size), words);
        }
    }
}
