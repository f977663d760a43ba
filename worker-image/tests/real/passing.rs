//! Connections that the primary accepts and hands over Node's channel: who gets them, and that none is lost with a worker.

use rustix::process::Signal;

use crate::control::ctl;
use crate::harness::{PATIENCE, Primary, Setup, get, program, ready_pids, send, wait_for};

/// A primary that passes connections on to two workers, with the name by which it is found.
fn passing(script: &str) -> (String, Primary) {
    let setup = Setup::new(2).option("--balancing", "passing");
    let name = format!("passing-{}", setup.port);
    let primary = setup.option("--name", &name).run(&["node", &program(script)]);
    primary.wait_ready(2);
    (name, primary)
}

fn clients(primary: &Primary, count: u32) -> Vec<std::thread::JoinHandle<std::io::Result<(u16, String)>>> {
    let port = primary.port;
    (0..count).map(|_| std::thread::spawn(move || get(port, "/", PATIENCE))).collect()
}

fn all_are_served(clients: Vec<std::thread::JoinHandle<std::io::Result<(u16, String)>>>) {
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.as_ref().is_ok_and(|(code, _)| *code == 200), "{answer:?}");
    }
}

#[test]
fn every_worker_gets_connections_and_a_drained_one_gets_none() {
    let (name, primary) = passing("cluster.js");
    primary.different_answers(2);
    let drained = primary.stats().slots[0].pid.unwrap();
    assert!(ctl(&name, &["drain", "1"]).status.success());
    for _ in 0..20 {
        let answer = primary.request("/");
        assert!(!answer.contains(&drained.to_string()), "a new connection went to it: {answer}");
    }
    wait_for("the end of the drained worker", || if crate::harness::runs(drained) { Err(drained) } else { Ok(()) });
    assert!(ctl(&name, &["undrain", "1"]).status.success());
    primary.wait_ready(2);
    primary.different_answers(2);
}

#[test]
fn what_a_worker_did_not_take_before_it_died_is_for_another() {
    let (_, primary) = passing("cluster.js");
    std::thread::sleep(std::time::Duration::from_millis(1100)); // ready for a second: the next is forked at once
    let victim = ready_pids(&primary.wait_ready(2))[0];
    send(victim, Signal::STOP);
    let waiting = clients(&primary, 40);
    // The other answers, and what was handed to the one that stands still is all that is left.
    let left = wait_for("some that wait for the one that stands still", || {
        let left = waiting.iter().filter(|client| !client.is_finished()).count();
        if (1..=4).contains(&left) { Ok(left) } else { Err(left) }
    });
    assert!(left > 0, "{left}");
    send(victim, Signal::KILL);
    all_are_served(waiting);
    primary.wait_ready(2);
}

#[test]
fn where_all_workers_stand_still_connections_wait_in_the_kernel() {
    let (_, primary) = passing("cluster.js");
    let workers = ready_pids(&primary.wait_ready(2));
    for pid in &workers {
        send(*pid, Signal::STOP);
    }
    let waiting = clients(&primary, 40);
    primary.wait_stats("a queue", |stats| stats.listeners[0].queue_depth.is_some_and(|depth| depth >= 36));
    for pid in &workers {
        send(*pid, Signal::CONT);
    }
    all_are_served(waiting);
}

#[test]
fn a_reload_under_load_loses_nobody() {
    let (name, primary) = passing("cluster.js");
    let before = ready_pids(&primary.wait_ready(2));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let port = primary.port;
    std::thread::scope(|scope| {
        let asking = || {
            let mut served = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = get(port, "/", PATIENCE);
                assert!(answer.as_ref().is_ok_and(|(code, _)| *code == 200), "after {served}: {answer:?}");
                served += 1;
            }
            served
        };
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(asking)).collect();
        let reloaded = ctl(&name, &["reload"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reloaded.status.success(), "{reloaded:?}");
        let served: u32 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(served > 20, "{served}");
    });
    let after = ready_pids(&primary.wait_ready(2));
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
}
