//! A listening socket for each worker: who gets new connections, and that nobody who waits in a queue is lost.

use rustix::process::Signal;

use primary_protocol::Stats;

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
    let port = primary.port;
    let clients: Vec<_> = (0..40).map(|_| std::thread::spawn(move || get(port, "/", PATIENCE * 2))).collect();
    let waiting = |stats: &Stats| stats.listeners[0].queue_depth.unwrap();
    primary.wait_stats("some that wait", |stats| waiting(stats) >= 5);
    assert!(ctl(&name, &["scale", "1"]).status.success());
    primary.wait_stats("nobody who waits", |stats| stats.workers.running == 1 && waiting(stats) == 0);
    let answers = clients.into_iter().map(|client| client.join().unwrap());
    // A client's own patience is over after twice the time that we waited for the primary.
    let failed = answers.filter(|answer| !answer.as_ref().is_ok_and(|(code, _)| *code == 200)).count();
    assert!((5..40).contains(&failed), "{failed} failed");
    primary.wait_log("connections end unanswered: the worker of slot 2 left without accepting them");
}
