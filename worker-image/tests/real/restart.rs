//! Workers that are killed under load: nobody waits in vain, and the next one is there soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Setup, get, program, ready_pids, send, wait_for};

/// An answer that takes longer than this is a hung request: the program answers in about a millisecond, and what hangs does so for good. A machine
/// may stand still for some seconds.
const HUNG: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    served: AtomicU64,
    cut: AtomicU64,
    hung: AtomicU64,
}

impl Load {
    fn ask_on(&self, port: u16) {
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            match get(port, "/", HUNG) {
                Ok(_) => self.served.fetch_add(1, Ordering::Relaxed),
                Err(_) if began.elapsed() >= HUNG => self.hung.fetch_add(1, Ordering::Relaxed),
                Err(_) => self.cut.fetch_add(1, Ordering::Relaxed),
            };
        }
    }
}

#[test]
fn killing_workers_under_load_hangs_no_request() {
    let primary = Setup::new(2).run(&["node", &program("cluster.js")]);
    primary.wait_ready(2);
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (load, port) = (Arc::clone(&load), primary.port);
            std::thread::spawn(move || load.ask_on(port))
        })
        .collect();
    for round in 1..=5 {
        // Spaced, so that each worker was ready for a second and restarts without delay.
        let stats = primary.wait_stats("two workers, ready for a second", |stats| {
            stats.workers.ready == 2 && stats.slots.iter().all(|slot| slot.up_milliseconds.is_some_and(|up| up > 2000))
        });
        send(ready_pids(&stats)[0], Signal::KILL);
        primary.wait_stats("the replacement", |stats| stats.workers.restarts == round && stats.workers.ready == 2);
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let (served, cut, hung) =
        (load.served.load(Ordering::Relaxed), load.cut.load(Ordering::Relaxed), load.hung.load(Ordering::Relaxed));
    assert_eq!(hung, 0, "{served} served, {cut} cut, {hung} hung");
    assert!(served > 100, "{served} served, {cut} cut");
    assert!(cut <= 5 * 4, "at most what the killed worker held: {served} served, {cut} cut");
    let stats = primary.stats();
    assert_eq!((stats.deaths.crashed, stats.deaths.never_ready), (5, 0));
}

#[test]
fn a_settled_worker_is_forked_again_at_once() {
    let setup = Setup::new(1).option("--restart-initial-milliseconds", "25000").option("--restart-max-seconds", "25");
    let primary = setup.run(&["python3", &program("inherit.py")]);
    let first = ready_pids(&primary.wait_ready(1))[0];
    // Ready after a second of being alive; on a busy machine the primary may come round to that later.
    primary.wait_stats("a second of being ready", |stats| stats.slots[0].up_milliseconds.is_some_and(|up| up > 4000));
    send(first, Signal::KILL);
    let began = Instant::now();
    let answer = wait_for("an answer of the next worker", || {
        let answer = primary.request("/");
        if answer.trim() == first.to_string() { Err(answer) } else { Ok(answer) }
    });
    assert_ne!(answer.trim(), first.to_string());
    assert!(began.elapsed() < Duration::from_secs(20), "no back-off of 25 s: {:?}", began.elapsed());
}
