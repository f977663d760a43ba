//! Orders over the control socket by `primary ctl`, with real programs: reload, drain, scale, and who may give them.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::harness::{PATIENCE, Primary, Setup, get, program, ready_pids, wait_for};

/// `primary ctl` for the primary of this name.
pub fn ctl(name: &str, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_primary")).args(["ctl", "-n", name]).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A primary that `ctl` finds under a name of its own.
fn named(count: u32, words: &[&str]) -> (String, Primary) {
    let setup = Setup::new(count);
    let name = format!("test-{}", setup.port);
    let primary = setup.option("--name", &name).run(words);
    (name, primary)
}

#[test]
fn what_workers_write_is_shown_where_it_is_in_a_file() {
    let (name, primary) = named(1, &["sh", "-c", "for line in one two three; do echo $line; done; exec sleep 1000"]);
    primary.wait_ready(1);
    wait_for("three lines", || if primary.out().contains("three") { Ok(()) } else { Err(primary.out()) });
    let output = ctl(&name, &["logs", "--lines", "2"]);
    assert!(
        output.status.success() && said(&output).contains("two\nthree\n") && !said(&output).contains("one\n"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let (name, primary) = named(1, &["sleep", "1000"]);
    primary.wait_ready(1);
    let ends_well = |words: &str| {
        let line = format!("{} ctl -n {name} {words} | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_primary"));
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{words}: {}", said(&output));
    };
    (0..5).for_each(|_| ends_well("status"));
    ends_well("reload 2>&1");
}

#[test]
fn a_reload_under_load_fails_no_request() {
    let (name, primary) = named(2, &["node", &program("cluster.js")]);
    let before = ready_pids(&primary.wait_ready(2));
    let (stop, served, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, failed, port) =
                (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed), primary.port);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let counter =
                        if get(port, "/", PATIENCE).is_ok_and(|(code, _)| code == 200) { &served } else { &failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let output = ctl(&name, &["reload"]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("2 of 2 workers are fresh"), "{}", said(&output));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let (served, failed) = (served.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    assert!(failed == 0 && served > 50, "{served} served, {failed} failed");
    let stats =
        primary.wait_stats("two fresh workers alone", |stats| stats.workers.running == 2 && stats.workers.ready == 2);
    assert!(ready_pids(&stats).iter().all(|pid| !before.contains(pid)));
    assert_eq!((stats.workers.restarts, stats.deaths.crashed), (0, 0), "a reload is no crash");
}

#[test]
fn a_reload_to_a_broken_program_keeps_the_old_workers() {
    let setup = Setup::new(2);
    let script = setup.folder().join("app.sh");
    std::fs::write(&script, format!("exec python3 {}\n", program("inherit.py"))).unwrap();
    let name = format!("test-{}", setup.port);
    let primary = setup.option("--name", &name).run(&["sh", script.to_str().unwrap()]);
    let before = ready_pids(&primary.wait_ready(2));
    std::fs::write(&script, "exit 3\n").unwrap();
    let output = ctl(&name, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let words = said(&output);
    assert!(words.contains("failed after 0 of 2 workers") && words.contains("exit code 3"), "{words}");
    assert_eq!(ready_pids(&primary.wait_ready(2)), before);
    primary.request("/");
}

#[test]
fn one_worker_and_the_replica_are_drained_and_come_back() {
    let (name, primary) = named(2, &["node", &program("cluster.js")]);
    primary.wait_ready(2);
    assert!(ctl(&name, &["drain", "2"]).status.success());
    primary.wait_stats("one worker", |stats| stats.workers.running == 1);
    assert_eq!(primary.different_answers(1).len(), 1);
    let status = ctl(&name, &["status"]);
    assert!(said(&status).contains("   2        - drained"), "{}", said(&status));
    assert!(ctl(&name, &["undrain", "2"]).status.success());
    primary.wait_ready(2);
    assert!(ctl(&name, &["drain"]).status.success());
    assert_eq!(primary.ask("/readyz").unwrap().0, 503);
    primary.request("/"); // whoever still comes is served
    assert!(ctl(&name, &["undrain"]).status.success());
    assert_eq!(primary.ask("/readyz").unwrap().0, 200);
    let refused = ctl(&name, &["drain", "9"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("the slots are 1, 2"), "{}", said(&refused));
}

#[test]
fn the_number_of_workers_changes_without_a_restart_of_the_others() {
    let (name, primary) = named(1, &["node", &program("cluster.js")]);
    let first = ready_pids(&primary.wait_ready(1))[0];
    assert!(ctl(&name, &["scale", "3"]).status.success());
    let stats = primary.wait_ready(3);
    assert_eq!((ready_pids(&stats)[0], stats.workers.desired), (first, 3));
    primary.different_answers(3);
    assert!(ctl(&name, &["scale", "1"]).status.success());
    let stats = primary.wait_stats("one worker", |stats| stats.workers.running == 1);
    assert_eq!((ready_pids(&stats), stats.slots.len()), (vec![first], 1));
    assert_eq!(ctl(&name, &["scale", "many"]).status.code(), Some(1));
}

#[test]
fn the_live_view_shows_every_worker() {
    let (name, primary) = named(2, &["node", &program("cluster.js")]);
    let workers = ready_pids(&primary.wait_ready(2));
    let table = said(&ctl(&name, &["top"]));
    for pid in &workers {
        let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&pid.to_string()));
        let line = line.unwrap_or_else(|| panic!("{pid} is missing in\n{table}"));
        assert!(line.contains("ready") && line.contains("MiB") && line.contains('%'), "{line}");
    }
    let json: Value = serde_json::from_slice(&ctl(&name, &["status", "--json"]).stdout).unwrap();
    assert_eq!(json["processes"].as_array().unwrap().len(), 2);
    let (_, metrics) = primary.ask("/metrics").unwrap();
    assert!(metrics.contains("workercluster_primary_worker_memory_bytes{slot=\"2\"}"), "{metrics}");
}

#[test]
fn a_primary_is_found_by_name_by_file_or_not_at_all() {
    let nobody = ctl("no-such-primary", &["status"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("under the name no-such-primary"), "{}", said(&nobody));
    let setup = Setup::new(1);
    let file = setup.folder().join("ctl.sock").display().to_string();
    let primary = setup.option("--control", &file).run(&["sleep", "1000"]);
    primary.wait_ready(1);
    let by_file =
        || Command::new(env!("CARGO_BIN_EXE_primary")).args(["ctl", "--control", &file, "status"]).output().unwrap();
    wait_for("the socket", || {
        let output = by_file();
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
}
