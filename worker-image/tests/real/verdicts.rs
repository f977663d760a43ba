//! Workers that hang or grow: found, ended or replaced, and told.

use std::net::TcpStream;

use crate::harness::{Setup, program, ready_pids};

#[test]
fn a_worker_that_breaks_its_promise_to_the_watchdog_is_ended_and_replaced() {
    let primary = Setup::new(1).option("--hang-timeout-seconds", "5").run(&["python3", &program("watchdog.py")]);
    let first = ready_pids(&primary.wait_ready(1))[0];
    primary.request("/");
    primary.request("/hang");
    let stats = primary.wait_stats("a replacement", |stats| stats.workers.ready == 1 && ready_pids(stats)[0] != first);
    assert_eq!(stats.slots[0].last_exit.as_deref(), Some("signal 6 (SIGABRT)"));
    primary.wait_log("has not sent WATCHDOG=1 for 5 s: it hangs");
    primary.request("/");
    let (_, metrics) = primary.ask("/metrics").unwrap();
    assert!(metrics.contains("workercluster_primary_worker_replacements_total{reason=\"hung\"} 1"), "{metrics}");
}

#[test]
fn a_stopped_worker_with_a_request_waiting_hangs_and_an_idle_one_does_not() {
    let primary = Setup::new(1).option("--hang-timeout-seconds", "3").run(&["node", &program("cluster.js")]);
    let first = ready_pids(&primary.wait_ready(1))[0];
    primary.wait_stats("four idle seconds", |stats| stats.uptime_milliseconds > 6000);
    assert_eq!(ready_pids(&primary.stats()), [first], "idle is not hung");
    crate::harness::send(first, rustix::process::Signal::STOP);
    let port = primary.port;
    let waiting = std::thread::spawn(move || crate::harness::get(port, "/", crate::harness::PATIENCE));
    primary.wait_stats("a replacement", |stats| stats.workers.ready == 1 && ready_pids(stats)[0] != first);
    let _ = waiting.join(); // served by the next one, or cut with the one that hung
    primary.wait_log("has used no processor time");
}

#[test]
fn a_worker_that_grows_is_replaced_and_nobody_notices() {
    let primary = Setup::new(1).option("--recycle-memory", "100Mi").run(&["python3", &program("watchdog.py")]);
    let first = primary.request("/");
    primary.request("/grow");
    primary.request("/grow");
    let stats = primary.wait_stats("a replacement", |stats| {
        stats.workers.ready == 1 && stats.workers.running == 1 && ready_pids(stats)[0].to_string() != first.trim()
    });
    assert_eq!((stats.workers.restarts, stats.deaths.crashed), (0, 0));
    primary.wait_log("more than 104857600, and is replaced");
}

#[test]
fn the_number_of_workers_follows_the_load() {
    let primary = Setup::new(1).option("--adaptive", "1-2").option("--ready", "immediate").run(&["sleep", "1000"]);
    primary.wait_ready(1);
    let _waiting = TcpStream::connect(("127.0.0.1", primary.port)).unwrap();
    primary.wait_stats("a second worker, since the first accepts nothing", |stats| {
        stats.workers.desired == 2 && stats.workers.running == 2
    });
}
