//! What a primary shows, as a table for people.

use std::fmt::Write;

use primary_protocol::{Shown, ShownWorker, SlotState};

/// The column of states is as wide as its words, and at least so.
const STATE_WIDTH: usize = 16;

/// The whole picture: what the replica is doing, a line for each worker process, and what the user should know.
pub fn text(shown: &Shown) -> String {
    let mut text = String::new();
    let workers = &shown.stats.workers;
    let name = shown.name.as_deref().unwrap_or("primary");
    let drained = if shown.stats.drained { ", drained by order" } else { "" };
    let busy = workers.busy.map(|busy| format!(", {busy} busy")).unwrap_or_default();
    let _ = writeln!(
        text,
        "{name} (process {}): {:?}{drained}, {} of {} workers ready{busy}, {} restarts, up {}",
        shown.primary_pid,
        shown.stats.state,
        workers.ready,
        workers.desired,
        workers.restarts,
        age(shown.stats.uptime_milliseconds),
    );
    let _ = writeln!(text, "command: {}", shown.command);
    resources(shown, &mut text);
    for listener in &shown.stats.listeners {
        let depth = listener.queue_depth.map_or_else(|| "?".to_string(), |depth| depth.to_string());
        let backlog = listener.backlog.map_or_else(|| "?".to_string(), |backlog| backlog.to_string());
        let _ = writeln!(text, "listening on {}: {depth} of {backlog} connections wait", listener.address);
    }
    requests(shown, &mut text);
    reload(shown, &mut text);
    let width = shown.processes.iter().map(|worker| worker.state.len()).fold(STATE_WIDTH, usize::max);
    let answering = if shown.stats.requests.is_some() { Some(["REQ", "IDLE", "SERVED"]) } else { None };
    let answering = answering.map(|[has, idle, served]| format!(" {has:>4} {idle:>7} {served:>9}")).unwrap_or_default();
    let _ = writeln!(
        text,
        "\n{:>4} {:>8} {:<width$} {:>7} {:>5} {:>10} {:>5} {:>8}{answering}",
        "SLOT", "PID", "STATE", "AGE", "CPU", "MEMORY", "CONN", "RESTARTS"
    );
    for slot in &shown.stats.slots {
        let mut here = shown.processes.iter().filter(|worker| worker.slot == slot.slot).peekable();
        if here.peek().is_none() {
            let _ = writeln!(text, "{:>4} {:>8} {}", slot.slot, "-", empty_state(slot));
        }
        for worker in here {
            line(worker, slot.restarts, width, &mut text);
        }
    }
    for warning in &shown.stats.warnings {
        let _ = writeln!(text, "\n{:?}: {}", warning.reason, warning.message);
    }
    text
}

/// What waits and what workers have, where the primary takes requests itself.
fn requests(shown: &Shown, text: &mut String) {
    let Some(requests) = &shown.stats.requests else { return };
    let oldest = requests.oldest_milliseconds.map(|oldest| format!(", the oldest for {oldest} ms")).unwrap_or_default();
    let upgraded = if requests.upgraded > 0 { format!(", {} upgraded", requests.upgraded) } else { String::new() };
    let _ = writeln!(
        text,
        "requests: {} wait{oldest}, {} of {} places taken{upgraded}{}; {} came, {} again after a death, {} refused",
        requests.waiting,
        requests.in_flight,
        requests.places,
        requests.recent.map(|recent| format!("; {recent}")).unwrap_or_default(),
        requests.arrived,
        requests.returned,
        requests.refused.values().sum::<u64>(),
    );
}

fn resources(shown: &Shown, text: &mut String) {
    if let Some(memory) = &shown.stats.memory {
        let limit = memory.limit_bytes.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
        let own =
            shown.primary_memory_bytes.map(|own| format!(", {} of it the primary", bytes(own))).unwrap_or_default();
        let _ = writeln!(text, "memory: {}{limit}{own}", bytes(memory.usage_bytes));
    }
    let replaced = &shown.stats.replaced;
    let parts = [
        (replaced.reloaded, "reloaded"),
        (replaced.over_memory, "over memory"),
        (replaced.over_age, "over age"),
        (replaced.over_requests, "over their requests"),
        (replaced.hung, "hung"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "replaced: {}", parts.join(", "));
    }
}

fn reload(shown: &Shown, text: &mut String) {
    let Some(reload) = &shown.stats.reload else { return };
    let how = match &reload.failure {
        Some(why) => format!("failed: {why}"),
        None if reload.ended => "done".to_string(),
        None => "under way".to_string(),
    };
    let _ = writeln!(text, "reload {}: {} of {} workers fresh, {how}", reload.number, reload.done, reload.slots);
}

fn empty_state(slot: &primary_protocol::Slot) -> String {
    let last = slot.last_exit.as_deref().map(|exit| format!(", the last ended with {exit}")).unwrap_or_default();
    match (slot.state, slot.retry_milliseconds) {
        (SlotState::BackOff, Some(wait)) => format!("next fork in {}{last}", age(wait)),
        (SlotState::Stopped, _) => format!("drained{last}"),
        (state, _) => format!("{state:?}{last}"),
    }
}

fn line(worker: &ShownWorker, restarts: u64, width: usize, text: &mut String) {
    let cpu = worker.usage.cpu_percent.map_or_else(|| "-".to_string(), |percent| format!("{percent:.0}%"));
    let memory = worker.usage.memory_bytes.map_or_else(|| "-".to_string(), bytes);
    let connections = worker.usage.connections.map_or_else(|| "-".to_string(), |connections| connections.to_string());
    let answering = worker.usage.requests.map(|own| {
        let idle = own.idle_milliseconds.map_or_else(|| "-".to_string(), age);
        format!(" {:>4} {idle:>7} {:>9}", own.in_flight, own.served)
    });
    let answering = answering.unwrap_or_default();
    let _ = writeln!(
        text,
        "{:>4} {:>8} {:<width$} {:>7} {cpu:>5} {memory:>10} {connections:>5} {restarts:>8}{answering}",
        worker.slot,
        worker.pid,
        worker.state,
        age(worker.age_milliseconds),
    );
}

/// `41 MiB`
pub fn bytes(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit {
            let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
            return if whole < 10 { format!("{whole}.{tenth} {name}") } else { format!("{whole} {name}") };
        }
    }
    format!("{bytes} B")
}

/// `3d4h`, `2h5m`, `1m30s`, `12s`, as kubectl does.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use primary_protocol::{Answering, Recent, Requests};

    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes =
            [(999, "999 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (42 << 20, "42 MiB"), (3 << 30, "3.0 GiB")];
        for (number, words) in sizes {
            assert_eq!(bytes(number), words);
        }
        let times = [(900, "0s"), (59_000, "59s"), (90_000, "1m30s"), (7_500_000, "2h5m"), (273_600_000, "3d4h")];
        for (number, words) in times {
            assert_eq!(age(number), words);
        }
    }

    #[test]
    fn every_process_has_a_line_and_an_empty_slot_says_why() {
        let shown: Shown = serde_json::from_value(serde_json::json!({
            "version": 1, "primaryVersion": "0.1.0", "uptimeMilliseconds": 61000, "state": "Serving",
            "workers": {"desired": 2, "ready": 1, "running": 2, "busy": 1, "restarts": 3},
            "deaths": {"exited": 0, "crashed": 3, "neverReady": 0, "outOfMemory": 0},
            "listeners": [{"address": "[::]:8000", "queueDepth": 4, "backlog": 4096}],
            "slots": [
                {"slot": 1, "state": "Ready", "pid": 11, "restarts": 0},
                {"slot": 2, "state": "BackOff", "retryMilliseconds": 2000, "restarts": 3, "lastExit": "exit code 1"}
            ],
            "name": "web", "primaryPid": 7, "command": "node app.js", "drained": false,
            "reload": {"number": 1, "slots": 1, "done": 0, "ended": false},
            "replaced": {"reloaded": 0, "overMemory": 2, "overAge": 0, "hung": 0},
            "processes": [
                {"slot": 1, "pid": 11, "state": "ready", "ageMilliseconds": 61000, "memoryBytes": 44_040_192_u64, "cpuPercent": 12.4, "connections": 1},
                {"slot": 1, "pid": 12, "state": "successor", "ageMilliseconds": 100}
            ]
        }))
        .unwrap();
        assert!(!text(&shown).contains("SERVED"), "only where there is something to show");
        let mut shown: Shown = shown;
        let answering = |in_flight, idle_milliseconds| Some(Answering { in_flight, served: 12, idle_milliseconds });
        shown.processes[0].usage.requests = answering(3, None);
        shown.processes[1].usage.requests = answering(0, Some(61_000));
        let recent = Recent { per_second: 312.4, service_milliseconds: Some(3.12), wait_milliseconds: None };
        shown.stats.requests =
            Some(Requests { waiting: 1, in_flight: 3, places: 4, recent: Some(recent), ..Requests::default() });
        let text = text(&shown);
        for words in [
            "requests: 1 wait, 3 of 4 places taken; 312.4 a second, 3.1 ms each; 0 came",
            "CONN RESTARTS  REQ    IDLE    SERVED",
            "    1        0    3       -        12",
            "    0    1m1s        12",
            "web (process 7): Serving, 1 of 2 workers ready, 1 busy, 3 restarts, up 1m1s",
            "listening on [::]:8000: 4 of 4096 connections wait",
            "replaced: 2 over memory",
            "reload 1: 0 of 1 workers fresh, under way",
            "   1       11 ready               1m1s   12%     42 MiB     1        0",
            "   1       12 successor",
            "   2        - next fork in 2s, the last ended with exit code 1",
        ] {
            assert!(text.contains(words), "{words} is missing in:\n{text}");
        }
    }
}
