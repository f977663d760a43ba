//! Requests that the primary takes itself, with workers of every kind: who gets them, and that none is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use primary_protocol::WarningReason;
use rustix::process::Signal;

use crate::control::ctl;
use crate::harness::{PATIENCE, Primary, Setup, get, program, ready_pids, send, wait_for};

fn queued(count: u32, options: &[(&str, &str)], words: &[&str]) -> (String, Primary) {
    let setup = Setup::new(count).option("--balancing", "queue");
    let name = format!("queue-{}", setup.port);
    let setup = options.iter().fold(setup.option("--name", &name), |setup, (name, value)| setup.option(name, value));
    let primary = setup.run(words);
    primary.wait_ready(count);
    (name, primary)
}

/// Clients that ask until they are told to stop, each over a connection that it keeps for as long as it is left to it. None sends a request twice.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(port: u16, clients: u32, path: &'static str) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let client = |_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    let mut open = connection.take().map_or_else(|| connect(port), Ok)?;
                    let goes_on = ask(&mut open, path)?;
                    answered.fetch_add(1, Ordering::Relaxed);
                    connection = goes_on.then_some(open);
                }
                Ok(())
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, answered, clients }
    }

    fn wait_for(&self, more: u32) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_for("answers", || {
            let now = self.answered.load(Ordering::Relaxed);
            if now >= before + more || self.clients.iter().any(JoinHandle::is_finished) { Ok(()) } else { Err(now) }
        });
    }

    fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect()
    }
}

fn connect(port: u16) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Ok(BufReader::new(stream))
}

/// Asks once. Says whether the connection goes on.
fn ask(connection: &mut BufReader<TcpStream>, path: &str) -> Result<bool, String> {
    let told = |error: std::io::Error| error.to_string();
    connection.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).map_err(told)?;
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line).map_err(told)? == 0 {
            return Err(format!("the connection ended after {head:?}"));
        }
        head += &line;
    }
    let head = head.to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(head);
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    match field("content-length") {
        Some(length) => {
            let mut body = vec![0; length.parse().unwrap()];
            connection.read_exact(&mut body).map_err(told)?;
        }
        None => loop {
            line.clear();
            connection.read_line(&mut line).map_err(told)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|error| format!("{line:?}: {error}"))?;
            connection.read_exact(&mut vec![0; size + 2]).map_err(told)?;
            if size == 0 {
                break;
            }
        },
    }
    Ok(field("connection") != Some("close"))
}

#[test]
fn a_program_of_any_kind_is_served_whether_it_inherits_listens_or_speaks_nodes_protocol() {
    for words in [
        ["node", &program("cluster.js")],
        ["node", &program("plain.js")],
        ["python3", &program("inherit.py")],
        ["python3", &program("own.py")],
    ] {
        let (_, primary) = queued(2, &[], &words);
        primary.different_answers(2);
    }
}

#[test]
fn a_node_program_without_the_channel_listens_on_the_port_that_is_kept_for_it() {
    let (_, primary) = queued(2, &[("--ipc", "none")], &["node", &program("plain.js")]);
    primary.different_answers(2);
}

#[test]
fn where_all_places_for_clients_are_taken_those_that_ask_for_nothing_give_way_and_nobody_is_turned_away() {
    // Descriptors for 22 clients.
    let setup = Setup::new(1).option("--balancing", "queue").descriptors(300);
    let primary = setup.run(&["node", &program("cluster.js")]);
    let worker = ready_pids(&primary.wait_ready(1))[0];
    let mut idle: Vec<_> = (0..22).map(|_| connect(primary.port).unwrap()).collect();
    for connection in &mut idle {
        assert!(ask(connection, "/").unwrap(), "it is kept");
    }
    let begun = Instant::now();
    assert_eq!(get(primary.port, "/", PATIENCE).unwrap().0, 200);
    assert!(begun.elapsed() < PATIENCE / 2, "and not because one was idle for too long");
    drop(idle);
    // All places busy, and more wait than there are.
    send(worker, Signal::STOP);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut connection = connect(primary.port).unwrap();
            std::thread::spawn(move || ask(&mut connection, "/").map(|_| connection))
        })
        .collect();
    wait_for("all places are taken", || {
        let requests = primary.stats().requests.unwrap();
        let there = requests.in_flight + requests.waiting;
        if there >= 22 { Ok(()) } else { Err(there) }
    });
    send(worker, Signal::CONT);
    let answered: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(answered.iter().all(Result::is_ok), "{answered:?}");
}

#[test]
fn a_worker_that_closes_its_server_and_lives_gets_no_more_requests() {
    let (_, primary) = queued(2, &[], &["node", &program("closes.js")]);
    let closed = get(primary.port, "/close", PATIENCE).unwrap();
    for _ in 0..20 {
        assert_ne!(get(primary.port, "/", PATIENCE).unwrap(), closed, "nobody accepts there");
    }
    assert_eq!(ready_pids(&primary.stats()).len(), 2, "its process lives");
}

#[test]
fn a_worker_that_is_busy_holds_up_nobody() {
    let (_, primary) = queued(2, &[("--max-in-flight-per-worker", "1")], &["node", &program("cluster.js")]);
    let stopped = primary.stats().slots[0].pid.unwrap();
    send(stopped, Signal::STOP);
    let port = primary.port;
    let held = std::thread::spawn(move || get(port, "/", PATIENCE));
    primary.wait_stats("a request at the one that stands still", |stats| stats.workers.busy == Some(1));
    for _ in 0..20 {
        let answer = primary.request("/");
        assert!(!answer.contains(&stopped.to_string()), "{answer}");
    }
    send(stopped, Signal::CONT);
    assert_eq!(held.join().unwrap().unwrap().0, 200);
}

#[test]
fn a_worker_that_speaks_tls_is_told_of_to_clients_and_to_its_user() {
    let (_, primary) = queued(2, &[], &["node", &program("tls.js")]);
    let (status, body) = get(primary.port, "/", PATIENCE).unwrap();
    assert!(status == 502 && body.contains("The worker speaks TLS") && body.contains("Shared"), "{status} {body}");
    let message = primary.wait_warning(WarningReason::TlsBehindQueue);
    assert!(message.contains("plain HTTP"), "{message}");
}

#[test]
fn an_answer_that_only_the_end_of_its_connection_ends_is_not_whole_when_its_worker_was_killed() {
    let (_, primary) = queued(1, &[], &["node", &program("raw.js")]);
    let ask = |path: &str| {
        let mut connection = connect(primary.port).unwrap();
        connection.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"0\r\n\r\n") && connection.read(&mut byte).is_ok_and(|count| count > 0) {
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    let whole = ask("/whole");
    assert!(whole.ends_with("9\r\nall of it\r\n0\r\n\r\n"), "{whole}");
    let cut = ask("/cut");
    assert!(cut.ends_with("6\r\na part\r\n"), "{cut}");
    wait_for("the death to be counted", || {
        let cut = primary.stats().requests.unwrap().cut;
        if cut == 1 { Ok(()) } else { Err(cut) }
    });
}

#[test]
fn workers_that_are_killed_under_load_cost_no_request() {
    let (_, primary) = queued(3, &[], &["node", &program("cluster.js")]);
    let load = Load::start(primary.port, 8, "/");
    for round in 0..5 {
        load.wait_for(50);
        // A worker that was ready for less is not replaced at once.
        std::thread::sleep(Duration::from_millis(1100));
        let ready = ready_pids(&primary.wait_ready(3));
        send(ready[round % 3], Signal::KILL);
    }
    load.wait_for(50);
    assert_eq!(load.failures(), Vec::<String>::new());
    assert_eq!(primary.wait_ready(3).workers.restarts, 5);
}

#[test]
fn a_reload_under_load_costs_no_request_and_no_busy_worker_is_told() {
    for words in [["node", &program("cluster.js")], ["python3", &program("own.py")]] {
        let (name, primary) = queued(2, &[], &words);
        let load = Load::start(primary.port, 6, "/?wait=20");
        load.wait_for(20);
        assert!(ctl(&name, &["reload"]).status.success());
        load.wait_for(20);
        assert_eq!(load.failures(), Vec::<String>::new(), "{words:?}");
        assert_eq!(primary.stats().replaced.reloaded, 2);
    }
}

#[test]
fn at_the_end_everybody_who_waits_is_answered() {
    // A program that does not know SIGTERM and would die in the middle of an answer.
    for words in [["python3", &program("own.py")], ["node", &program("cluster.js")]] {
        let (_, mut primary) = queued(2, &[("--max-in-flight-per-worker", "1")], &words);
        let port = primary.port;
        let clients: Vec<_> = (0..100).map(|_| std::thread::spawn(move || get(port, "/?wait=10", PATIENCE))).collect();
        primary.wait_stats("requests that wait", |stats| stats.workers.busy.is_some_and(|busy| busy > 0));
        primary.signal(Signal::TERM);
        for client in clients {
            let answer = client.join().unwrap();
            // Who comes when the door is closed is not let in.
            let refused = answer.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            assert!(refused || answer.as_ref().is_ok_and(|(code, _)| *code == 200), "{words:?}: {answer:?}");
        }
        assert_eq!(primary.wait_end().code(), Some(0));
    }
}

#[test]
fn a_drained_worker_gets_no_request() {
    let (name, primary) = queued(2, &[], &["node", &program("cluster.js")]);
    let drained = primary.stats().slots[1].pid.unwrap();
    assert!(ctl(&name, &["drain", "2"]).status.success());
    for _ in 0..20 {
        let answer = primary.request("/");
        assert!(!answer.contains(&drained.to_string()), "{answer}");
    }
    wait_for("the end of the drained worker", || if crate::harness::runs(drained) { Err(drained) } else { Ok(()) });
    assert!(ctl(&name, &["undrain", "2"]).status.success());
    primary.wait_ready(2);
    primary.different_answers(2);
}

/// A connection of another protocol, and the worker that has it.
fn upgraded(port: u16) -> Result<(BufReader<TcpStream>, u32), String> {
    let mut connection = connect(port)?;
    let asks = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    connection.get_mut().write_all(asks).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    while !lines.last().is_some_and(String::is_empty) {
        lines.push(next_line(&mut connection)?);
    }
    if !lines.first().is_some_and(|line| line.starts_with("HTTP/1.1 101 ")) {
        return Err(format!("{lines:?}"));
    }
    let pid = next_line(&mut connection)?;
    Ok((connection, pid.parse().map_err(|error| format!("{pid}: {error}"))?))
}

fn next_line(connection: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = String::new();
    match connection.read_line(&mut line) {
        Ok(0) => Err("the connection ended".to_string()),
        Ok(_) => Ok(line.trim_end().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_thousand_websockets_stay_through_a_reload_until_their_workers_end_and_come_again_at_once() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let (name, primary) = queued(2, &[("--drain-seconds", "6")], &["node", &program("upgrade.js")]);
    let before = ready_pids(&primary.stats());
    let mut open: Vec<_> = (0..1000).map(|_| upgraded(primary.port).unwrap()).collect();
    let seen =
        primary.wait_stats("1000 upgraded", |stats| stats.requests.as_ref().is_some_and(|all| all.upgraded == 1000));
    assert_eq!(seen.requests.unwrap().in_flight, 0, "they take no request's place");
    assert!(ctl(&name, &["reload", "--at-once", "2", "--no-wait"]).status.success());
    let fresh = |stats: &primary_protocol::Stats| ready_pids(stats).iter().all(|pid| !before.contains(pid));
    primary.wait_stats("fresh workers", |stats| stats.workers.ready == 2 && fresh(stats));
    for (connection, _) in &mut open {
        connection.get_mut().write_all(b"still here\n").unwrap();
    }
    for (connection, pid) in &mut open {
        assert_eq!(
            next_line(connection).as_deref(),
            Ok("still here"),
            "worker {pid} was to serve it until its time is over"
        );
    }
    // At the end of the drain time their workers end, and so do they; who comes again has a fresh one.
    for (connection, pid) in &mut open {
        assert!(next_line(connection).is_err() && before.contains(pid));
    }
    for _ in 0..1000 {
        let (_, pid) = upgraded(primary.port).unwrap();
        assert!(!before.contains(&pid));
    }
}

/// Asks with a cookie. Gives the body, and the cookie that is set.
fn with_cookie(connection: &mut BufReader<TcpStream>, path: &str, cookie: &str) -> (String, Option<String>) {
    let asks = format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    connection.get_mut().write_all(asks.as_bytes()).unwrap();
    let (mut head, mut line) = (Vec::new(), next_line(connection).unwrap());
    while !line.is_empty() {
        head.push(line);
        line = next_line(connection).unwrap();
    }
    let mut body = String::new();
    let size = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    match size {
        Some(size) => {
            let mut bytes = vec![0; size];
            connection.read_exact(&mut bytes).unwrap();
            body.push_str(&String::from_utf8_lossy(&bytes));
        }
        None => loop {
            let size = usize::from_str_radix(&next_line(connection).unwrap(), 16).unwrap();
            let mut bytes = vec![0; size + 2];
            connection.read_exact(&mut bytes).unwrap();
            body.push_str(&String::from_utf8_lossy(&bytes[..size]));
            if size == 0 {
                break;
            }
        },
    }
    let cookie = head.iter().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next().map(str::to_owned));
    (body, cookie)
}

#[test]
fn ten_thousand_requests_of_a_client_come_to_its_worker_for_as_long_as_it_lives() {
    let (_, primary) = queued(4, &[("--affinity-cookie", "to")], &["node", &program("cluster.js")]);
    let mut connection = connect(primary.port).unwrap();
    let (first, cookie) = with_cookie(&mut connection, "/", "other=1");
    let cookie = cookie.unwrap();
    let mut moved = 0;
    for _ in 0..10_000 {
        let (body, new) = with_cookie(&mut connection, "/", &cookie);
        moved += u32::from(body != first || new.is_some());
    }
    assert_eq!(moved, 0);
    // Another client's worker dies, and this one's does not.
    let its = primary.stats().slots.iter().filter_map(|slot| slot.pid).find(|pid| first.contains(&pid.to_string()));
    let other = ready_pids(&primary.stats()).into_iter().find(|pid| Some(*pid) != its).unwrap();
    send(other, Signal::KILL);
    assert_eq!(with_cookie(&mut connection, "/", &cookie), (first.clone(), None));
    send(its.unwrap(), Signal::KILL);
    let (body, new) = with_cookie(&mut connection, "/", &cookie);
    assert!(body != first && new.is_some_and(|new| new != cookie), "{body}");
}

#[test]
fn a_worker_that_is_idle_while_others_wait_for_another_is_not_hung() {
    let options = [("--affinity-cookie", "to"), ("--max-in-flight-per-worker", "1"), ("--hang-timeout-seconds", "3")];
    let (_, primary) = queued(2, &options, &["node", &program("cluster.js")]);
    let before = ready_pids(&primary.stats());
    let (_, cookie) = with_cookie(&mut connect(primary.port).unwrap(), "/", "other=1");
    let cookie = cookie.unwrap();
    // One after another, since its worker takes one at a time: others wait for it for twice as long as a hang takes.
    let clients = [(); 7].map(|()| {
        let (port, cookie) = (primary.port, cookie.clone());
        std::thread::spawn(move || with_cookie(&mut connect(port).unwrap(), "/?wait=1000", &cookie).0)
    });
    let answers = clients.map(|client| client.join().unwrap());
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(ready_pids(&primary.stats()), before, "{}", primary.log());
}

#[test]
fn a_worker_that_takes_no_connection_any_more_is_hung_while_somebody_waits() {
    for words in [["python3", &program("own.py")], ["node", &program("closes.js")]] {
        let options = [("--hang-timeout-seconds", "3"), ("--max-in-flight-per-worker", "1")];
        let (_, primary) = queued(2, &options, &words);
        let load = Load::start(primary.port, 4, "/slow");
        let first = primary.request(if words[0] == "node" { "/close" } else { "/refuse" });
        let first: u32 = first.trim().parse().unwrap();
        // The other serves, and is not enough for all.
        primary.wait_stats("another in its place", |stats| {
            let ready = ready_pids(stats);
            ready.len() == 2 && !ready.contains(&first)
        });
        primary.wait_log(&format!("worker {first} has used no processor time and moved no byte with work waiting for"));
        let failures = load.failures();
        assert!(failures.is_empty(), "{failures:?}");
    }
}
