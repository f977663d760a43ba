//! Unmodified Node programs. Runs with every Node that PRIMARY_TEST_NODES lists (paths, separated by colons), or
//! with the one in PATH.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use primary_protocol::{ReadyEvidence, SlotState, WarningReason};
use rustix::process::Signal;

use crate::harness::{Setup, free_port, program, ready_pids, runs, send, wait_for};

fn nodes() -> Vec<String> {
    let listed = std::env::var("PRIMARY_TEST_NODES").unwrap_or_else(|_| "node".to_string());
    listed.split(':').map(ToString::to_string).collect()
}

#[test]
fn a_cluster_program_runs_as_it_is() {
    for node in nodes() {
        let primary = Setup::new(3).env("WORKERCLUSTER_NAME", "x").run(&[&node, &program("cluster.js")]);
        let stats = primary.wait_ready(3);
        assert!(stats.slots.iter().all(|slot| slot.evidence == Some(ReadyEvidence::Listening)), "{:?}", stats.slots);
        let mut ids: Vec<String> = primary
            .different_answers(3)
            .iter()
            .map(|answer| answer.trim().rsplit(' ').next().unwrap().to_string())
            .collect();
        ids.sort();
        assert_eq!(ids, ["1", "2", "3"], "{node}: cluster.worker.id is the slot");
        assert!(!primary.out().contains("Master"), "no worker takes the primary's branch");
        let listener = &primary.stats().listeners[0];
        assert!(listener.backlog.unwrap() > 511, "Node's own backlog is shorter: {listener:?}");
    }
}

#[test]
fn without_a_port_of_its_own_the_primary_opens_what_the_program_asks_for() {
    for node in nodes() {
        let (port, admin) = (free_port(), free_port());
        let setup = Setup::bare(port, admin).option("-i", "2").option("--admin", &format!("127.0.0.1:{admin}"));
        let primary = setup.env("OWN_PORT", &port.to_string()).run(&[&node, &program("cluster.js")]);
        primary.wait_ready(2);
        primary.different_answers(2);
        assert_eq!(primary.stats().listeners.len(), 1);
    }
}

#[test]
fn a_server_that_knows_nothing_of_clusters_runs_in_every_worker() {
    for node in nodes() {
        let primary = Setup::new(2).env("WORKERCLUSTER_NAME", "x").run(&[
            "sh",
            "-c",
            &format!("exec {node} {}", program("plain.js")),
        ]);
        primary.wait_ready(2);
        for answer in primary.different_answers(2) {
            assert!(answer.ends_with(" 0\n"), "variables of ours are not the program's: {answer}");
        }
    }
}

#[test]
fn several_servers_ports_paths_and_errors_are_as_in_node() {
    let both = |node: String| [(node.clone(), "shared"), (node, "passing")];
    for (node, balancing) in nodes().into_iter().flat_map(both) {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_port = taken.local_addr().unwrap().port().to_string();
        let other = free_port();
        let setup = Setup::new(2).option("--balancing", balancing);
        let path = setup.folder().join("socket");
        let primary = setup
            .env("OTHER", &other.to_string())
            .env("TAKEN", &taken_port)
            .env("SOCKET", path.to_str().unwrap())
            .run(&[&node, &program("servers.js")]);
        primary.wait_ready(2);
        let out = wait_for("all servers of both workers", || {
            let out = primary.out();
            let all = ["other=", "zero=", "path=ok", "taken=", "twice=", "again=ok", "udp="];
            if all.iter().all(|name| out.matches(name).count() == 2) { Ok(out) } else { Err(out) }
        });
        let values = |name: &str| -> Vec<String> {
            out.lines().filter_map(|line| line.strip_prefix(name)).map(ToString::to_string).collect()
        };
        assert_eq!(values("other="), [other.to_string(), other.to_string()], "{node}");
        assert_eq!(values("taken="), ["EADDRINUSE", "EADDRINUSE"], "{node}");
        assert_eq!(values("twice="), ["EADDRINUSE", "EADDRINUSE"], "{node}");
        let (zero, udp) = (values("zero="), values("udp="));
        assert!(zero[0] == zero[1] && zero[0] != "0", "{node}: {zero:?}");
        assert!(udp[0] == udp[1] && udp[0] != "0", "{node}: {udp:?}");
        let mut answer = String::new();
        UnixStream::connect(&path).unwrap().read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("path "), "{answer}");
        answer.clear();
        TcpStream::connect(("127.0.0.1", other)).unwrap().read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("other "), "{answer}");
    }
}

#[test]
fn messages_huge_ones_and_handles_do_no_harm() {
    for node in nodes() {
        let setup = Setup::new(1).option("--ready", "notify");
        let primary = setup.run(&[&node, &program("chatty.js")]);
        let stats = primary.wait_ready(1);
        assert_eq!(stats.slots[0].evidence, Some(ReadyEvidence::Notify));
        primary.wait_log("longer than 1 MiB");
        // The handle is taken and closed, so the client sees the end and no silence.
        let mut stream = TcpStream::connect(("127.0.0.1", primary.port)).unwrap();
        stream.write_all(b"x").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(primary.wait_ready(1).workers.restarts, 0);
    }
}

#[test]
fn the_file_of_a_unix_socket_is_gone_at_the_end_and_the_next_start_can_have_it() {
    for node in nodes() {
        for _ in 0..2 {
            let setup = Setup::new(1);
            let path = std::env::temp_dir().join(format!("primary-node-{}.sock", std::process::id()));
            let mut primary = setup.env("SOCKET", path.to_str().unwrap()).run(&[&node, &program("late.js")]);
            primary.wait_ready(1);
            assert!(UnixStream::connect(&path).is_ok());
            primary.signal(Signal::TERM);
            assert_eq!(primary.wait_end().code(), Some(0));
            assert!(!path.exists(), "{node}");
        }
    }
}

#[test]
fn signals_are_passed_on_to_workers_that_can_have_a_handler() {
    let primary = Setup::new(2).env("SLOW", "1").run(&["node", &program("late.js")]);
    primary.wait_stats("workers that start", |stats| stats.workers.running == 2);
    primary.signal(Signal::USR2);
    assert_eq!(primary.wait_ready(2).workers.restarts, 0, "no handler is there yet, so it would have ended them");
    primary.signal(Signal::USR2);
    wait_for("both", || if primary.out().matches("reopened").count() == 2 { Ok(()) } else { Err(primary.out()) });
}

#[test]
fn messages_of_the_cluster_adapter_reach_the_other_workers() {
    for node in nodes() {
        let primary = Setup::new(3).run(&[&node, &program("broker.js")]);
        let pids = ready_pids(&primary.wait_ready(3));
        let asked = primary.request("/question");
        let heard = |pid: u32, words: &str| primary.out().contains(&format!("{pid} hears {words}"));
        wait_for("the question and both answers", || {
            let others = pids.iter().filter(|pid| pid.to_string() != asked);
            let told = others.clone().all(|pid| heard(*pid, &format!("question of {asked}")));
            let answered = others.clone().all(|pid| heard(asked.parse().unwrap(), &format!("answer of {pid}")));
            if told && answered { Ok(()) } else { Err(primary.out()) }
        });
        let lines = primary.out().lines().count();
        assert_eq!(lines, 4, "an answer is for whoever asked alone, and nobody hears itself: {}", primary.out());
    }
}

#[test]
fn a_worker_that_leaves_the_cluster_is_replaced() {
    for node in nodes() {
        let primary = Setup::new(1).run(&[&node, &program("leave.js")]);
        let first = ready_pids(&primary.wait_ready(1))[0];
        primary.request("/leave");
        let stats =
            primary.wait_stats("a replacement", |stats| stats.workers.ready == 1 && ready_pids(stats)[0] != first);
        assert_eq!((stats.workers.restarts, stats.deaths.exited), (1, 1));
        primary.request("/");
    }
}

#[test]
fn nonsense_on_the_channel_closes_it_and_nothing_else() {
    let setup = Setup::new(1).option("--ipc", "node").option("--drain-seconds", "5");
    let primary = setup.run(&["python3", &program("broken_channel.py")]);
    primary.wait_log("broken frame");
    wait_for("the worker to see it", || if primary.out().contains("closed") { Ok(()) } else { Err(primary.out()) });
    assert_eq!(primary.ask("/livez").unwrap().0, 200);
    assert_eq!(primary.stats().slots[0].state, SlotState::Stopping, "it takes no part any more");
}

#[test]
fn a_package_runner_swallows_the_channel_and_the_user_is_told() {
    let setup = Setup::new(1);
    let npm = setup.folder().join("npm");
    std::fs::write(&npm, format!("#!/bin/sh\nexec node {}\n", program("plain.js"))).unwrap();
    std::fs::set_permissions(&npm, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // Who needs longer to bind is thought to be ready for being alive.
    let primary = setup.option("--startup-seconds", "20").run(&[npm.to_str().unwrap(), "start"]);
    let stats = primary.wait_ready(1);
    assert_eq!(stats.slots[0].evidence, Some(ReadyEvidence::OwnSocket), "so it binds the port itself");
    let message = primary.wait_warning(WarningReason::ChannelSwallowed);
    assert!(message.contains("package.json"), "{message}");
}

#[test]
fn a_killed_worker_takes_its_whole_group_along() {
    let script = "require('child_process').spawn('sleep', ['1000']); require('http').createServer((q, s) => s.end()).listen(process.env.PORT)";
    let primary = Setup::new(1).run(&["node", "-e", script]);
    let worker = ready_pids(&primary.wait_ready(1))[0];
    let children = std::fs::read_to_string(format!("/proc/{worker}/task/{worker}/children")).unwrap();
    let child: u32 = children.trim().parse().unwrap();
    send(worker, Signal::KILL);
    wait_for("the end of the worker's child", || if runs(child) { Err(child) } else { Ok(()) });
    wait_for("it to be collected", || if primary.zombies().is_empty() { Ok(()) } else { Err(primary.zombies()) });
}
