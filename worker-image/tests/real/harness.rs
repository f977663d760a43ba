//! Starts primaries, asks them, and waits with a deadline.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use primary_protocol::{SlotState, Stats, WarningReason};
use rustix::net::sockopt;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine with two processors.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A program of `tests/programs`.
pub fn program(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name).display().to_string()
}

/// A port that is free now, below those that the kernel gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 18_000).unwrap();
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| TcpListener::bind(("0.0.0.0", port))).is_ok() {
            return port;
        }
    }
}

/// Waits until `look` gives something; what it gives as an error is shown when it never does.
pub fn wait_for<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("waited {PATIENCE:?} for {what}, and saw: {seen:?}"),
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

/// How a primary is to be started.
pub struct Setup {
    command: Command,
    pub port: u16,
    pub admin: u16,
    folder: PathBuf,
}

impl Setup {
    /// A primary with a port for its workers and one for us.
    pub fn new(count: u32) -> Self {
        let (port, admin) = (free_port(), free_port());
        Self::bare(port, admin)
            .option("--instances", &count.to_string())
            .option("--listen", &format!("[::]:{port}"))
            .option("--admin", &format!("127.0.0.1:{admin}"))
    }

    /// A primary with only what the test gives it.
    pub fn bare(port: u16, admin: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("primary-test-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
        command.stdin(Stdio::null()).current_dir(&folder).args(["--log-format", "plain"]);
        Self { command, port, admin, folder }
    }

    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With so many descriptors at the most.
    pub fn descriptors(mut self, count: u32) -> Self {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")]);
        limited
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::null())
            .current_dir(&self.folder);
        self.command = limited;
        self
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it with the workers' command.
    pub fn run(mut self, words: &[&str]) -> Primary {
        self.command.arg("--").args(words);
        self.run_configured()
    }

    /// Starts it with the command that its configuration has.
    pub fn run_configured(mut self) -> Primary {
        let (out, log) = (self.folder.join("out"), self.folder.join("log"));
        self.command.stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        let child = self.command.spawn().unwrap();
        Primary { child, port: self.port, admin: self.admin, folder: self.folder, ended: None }
    }
}

/// A running primary; killed at the end of the test, and its output shown if that failed.
pub struct Primary {
    child: Child,
    pub port: u16,
    admin: u16,
    folder: PathBuf,
    ended: Option<ExitStatus>,
}

impl Primary {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn out(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Asks the admin server; gives code and body.
    pub fn ask(&self, path: &str) -> io::Result<(u16, String)> {
        get(self.admin, path, PATIENCE)
    }

    pub fn stats(&self) -> Stats {
        wait_for("stats", || {
            let (_, body) = self.ask("/v1/stats").map_err(|error| error.to_string())?;
            serde_json::from_str::<Stats>(&body).map_err(|error| format!("{error}: {body}"))
        })
    }

    /// Waits until the stats are as wanted.
    pub fn wait_stats(&self, what: &str, wanted: impl Fn(&Stats) -> bool) -> Stats {
        wait_for(what, || {
            let stats = self.stats();
            if wanted(&stats) { Ok(stats) } else { Err(Box::new(stats)) }
        })
    }

    pub fn wait_ready(&self, count: u32) -> Stats {
        self.wait_stats(&format!("{count} ready workers"), |stats| stats.workers.ready == count)
    }

    pub fn wait_warning(&self, reason: WarningReason) -> String {
        let stats = self.wait_stats("a warning", |stats| stats.warnings.iter().any(|warning| warning.reason == reason));
        stats.warnings.into_iter().find(|warning| warning.reason == reason).unwrap().message
    }

    /// Waits for a line in the log.
    pub fn wait_log(&self, text: &str) {
        wait_for(text, || if self.log().contains(text) { Ok(()) } else { Err(self.log()) });
    }

    /// Asks a worker over a new connection, until one answers.
    pub fn request(&self, path: &str) -> String {
        wait_for("an answer", || match get(self.port, path, PATIENCE) {
            Ok((200, body)) => Ok(body),
            other => Err(format!("{other:?}")),
        })
    }

    /// Asks until `count` different answers came.
    pub fn different_answers(&self, count: usize) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        wait_for(&format!("{count} different answers"), || {
            seen.insert(self.request("/"));
            if seen.len() == count { Ok(()) } else { Err(seen.clone()) }
        });
        seen.into_iter().collect()
    }

    /// Waits for its end.
    pub fn wait_end(&mut self) -> ExitStatus {
        let status = wait_for("the end of the primary", || self.child.try_wait().unwrap().ok_or("it runs"));
        self.ended = Some(status);
        status
    }

    /// The children of the primary that have ended and were not collected.
    pub fn zombies(&self) -> Vec<u32> {
        let children = children_of(self.pid());
        children.into_iter().filter(|(_, state)| state == "Z").map(|(pid, _)| pid).collect()
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log\n{}--- output of workers\n{}---", self.log(), self.out());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The process ids of the ready workers.
pub fn ready_pids(stats: &Stats) -> Vec<u32> {
    stats.slots.iter().filter(|slot| slot.state == SlotState::Ready).filter_map(|slot| slot.pid).collect()
}

pub fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Whether a process exists and has not ended.
pub fn runs(pid: u32) -> bool {
    process_state(pid).is_some_and(|(state, _)| state != "Z")
}

fn process_state(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

fn children_of(parent: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| process_state(pid).filter(|(_, of)| *of == parent).map(|(state, _)| (pid, state))).collect()
}

/// One HTTP exchange over a new connection: code and body. It ends with a reset once the answer is there: thousands of connections would stay
/// behind in the kernel for a minute (`TIME_WAIT`), and whoever looks for a socket there looks through all of them.
pub fn get(port: u16, path: &str, patience: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no answer: {answer:?}")))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { body.split("\r\n").skip(1).step_by(2).collect() } else { body.to_string() };
    Ok((code.ok_or_else(|| io::Error::other("no code"))?, body))
}
