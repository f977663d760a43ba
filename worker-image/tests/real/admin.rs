//! What the primary tells about itself, and to whom it does not listen.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use primary_protocol::{ReplicaState, STATS_VERSION, SlotState};
use rustix::process::Signal;

use crate::harness::{Setup, program, ready_pids, send};

#[test]
fn the_stats_say_what_there_is() {
    let primary = Setup::new(2).run(&["node", &program("cluster.js")]);
    let stats = primary.wait_ready(2);
    assert_eq!((stats.version, stats.state), (STATS_VERSION, ReplicaState::Serving));
    assert_eq!((stats.workers.desired, stats.workers.running, stats.workers.restarts), (2, 2, 0));
    assert_eq!(stats.workers.busy, Some(0));
    assert!(stats.listeners[0].address.ends_with(&format!(":{}", primary.port)), "{:?}", stats.listeners);
    assert_eq!(stats.listeners[0].queue_depth, Some(0));
    assert_eq!(stats.slots.iter().map(|slot| slot.slot).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(stats.warnings, []);
    let later = primary.stats();
    assert!(later.uptime_milliseconds >= stats.uptime_milliseconds);
    send(ready_pids(&stats)[1], Signal::KILL);
    let stats = primary.wait_stats("a replacement", |stats| stats.workers.restarts == 1 && stats.workers.ready == 2);
    assert_eq!(stats.slots[1].last_exit.as_deref(), Some("signal 9 (SIGKILL)"));
    assert_eq!((stats.slots[0].restarts, stats.slots[1].restarts), (0, 1));
}

#[test]
fn connections_that_wait_to_be_accepted_are_counted() {
    let primary = Setup::new(1).option("--ready", "immediate").run(&["sleep", "1000"]);
    primary.wait_ready(1);
    let _waiting: Vec<TcpStream> = (0..7).map(|_| TcpStream::connect(("127.0.0.1", primary.port)).unwrap()).collect();
    primary.wait_stats("seven that wait", |stats| stats.listeners[0].queue_depth == Some(7));
}

#[test]
fn the_metrics_are_prometheus_text() {
    let primary = Setup::new(4).run(&["node", &program("cluster.js")]);
    primary.wait_ready(4);
    let (code, text) = primary.ask("/metrics").unwrap();
    assert_eq!(code, 200);
    for line in [
        "workercluster_primary_workers{state=\"ready\"} 4",
        "workercluster_primary_worker_ready{slot=\"2\"} 1",
        "workercluster_primary_worker_restarts_total{slot=\"1\"} 0",
        "workercluster_primary_worker_deaths_total{verdict=\"out_of_memory\"} 0",
        "# TYPE workercluster_primary_worker_restarts_total counter",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is missing in:\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        for word in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {word} {family} ")), "{family} has no {word}");
        }
    }
    // Nothing makes it look at the workers by itself here: whoever asks does. Processor time needs two looks.
    crate::harness::wait_for("figures of every worker", || {
        let (_, text) = primary.ask("/metrics").unwrap();
        let has = |name: &str| text.contains(&format!("\nworkercluster_primary_{name}{{slot=\"4\"}} "));
        if has("worker_memory_bytes") && has("worker_cpu_cores") && has("worker_connections") {
            Ok(())
        } else {
            Err(text)
        }
    });
    let memory = text.lines().find_map(|line| line.strip_prefix("workercluster_primary_resident_memory_bytes "));
    let memory: u64 = memory.unwrap().parse().unwrap();
    // Most of it is the program itself, which is twice as large in these tests; the benchmarks hold the released one to 10 MiB.
    assert!(memory <= 20 << 20, "{memory} bytes resident with four workers");
}

#[test]
fn an_unknown_path_lists_the_known_ones_and_other_methods_are_refused() {
    let primary = Setup::new(1).run(&["sleep", "1000"]);
    primary.wait_stats("a worker", |stats| stats.slots[0].state == SlotState::Ready);
    let (code, body) = primary.ask("/nothing").unwrap();
    assert_eq!(code, 404);
    for path in ["/livez", "/readyz", "/metrics", "/v1/stats"] {
        assert!(body.contains(path), "{body}");
    }
    let answer = primary.raw(b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let answer = primary.raw(format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000)).as_bytes());
    assert!(!answer.starts_with("HTTP/1.1 200"), "headers are bounded: {answer}");
    assert_eq!(primary.ask("/livez").unwrap(), (200, "ok\n".to_string()));
}

#[test]
fn silent_clients_and_stopped_workers_do_not_keep_it_from_answering() {
    let primary = Setup::new(2).run(&["node", &program("cluster.js")]);
    let workers = ready_pids(&primary.wait_ready(2));
    let _silent: Vec<TcpStream> = (0..40).map(|_| primary.connect_admin()).collect();
    for pid in &workers {
        send(*pid, Signal::STOP);
    }
    let (code, _) = crate::harness::get(primary.admin_port(), "/livez", Duration::from_secs(8)).unwrap();
    assert_eq!(code, 200);
    for pid in workers {
        send(pid, Signal::CONT);
    }
}

impl crate::harness::Primary {
    fn connect_admin(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.admin_port())).unwrap()
    }

    /// What comes back for these bytes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect_admin();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}
