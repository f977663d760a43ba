//! Who has the port: the inherited socket, programs that bind it themselves, and programs that just crash.

use primary_protocol::{ReadyEvidence, SlotState, WarningReason};
use rustix::process::Signal;

use crate::harness::{Setup, program, ready_pids, send, wait_for};

/// On a busy machine Python needs more than the usual second to find the port taken, and would count as ready by then.
const SLOW_START: &str = "20";

#[test]
fn a_program_takes_the_inherited_socket() {
    let primary = Setup::new(3).env("WORKERCLUSTER_NAME", "x").run(&["python3", &program("inherit.py")]);
    let stats = primary.wait_ready(3);
    assert!(stats.slots.iter().all(|slot| slot.evidence == Some(ReadyEvidence::Alive)), "{:?}", stats.slots);
    primary.different_answers(3);
}

#[test]
fn a_program_says_that_it_is_ready() {
    let setup = Setup::new(2).option("--ready", "Notify").env("NOTIFY", "1");
    let primary = setup.run(&["python3", &program("inherit.py")]);
    let stats = primary.wait_ready(2);
    assert!(stats.slots.iter().all(|slot| slot.evidence == Some(ReadyEvidence::Notify)), "{:?}", stats.slots);
}

#[test]
fn listening_is_seen_on_the_inherited_socket() {
    let script = "import asyncio, socket\nasync def main():\n    server = await asyncio.start_server(lambda r, w: w.close(), sock=socket.socket(fileno=3))\n    await server.serve_forever()\nasyncio.run(main())";
    let primary = Setup::new(2).option("--ready", "listening").run(&["python3", "-c", script]);
    let stats = primary.wait_ready(2);
    assert!(stats.slots.iter().all(|slot| slot.evidence == Some(ReadyEvidence::Listening)), "{:?}", stats.slots);
}

#[test]
fn one_worker_that_binds_the_port_itself_is_fine() {
    let primary = Setup::new(1).option("--startup-seconds", SLOW_START).run(&["python3", &program("own.py")]);
    let stats = primary.wait_ready(1);
    assert_eq!(stats.slots[0].evidence, Some(ReadyEvidence::OwnSocket));
    assert_eq!(stats.warnings, []);
    let first = primary.request("/");
    send(ready_pids(&stats)[0], Signal::KILL);
    let stats = primary.wait_stats("a replacement", |stats| stats.workers.restarts == 2 && stats.workers.ready == 1);
    assert_ne!(primary.request("/"), first);
    assert_eq!(stats.warnings, []);
}

#[test]
fn a_slow_program_that_binds_the_port_itself_is_found_out_as_well() {
    let primary =
        Setup::new(2).option("--startup-seconds", "1").env("DELAY", "1.5").run(&["python3", &program("own.py")]);
    let stats = primary.wait_stats("a worker with the port", |stats| {
        stats.slots.iter().any(|slot| slot.evidence == Some(ReadyEvidence::OwnSocket))
    });
    assert!(stats.workers.ready >= 1);
    primary.request("/");
    primary.wait_warning(WarningReason::PortBoundByWorker);
}

#[test]
fn of_three_workers_that_bind_the_port_one_serves_and_the_user_is_told() {
    let primary = Setup::new(3).option("--startup-seconds", SLOW_START).run(&["python3", &program("own.py")]);
    let message = primary.wait_warning(WarningReason::PortBoundByWorker);
    for next in ["LISTEN_FDS", "cluster", "SO_REUSEPORT", "workers.count: 1", &primary.port.to_string()] {
        assert!(message.contains(next), "{next} is missing in: {message}");
    }
    let stats = primary.wait_stats("two slots at rest", |stats| {
        stats.slots.iter().filter(|slot| slot.state == SlotState::BackOff).count() == 2
    });
    assert_eq!(stats.workers.ready, 1);
    assert_eq!(stats.deaths.crashed, 0, "a worker that found the port taken was thought ready");
    assert!(stats.slots.iter().all(|slot| slot.retry_milliseconds.is_none_or(|time| time > 5000)), "{:?}", stats.slots);
    primary.request("/");
    assert_eq!(primary.ask("/readyz").unwrap().0, 200);
}

#[test]
fn programs_with_reuseport_share_the_port_by_themselves() {
    let primary = Setup::new(3).env("REUSE", "1").run(&["python3", &program("own.py")]);
    let stats = primary.wait_ready(3);
    assert_eq!(stats.warnings, []);
    primary.different_answers(3);
}

#[test]
fn a_program_that_crashes_and_recovers_gets_the_socket_back() {
    // Crashes three times, with and without the socket, and then takes it: as when a database comes up late.
    let setup = Setup::new(1);
    let count = setup.folder().join("count");
    let script = format!(
        "echo x >> {0}; [ $(wc -l < {0}) -gt 3 ] || exit 1; exec python3 {1}",
        count.display(),
        program("inherit.py")
    );
    let primary = setup.run(&["sh", "-c", &script]);
    primary.wait_ready(1);
    primary.request("/");
    primary.wait_log("the listening socket is open again");
    let log = primary.log();
    assert!(!log.contains("binds the port itself\n") || !log.contains("it bound the port"), "{log}");
    wait_for("no warning", || {
        let warnings = primary.stats().warnings;
        if warnings.iter().all(|warning| warning.reason == WarningReason::CrashLoop) { Ok(()) } else { Err(warnings) }
    });
}
