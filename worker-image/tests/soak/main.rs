//! An hour, or `SOAK_SECONDS`, of kills, stops, leaks, reloads and changes of the number of workers, at random from `SOAK_SEED`, under load: nothing
//! of the primary may grow, nobody may be left behind, and there are never fewer ready workers than what was done to them explains. Behind the queue
//! no request fails either, at seven tenths of what two processors can do, also for clients that keep their connections and send nothing twice.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // this crate is a test, also where its helpers are no #[test]

#[path = "../real/harness.rs"]
#[allow(dead_code)] // what the other tests need of it
mod harness;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{PATIENCE, Primary, Setup, get, program, ready_pids};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A worker that was killed has a successor that is ready within this time, on a busy machine too.
const RECOVERS: Duration = Duration::from_secs(10);

/// A worker that stands still is found out after the hang time, killed five seconds later, and replaced.
const FOUND_OUT: Duration = Duration::from_secs(5 + 5 + 10);

/// So often the primary looks at what it may use.
const FOLLOWS: Duration = Duration::from_secs(5);

/// The first part of the time is for caches to fill; what is compared comes after it.
const WARM: f64 = 0.2;

/// What the primary holds may differ by so much between the beginning and the end: an allocator's own affair.
const GROWTH_KIB: u64 = 1024;

/// splitmix64
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % limit
    }
}

fn number(name: &str, standard: u64) -> u64 {
    std::env::var(name).map_or(standard, |text| text.parse().unwrap())
}

/// Resident KiB, and descriptors.
fn held(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (resident.unwrap(), u64::try_from(descriptors).unwrap())
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Clients that ask for ever.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

/// How a client asks, and how often.
#[derive(Clone, Copy)]
struct Manner {
    path: &'static str,
    keeps: bool,
    every: Duration,
}

impl Load {
    fn start(port: u16, manners: &[Manner]) -> Self {
        let (stop, served, failed) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let clients = manners.iter().copied().map(|manner| {
            let (stop, served, failed) = (stop.clone(), served.clone(), failed.clone());
            std::thread::spawn(move || {
                let mut kept = None;
                while !stop.load(Ordering::Relaxed) {
                    let due = Instant::now() + manner.every;
                    let good = if manner.keeps {
                        ask_on(port, manner.path, &mut kept).map_err(|why| println!("failed: {why}")).is_ok()
                    } else {
                        get(port, manner.path, PATIENCE).is_ok_and(|(code, _)| code == 200)
                    };
                    if good { &served } else { &failed }.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(due.saturating_duration_since(Instant::now())); // a rhythm
                }
            })
        });
        let clients = clients.collect();
        Self { stop, served, failed, clients }
    }
}

/// One request on the connection that there is, or a new one, sent once.
fn ask_on(port: u16, path: &str, kept: &mut Option<BufReader<TcpStream>>) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut connection = if let Some(connection) = kept.take() {
        connection
    } else {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(told)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        BufReader::new(stream)
    };
    connection.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n").as_bytes()).map_err(told)?;
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line).map_err(told)? == 0 {
            return Err(format!("the connection ended after {head:?}"));
        }
        head += &line.to_ascii_lowercase();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.ok_or_else(|| format!("no length: {head}"))?];
    connection.read_exact(&mut body).map_err(told)?;
    if !head.starts_with("http/1.1 200") {
        return Err(head);
    }
    *kept = Some(connection).filter(|_| !head.contains("connection: close"));
    Ok(())
}

/// What was done to workers, and until when fewer of them may be ready for it.
#[derive(Default)]
struct Excuses(VecDeque<(Instant, &'static str)>);

impl Excuses {
    fn add(&mut self, until: Instant, what: &'static str) {
        self.0.push_back((until, what));
    }

    fn count(&mut self) -> u32 {
        let now = Instant::now();
        self.0.retain(|(until, _)| *until > now);
        u32::try_from(self.0.len()).unwrap()
    }
}

/// What is asked over a connection that stays.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n";

/// A connection whose worker has answered once.
fn asked_once(port: u16) -> Option<TcpStream> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    connection.write_all(REQUEST).ok()?;
    connection.read(&mut [0; 1024]).ok().filter(|read| *read > 0)?;
    Some(connection)
}

/// Has the primary run on one processor, or on all.
fn allow(primary: &Primary, one: bool) {
    let all = sched_getaffinity(None).unwrap();
    let mut processors = all;
    if one {
        let first = (0..CpuSet::MAX_CPU).find(|number| all.is_set(*number)).unwrap();
        processors = CpuSet::new();
        processors.set(first);
    }
    sched_setaffinity(Pid::from_raw(i32::try_from(primary.pid()).unwrap()), &processors).unwrap();
}

fn ctl(name: &str, words: &[&str]) -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_primary")).args(["ctl", "-n", name]).args(words).output().unwrap();
    output.status.success()
}

#[test]
fn nothing_grows_and_nobody_is_missed() {
    let manner = Manner { path: "/", keeps: false, every: Duration::from_millis(20) };
    soak("shared", &[manner; 2], false);
}

/// Each request of `/work` is 5 ms of work.
#[test]
fn nothing_grows_behind_the_queue_and_no_request_fails() {
    let manner = |keeps| Manner { path: "/work", keeps, every: Duration::from_millis(50) };
    let manners: Vec<_> = (0..14).map(|index| manner(index % 2 == 0)).collect();
    soak("queue", &manners, true);
}

fn soak(balancing: &str, manners: &[Manner], no_failure: bool) {
    let (seconds, seed) = (number("SOAK_SECONDS", 3600), number("SOAK_SEED", 1));
    println!("{seconds} s from seed {seed}");
    let mut chance = Chance(seed);
    let setup = Setup::new(4)
        .option("--hang-timeout-seconds", "5")
        .option("--cpu-request-millicores", "64000")
        .option("--recycle-memory", "80Mi")
        .option("--drain-seconds", "5")
        .option("--balancing", balancing);
    let name = format!("soak-{}", setup.port);
    let primary = setup.option("--name", &name).run(&["node", &program("soak.js")]);
    primary.wait_ready(4);
    let load = Load::start(primary.port, manners);
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let (mut excuses, mut kept) = (Excuses::default(), Vec::new());
    let (mut resident, mut descriptors) = (Vec::new(), Vec::new());
    let mut done = std::collections::BTreeMap::<&str, u64>::new();
    let mut fewest: i64 = 0;
    let mut told = Instant::now();
    while begun.elapsed() < length {
        let since = Instant::now();
        let what = act(&primary, &name, &mut chance, &mut excuses, &mut kept);
        *done.entry(what).or_default() += 1;
        let acted = since.elapsed();
        std::thread::sleep(Duration::from_millis(500 + chance.below(1000)));
        let asked = Instant::now();
        let stats = primary.stats();
        if acted + asked.elapsed() > Duration::from_secs(3) {
            println!("[{} s] {what} took {acted:?}, the stats {:?}", begun.elapsed().as_secs(), asked.elapsed());
        }
        // Whoever was killed early a dozen times has to wait, and says until when.
        let waiting = stats.slots.iter().filter(|slot| slot.retry_milliseconds.is_some_and(|left| left > 0)).count();
        let allowed = excuses.count() + u32::try_from(waiting).unwrap();
        let (ready, desired) = (stats.workers.ready, stats.workers.desired);
        let missing = i64::from(ready) - i64::from(desired) + i64::from(allowed);
        assert!(
            missing >= 0,
            "{ready} of {desired} ready, and {allowed} may be missing: {:?}; {:?}",
            excuses.0,
            stats.slots
        );
        fewest = fewest.min(i64::from(ready) - i64::from(desired));
        if begun.elapsed() > length.mul_f64(WARM) {
            let (kib, open) = held(primary.pid());
            resident.push(kib);
            descriptors.push(open);
        }
        if told.elapsed() >= Duration::from_secs(60) {
            println!("[{} s] {done:?}, {:?}", begun.elapsed().as_secs(), held(primary.pid()));
            told = Instant::now();
        }
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in load.clients {
        client.join().unwrap();
    }
    // What was done last is over when all are ready again, and nobody is left who was to go.
    std::thread::sleep(FOUND_OUT);
    let stats = primary.wait_stats("all workers", |stats| {
        stats.workers.ready == stats.workers.desired && stats.workers.running == stats.workers.desired
    });
    harness::wait_for("no zombie", || if primary.zombies().is_empty() { Ok(()) } else { Err(primary.zombies()) });
    let tenth = (resident.len() / 5).max(1);
    let ends = |values: &[u64]| (median(values[..tenth].to_vec()), median(values[values.len() - tenth..].to_vec()));
    let ((before, after), (opened, open)) = (ends(&resident), ends(&descriptors));
    for (what, count) in &done {
        println!("FIGURE {what} = {count}");
    }
    println!("FIGURE restarts, replaced = {}, {:?}", stats.workers.restarts, stats.replaced);
    println!("FIGURE requests answered = {}", load.served.load(Ordering::Relaxed));
    println!("FIGURE requests that failed with the worker that had them = {}", load.failed.load(Ordering::Relaxed));
    println!("FIGURE most workers missing at a time, each with its reason = {}", -fewest);
    println!("FIGURE resident memory of the primary, at the beginning and at the end = {before} KiB, {after} KiB");
    println!("FIGURE descriptors of the primary, at the beginning and at the end = {opened}, {open}");
    println!("FIGURE zombies = {}", primary.zombies().len());
    if let Some(requests) = &stats.requests {
        println!(
            "FIGURE requests given again after a death, died in the middle = {}, {}",
            requests.returned, requests.cut
        );
    }
    assert!(!no_failure || load.failed.load(Ordering::Relaxed) == 0, "requests failed");
    assert!(after <= before + GROWTH_KIB, "the primary grew from {before} to {after} KiB");
    assert!(open <= opened + 8, "descriptors grew from {opened} to {open}"); // connections of the moment
}

/// The worker had left by itself since it was chosen.
const GONE: &str = "signal to nobody";

/// Sends a worker a signal; says whether it was still there.
fn sent(pid: u32, signal: Signal) -> bool {
    match kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => panic!("a signal to {pid}: {error}"),
    }
}

/// Does one thing, and excuses what follows from it.
fn act(
    primary: &Primary,
    name: &str,
    chance: &mut Chance,
    excuses: &mut Excuses,
    kept: &mut Vec<TcpStream>,
) -> &'static str {
    let ready = ready_pids(&primary.stats());
    let victim =
        (!ready.is_empty()).then(|| ready[usize::try_from(chance.below(u64::try_from(ready.len()).unwrap())).unwrap()]);
    let now = Instant::now();
    match (chance.below(13), victim) {
        (0..=3, Some(pid)) => {
            excuses.add(now + RECOVERS, "kill");
            if sent(pid, Signal::KILL) { "SIGKILL" } else { GONE }
        }
        // One at a time: two that stand still are found out together, and the load needs somebody.
        (4, Some(pid)) if !excuses.0.iter().any(|(_, what)| *what == "stop") => {
            excuses.add(now + FOUND_OUT, "stop");
            // A worker that nobody waits for may stand still; so somebody does, whichever worker that is.
            *kept = (0..12).filter_map(|_| asked_once(primary.port)).collect();
            let stopped = sent(pid, Signal::STOP);
            for connection in kept {
                let _ = connection.write_all(REQUEST);
            }
            if stopped { "SIGSTOP" } else { GONE }
        }
        (5..=8, _) => {
            let _ = get(primary.port, "/leak", PATIENCE);
            "leak of 8 MiB"
        }
        (9, _) => {
            ctl(name, &["reload", "--at-once", "2", "--no-wait"]);
            "reload"
        }
        (10, _) => {
            let count = 3 + chance.below(3);
            // Those that are new are not ready at once: on one processor there may have been one until now.
            for _ in u64::from(primary.stats().workers.desired)..count {
                excuses.add(now + RECOVERS, "scale");
            }
            ctl(name, &["scale", &count.to_string()]);
            "scale"
        }
        // As where its container is resized: it follows within five seconds.
        (11, _) => {
            for _ in 0..2 {
                excuses.add(now + FOLLOWS + RECOVERS, "resize");
            }
            ctl(name, &["scale", "max"]);
            allow(primary, chance.below(2) == 0);
            "resize"
        }
        _ => {
            let _ = get(primary.port, "/slow", PATIENCE);
            "slow request"
        }
    }
}
