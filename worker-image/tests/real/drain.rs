//! The end: serving on, draining, killing what does not end, and how long that takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use primary_protocol::ReplicaState;
use rustix::process::Signal;

use crate::harness::{PATIENCE, Primary, Setup, get, program, ready_pids, runs, send, wait_for};

/// A request that takes a while, in a thread of its own.
fn slow_request(port: u16, path: &'static str) -> std::thread::JoinHandle<std::io::Result<(u16, String)>> {
    std::thread::spawn(move || get(port, path, PATIENCE))
}

#[test]
fn a_request_in_flight_is_finished_by_node() {
    let mut primary = Setup::new(2).run(&["node", &program("cluster.js")]);
    primary.wait_ready(2);
    let request = slow_request(primary.port, "/?wait=6000");
    primary.wait_stats("a busy worker", |stats| stats.workers.busy == Some(1));
    let told = Instant::now();
    primary.signal(Signal::TERM);
    let (code, body) = request.join().unwrap().unwrap();
    assert!(code == 200 && !body.is_empty(), "{code} {body:?}");
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(20), "it ends when all have ended: {:?}", told.elapsed());
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
    let mut primary = Setup::new(1).option("--endpoints-delay-seconds", "10").run(&["node", &program("cluster.js")]);
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
    assert!(told.elapsed() < Duration::from_secs(20), "not at the deadline of 30 s: {:?}", told.elapsed());
}

/// So many clients, each with a connection and a request of its own, that no worker has accepted.
/// Where they are handed over, the primary has accepted the few that are on their way to a worker.
fn waiting_clients(
    primary: &Primary,
    count: u32,
    balancing: &str,
) -> Vec<std::thread::JoinHandle<std::io::Result<(u16, String)>>> {
    let port = primary.port;
    let accepted = if balancing == "passing" { 4 } else { 0 };
    let clients = (0..count).map(|_| std::thread::spawn(move || get(port, "/", PATIENCE))).collect();
    primary.wait_stats("a full accept queue", |stats| stats.listeners[0].queue_depth == Some(count - accepted));
    clients
}

#[test]
fn who_waits_in_the_accept_queue_at_the_end_is_served() {
    let (node, python) = (["node", &program("cluster.js")], ["python3", &program("inherit.py")]);
    for (words, balancing) in [(node, "shared"), (python, "shared"), (node, "passing")] {
        let mut primary = Setup::new(2).option("--balancing", balancing).env("GRACE", "1").run(&words);
        let workers = ready_pids(&primary.wait_ready(2));
        for pid in &workers {
            send(*pid, Signal::STOP);
        }
        let clients = waiting_clients(&primary, 100, balancing);
        primary.signal(Signal::TERM);
        primary.wait_log("no new connection is let in");
        let late = get(primary.port, "/", Duration::from_millis(300));
        assert!(late.is_err(), "the door is closed: {late:?}");
        for pid in &workers {
            send(*pid, Signal::CONT);
        }
        for client in clients {
            let answer = client.join().unwrap();
            assert!(answer.as_ref().is_ok_and(|(code, _)| *code == 200), "{words:?}: {answer:?}");
        }
        assert_eq!(primary.wait_end().code(), Some(0));
    }
}

#[test]
fn a_client_that_never_pauses_does_not_hold_up_the_end() {
    let mut primary = Setup::new(1).option("--drain-seconds", "20").run(&["node", &program("cluster.js")]);
    primary.wait_ready(1);
    let mut client = TcpStream::connect(("127.0.0.1", primary.port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let flood = std::thread::spawn(move || {
        // Ten at a time, so that there is always something to be read.
        while client.write_all(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10)).is_ok() {
            if !client.read(&mut [0; 8192]).is_ok_and(|length| length > 0) {
                break;
            }
        }
    });
    primary.request("/");
    let told = Instant::now();
    primary.signal(Signal::TERM);
    primary.wait_log("draining 1 workers");
    // A fifth of the drain time at the most, and what a busy machine takes to say so.
    assert!(told.elapsed() < Duration::from_secs(12), "{:?}", told.elapsed());
    primary.signal(Signal::TERM);
    primary.wait_end();
    flood.join().unwrap();
}

#[test]
fn what_a_node_program_does_at_its_end_is_done() {
    let mut primary = Setup::new(1).option("--drain-seconds", "20").run(&["node", &program("late.js")]);
    primary.wait_ready(1);
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(primary.out().contains("written late\nexit 0"), "it ends by itself: {}", primary.out());
    assert!(!primary.out().contains("told to shut down"), "PM2's message is sent where it is asked for");

    let mut primary = Setup::new(1).env("WORKERCLUSTER_SHUTDOWN_MESSAGE", "true").run(&["node", &program("late.js")]);
    primary.wait_ready(1);
    primary.signal(Signal::TERM);
    assert_eq!(primary.wait_end().code(), Some(0));
    assert!(primary.out().contains("told to shut down"), "{}", primary.out());
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
    // The default is 30 s.
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "took {took:?}");
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
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
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
