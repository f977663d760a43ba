//! The end: serving on, draining, killing what does not end, and how long that takes.

use std::time::{Duration, Instant};

use primary_protocol::ReplicaState;
use rustix::process::Signal;

use crate::harness::{PATIENCE, Setup, get, program, ready_pids, runs, wait_for};

/// A request that takes a while, in a thread of its own.
fn slow_request(port: u16, path: &'static str) -> std::thread::JoinHandle<std::io::Result<(u16, String)>> {
    std::thread::spawn(move || get(port, path, PATIENCE))
}

#[test]
fn a_request_in_flight_is_finished_by_node() {
    let mut primary = Setup::new(2).run(&["node", &program("cluster.js")]);
    primary.wait_ready(2);
    let request = slow_request(primary.port, "/?wait=1500");
    primary.wait_stats("a busy worker", |stats| stats.workers.busy == Some(1));
    let told = Instant::now();
    primary.signal(Signal::TERM);
    let (code, body) = request.join().unwrap().unwrap();
    assert!(code == 200 && !body.is_empty(), "{code} {body:?}");
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "it ends when all have ended: {:?}", told.elapsed());
}

#[test]
fn a_request_in_flight_is_finished_by_a_program_that_knows_sigterm() {
    let mut primary = Setup::new(1).env("GRACE", "1").run(&["python3", &program("inherit.py")]);
    primary.wait_ready(1);
    let request = slow_request(primary.port, "/wait");
    primary.wait_stats("a busy worker", |stats| stats.workers.busy == Some(1));
    primary.signal(Signal::TERM);
    let (code, body) = request.join().unwrap().unwrap();
    assert!(code == 200 && !body.is_empty(), "{code} {body:?}");
    assert_eq!(primary.wait_end().code(), Some(0));
}

#[test]
fn while_endpoints_leave_it_is_unready_and_serves() {
    let mut primary = Setup::new(1).option("--endpoints-delay-seconds", "2").run(&["node", &program("cluster.js")]);
    primary.wait_ready(1);
    primary.signal(Signal::TERM);
    wait_for("unready", || match primary.ask("/readyz") {
        Ok((503, body)) if body.contains("draining") => Ok(()),
        other => Err(other),
    });
    assert_eq!(primary.stats().state, ReplicaState::Draining);
    primary.request("/");
    assert_eq!(primary.ask("/livez").unwrap().0, 200);
    assert_eq!(primary.wait_end().code(), Some(0));
}

#[test]
fn a_node_program_with_a_timer_ends_when_its_connections_have() {
    let mut primary = Setup::new(2).run(&["node", &program("plain.js")]);
    primary.wait_ready(2);
    let told = Instant::now();
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "not at the deadline of 30 s: {:?}", told.elapsed());
}

#[test]
fn what_does_not_stop_is_killed_at_the_deadline() {
    let script = "trap '' TERM; sleep 1000 & echo $!; wait; while :; do sleep 1; done";
    let mut primary = Setup::new(2).option("--drain-seconds", "1").run(&["sh", "-c", script]);
    let workers = ready_pids(&primary.wait_ready(2));
    let told = Instant::now();
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(1 + 3), "took {took:?}");
    let children: Vec<u32> = primary.out().lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(children.len(), 2);
    for pid in workers.into_iter().chain(children) {
        wait_for("the end of every process", || if runs(pid) { Err(pid) } else { Ok(()) });
    }
}

#[test]
fn what_a_shell_leaves_behind_may_finish() {
    // The shell ends at once on SIGTERM; its child has a second of work left.
    let script = "(trap 'sleep 1; echo finished; exit 0' TERM; echo up; while :; do sleep 0.05; done) & wait";
    let mut primary = Setup::new(1).run(&["sh", "-c", script]);
    primary.wait_ready(1);
    wait_for("the child", || if primary.out().contains("up") { Ok(()) } else { Err(primary.out()) });
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(primary.out().contains("finished"), "{}", primary.out());
}

#[test]
fn a_second_signal_stops_at_once() {
    let setup = Setup::new(1).option("--endpoints-delay-seconds", "20");
    let mut primary = setup.run(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]);
    primary.wait_ready(1);
    let told = Instant::now();
    primary.signal(Signal::INT);
    primary.wait_log("serving on for 20 s");
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

#[test]
fn workers_end_with_a_killed_primary() {
    let mut primary = Setup::new(2).run(&["python3", &program("inherit.py")]);
    let workers = ready_pids(&primary.wait_ready(2));
    primary.signal(Signal::KILL);
    primary.wait_end();
    for pid in workers {
        wait_for("the end of a worker", || if runs(pid) { Err(pid) } else { Ok(()) });
    }
}
