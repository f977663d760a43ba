//! Starting, failing, being PID 1 for others, and the command line.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use primary_protocol::{SlotState, WarningReason};
use rustix::process::Signal;

use crate::harness::{Setup, free_port, program, ready_pids, send, wait_for};

fn primary(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_primary")).args(words).output().unwrap()
}

#[test]
fn orphans_are_collected() {
    // Each `sh` in the background ends after its parent, and falls to the primary.
    let primary = Setup::new(1).run(&["sh", "-c", "while :; do (setsid sh -c 'sleep 0.05' &) ; sleep 0.05; done"]);
    primary.wait_ready(1);
    // Some are always about to be collected, on a busy machine more: what counts is that each is.
    let (begun, mut seen) = (Instant::now(), BTreeSet::new());
    wait_for("the end of every orphan that was seen in three seconds", || {
        let now = BTreeSet::from_iter(primary.zombies());
        if begun.elapsed() < Duration::from_secs(3) {
            seen.extend(now);
            return Err(seen.clone());
        }
        seen.retain(|pid| now.contains(pid));
        if seen.is_empty() { Ok(()) } else { Err(seen.clone()) }
    });
    assert_eq!(primary.stats().workers.restarts, 0, "orphans are no workers");
}

#[test]
fn a_crash_loop_backs_off_and_is_told() {
    let primary = Setup::new(2).run(&["sh", "-c", "exit 3"]);
    let message = primary.wait_warning(WarningReason::CrashLoop);
    assert!(message.contains("exit code 3"), "{message}");
    let stats = primary.stats();
    assert!(stats.deaths.never_ready >= 3 && stats.workers.ready == 0, "{stats:?}");
    assert_eq!(primary.ask("/readyz").unwrap().0, 503);
    assert_eq!(primary.ask("/livez").unwrap().0, 200, "the primary itself is well");
}

#[test]
fn a_command_that_is_not_there_is_told_to_the_operator() {
    let primary = Setup::new(1).run(&["no-such-program"]);
    let message = primary.wait_warning(WarningReason::CommandNotFound);
    assert!(message.contains("no-such-program was not found in PATH"), "{message}");
    assert_eq!(primary.stats().slots[0].state, SlotState::BackOff);
}

#[test]
fn a_command_that_is_not_there_ends_a_primary_without_operator() {
    for (command, code, words) in
        [("no-such-program", 127, "not found in PATH"), ("/etc/passwd", 126, "not executable")]
    {
        let output = primary(&["-i", "1", "--", command]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_file_that_is_no_program_is_told() {
    let setup = Setup::new(1);
    let file = setup.folder().join("text");
    std::fs::write(&file, "no program\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let primary = setup.run(&[file.to_str().unwrap()]);
    let message = primary.wait_warning(WarningReason::CommandNotFound);
    assert!(message.contains("Exec format error"), "{message}");
}

#[test]
fn wrong_options_end_with_64_before_a_port_is_bound() {
    let port = free_port();
    let output = primary(&["--listen", &format!("127.0.0.1:{port}"), "--drain-seconds", "soon", "--", "sleep", "9"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("--drain-seconds") && text.contains("whole seconds"), "{text}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_primary")).env("WORKERCLUSTER_READY", "never").args(["--", "true"]).output();
    assert_eq!(output.unwrap().status.code(), Some(64), "also from the environment");
}

#[test]
fn a_taken_port_ends_with_71_and_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for flag in ["--listen", "--admin"] {
        let output = primary(&[flag, &taken.local_addr().unwrap().to_string(), "--", "sleep", "9"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(71), "{text}");
        assert!(text.contains(flag) && text.contains("stop it, or give another port"), "{text}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for (words, expected) in [(["--help"], "WORKERCLUSTER_DRAIN_SECONDS"), (["--version"], env!("CARGO_PKG_VERSION"))] {
        let output = primary(&words);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn every_option_can_come_from_the_environment() {
    let (port, admin) = (free_port(), free_port());
    let primary = Setup::bare(port, admin)
        .env("WORKERCLUSTER_INSTANCES", "2")
        .env("WORKERCLUSTER_LISTEN", &format!("[::]:{port}"))
        .env("WORKERCLUSTER_ADMIN", &format!("[::]:{admin}"))
        .env("WORKERCLUSTER_READY", "Immediate")
        .env("WORKERCLUSTER_IPC", "None")
        .env("WORKERCLUSTER_RESTART_INITIAL_MILLISECONDS", "5000")
        .run(&["python3", &program("inherit.py")]);
    let stats = primary.wait_ready(2);
    assert_eq!(stats.workers.desired, 2);
    primary.request("/");
    send(ready_pids(&stats)[0], Signal::KILL);
    primary.wait_stats("a replacement or a long wait", |stats| {
        stats.workers.restarts == 1 || stats.slots[0].retry_milliseconds.is_some_and(|time| time > 3000)
    });
}

#[test]
fn the_executable_installs_itself() {
    let folder = std::env::temp_dir().join(format!("primary-install-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dir = folder.to_str().unwrap();
    for _ in 0..2 {
        assert!(primary(&["install", dir]).status.success(), "also over itself");
    }
    let copy = folder.join("primary");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o755);
    assert!(Command::new(&copy).arg("--version").output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(primary(&["install", dir]).status.code(), Some(71));
}

#[test]
fn signals_are_passed_on_to_workers() {
    let script = "trap 'echo got-hup' HUP; trap 'echo got-usr1' USR1; trap 'echo got-usr2' USR2; echo up; while :; do sleep 0.02; done";
    let primary = Setup::new(2).run(&["sh", "-c", script]);
    primary.wait_ready(2);
    for (signal, word) in [(Signal::HUP, "got-hup"), (Signal::USR1, "got-usr1"), (Signal::USR2, "got-usr2")] {
        primary.signal(signal);
        wait_for(word, || if primary.out().matches(word).count() == 2 { Ok(()) } else { Err(primary.out()) });
    }
}
