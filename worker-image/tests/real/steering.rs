//! A listening socket for each worker: who gets new connections, and that nobody who waits in a queue is lost.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::control::ctl;
use crate::harness::{PATIENCE, Primary, Setup, get, program, send, wait_for};

fn steered(words: &[&str]) -> (String, Primary) {
    steered_by(Setup::new(2), words)
}

fn steered_by(setup: Setup, words: &[&str]) -> (String, Primary) {
    let setup = setup.option("--balancing", "steered").env("GRACE", "1");
    let name = format!("steered-{}", setup.port);
    let primary = setup.option("--name", &name).run(words);
    primary.wait_ready(2);
    (name, primary)
}

#[test]
fn every_worker_gets_connections_and_a_drained_one_loses_none_that_waits() {
    for words in [["node", &program("cluster.js")], ["python3", &program("inherit.py")]] {
        let (name, primary) = steered(&words);
        primary.different_answers(2);
        let stopped = primary.stats().slots[0].pid.unwrap();
        send(stopped, Signal::STOP);
        let port = primary.port;
        let clients: Vec<_> = (0..40).map(|_| std::thread::spawn(move || get(port, "/", PATIENCE))).collect();
        // About half of them wait for the one that stands still.
        primary.wait_stats("some that wait", |stats| stats.listeners[0].queue_depth.is_some_and(|depth| depth >= 5));
        assert!(ctl(&name, &["drain", "1"]).status.success());
        for _ in 0..20 {
            let answer = primary.request("/");
            assert!(!answer.contains(&stopped.to_string()), "{words:?}: a new connection went to it: {answer}");
        }
        send(stopped, Signal::CONT);
        for client in clients {
            let answer = client.join().unwrap();
            assert!(answer.as_ref().is_ok_and(|(code, _)| *code == 200), "{words:?}: {answer:?}");
        }
        wait_for("the end of the drained worker", || if crate::harness::runs(stopped) { Err(stopped) } else { Ok(()) });
        assert!(ctl(&name, &["undrain", "1"]).status.success());
        primary.wait_ready(2);
        primary.different_answers(2);
    }
}

#[test]
fn what_waits_for_a_worker_that_dies_is_for_the_next() {
    let (_, primary) = steered(&["node", &program("cluster.js")]);
    std::thread::sleep(std::time::Duration::from_millis(1100)); // ready for a second: the next is forked at once
    let victim = primary.stats().slots[1].pid.unwrap();
    send(victim, Signal::STOP);
    let port = primary.port;
    let clients: Vec<_> = (0..40).map(|_| std::thread::spawn(move || get(port, "/", PATIENCE))).collect();
    primary.wait_stats("some that wait", |stats| stats.listeners[0].queue_depth.is_some_and(|depth| depth >= 5));
    send(victim, Signal::KILL);
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.as_ref().is_ok_and(|(code, _)| *code == 200), "{answer:?}");
    }
    primary.wait_ready(2);
}

#[test]
fn who_waits_for_a_worker_that_never_accepts_and_has_no_successor_is_told_so() {
    let setup = Setup::new(2).option("--drain-seconds", "2");
    let (name, primary) = steered_by(setup, &["node", &program("cluster.js")]);
    let stopped = primary.stats().slots[1].pid.unwrap();
    send(stopped, Signal::STOP);
    // All are in a queue before it is taken away, about half of them in its.
    let clients: Vec<_> = (0..40).map(|_| asked(primary.port)).collect();
    assert!(ctl(&name, &["scale", "1"]).status.success());
    primary.wait_stats("nobody who waits", |stats| {
        stats.workers.running == 1 && stats.listeners[0].queue_depth.unwrap() == 0
    });
    let failed = clients.into_iter().filter(|client| !is_answered(client)).count();
    assert!((5..40).contains(&failed), "{failed} failed");
    primary.wait_log(&format!("{failed} connections end unanswered: the worker of slot 2 left without accepting them"));
}

/// A connection that the kernel has queued, with a request on it.
fn asked(port: u16) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Longer than we wait for the primary.
    client.set_read_timeout(Some(PATIENCE * 2)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    client
}

fn is_answered(mut client: &TcpStream) -> bool {
    let mut answer = String::new();
    client.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}
