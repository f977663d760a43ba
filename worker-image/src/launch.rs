//! Forks one worker: its environment, what it inherits, and the ends of it that the primary keeps.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::process::Rlimit;

use crate::command::resolve;
use crate::config::ENV_PREFIX;
use crate::ipc::channel;
use crate::kernel::{FIRST_INHERITED_FD, Forked, Program, fork};
use crate::machine::Exit;

/// Variables that speak to the primary itself, or that it sets for workers.
const OWN_VARIABLES: [&str; 9] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
];

/// Added to the primary's `oom_score_adj` for workers, so that the kernel takes a worker before the primary.
const OOM_SCORE_RAISE: i32 = 100;

/// The kernel's largest `oom_score_adj`.
const OOM_SCORE_MAX: i32 = 1000;

/// What is the same for all workers.
pub struct Launcher {
    command: Vec<OsString>,
    arguments: Vec<CString>,
    path: Option<OsString>,
    environment: BTreeMap<OsString, OsString>,
    port: Option<u16>,
    channel: bool,
    oom_score: Option<i32>,
    descriptors: Option<Rlimit>,
    /// Replaces a terminal: workers are not in its foreground and would be stopped when they read from it.
    stdin: Option<OwnedFd>,
}

/// What one worker is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The listening socket that it inherits.
    pub listener: Option<BorrowedFd<'a>>,
    /// Its `PORT`, where it has one of its own.
    pub port: Option<u16>,
    /// Its `NOTIFY_SOCKET`.
    pub notify: Option<&'a str>,
    /// Within what time it is to send `WATCHDOG=1`, if it does at all.
    pub watchdog: Option<Duration>,
}

/// A worker and the primary's ends of it.
pub struct Launched {
    /// The process.
    pub forked: Forked,
    /// The primary's end of Node's channel.
    pub channel: Option<OwnedFd>,
}

impl Launcher {
    /// Takes the environment over, except what is the primary's.
    ///
    /// # Errors
    /// When an argument contains a null byte, which no program can be given.
    pub fn new(command: Vec<OsString>, port: Option<u16>, channel: bool) -> io::Result<Self> {
        let arguments = command.iter().map(|word| Ok(CString::new(word.as_bytes())?)).collect::<io::Result<_>>()?;
        let is_own = |name: &OsStr| {
            name.as_bytes().starts_with(ENV_PREFIX.as_bytes()) || OWN_VARIABLES.iter().any(|own| name == *own)
        };
        let mut environment: BTreeMap<_, _> = std::env::vars_os().filter(|(name, _)| !is_own(name)).collect();
        if let Some(port) = port {
            environment.insert("PORT".into(), port.to_string().into());
        }
        let own_score =
            std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok());
        let oom_score = own_score.map(|own: i32| own.saturating_add(OOM_SCORE_RAISE).min(OOM_SCORE_MAX));
        let null = || {
            rustix::fs::open(
                "/dev/null",
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
        };
        let stdin = if io::stdin().is_terminal() { null().ok() } else { None };
        let path = std::env::var_os("PATH");
        Ok(Self { command, arguments, path, environment, port, channel, oom_score, descriptors: None, stdin })
    }

    /// Workers may have so many descriptors, whatever the primary may: a program that uses `select(2)` breaks with more than it knows.
    pub fn limit_descriptors(&mut self, limit: Rlimit) {
        self.descriptors = Some(limit);
    }

    /// Whether workers get Node's channel.
    pub fn gives_channel(&self) -> bool {
        self.channel
    }

    /// The port that workers are told.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Forks a worker for a slot (numbered from 1).
    ///
    /// # Errors
    /// The command cannot be found, or the kernel gives no process or descriptor: words for the user.
    pub fn launch(&self, slot: u32, given: &Given<'_>) -> Result<Launched, Exit> {
        let name = self.command.first().map(OsString::as_os_str).unwrap_or_default();
        let file = resolve(name, self.path.as_deref()).map_err(|error| Exit::NotExecuted(error.to_string()))?;
        let refused = |error: &io::Error| Exit::NotExecuted(format!("the system gives no process: {error}"));
        let file = CString::new(file.into_os_string().as_bytes()).map_err(|error| refused(&error.into()))?;
        let channel = if self.channel { Some(channel::pair().map_err(|error| refused(&error))?) } else { None };

        let mut own: Vec<(&str, String)> = Vec::new();
        let mut inherited: Vec<BorrowedFd<'_>> = Vec::new();
        if let Some(listener) = given.listener {
            inherited.push(listener);
            own.push(("LISTEN_FDS", "1".to_string()));
            own.push(("LISTEN_FDNAMES", "http".to_string()));
        }
        if let Some(port) = given.port {
            own.push(("PORT", port.to_string()));
        }
        if let Some(notify) = given.notify {
            own.push(("NOTIFY_SOCKET", notify.to_string()));
            if let Some(watchdog) = given.watchdog {
                own.push(("WATCHDOG_USEC", watchdog.as_micros().to_string()));
            }
        }
        if let Some((_, theirs)) = &channel {
            let offset = i32::try_from(inherited.len()).unwrap_or_default();
            own.push(("NODE_CHANNEL_FD", (FIRST_INHERITED_FD + offset).to_string()));
            own.push(("NODE_CHANNEL_SERIALIZATION_MODE", "json".to_string()));
            own.push(("NODE_UNIQUE_ID", slot.to_string()));
            inherited.push(theirs.as_fd());
        }
        let program = Program::new(file, self.arguments.clone(), self.environment_with(&own))
            .announcing_pid(given.listener.is_some())
            .with_descriptors(self.descriptors)
            .with_oom_score(self.oom_score);
        let forked =
            fork(&program, &inherited, self.stdin.as_ref().map(AsFd::as_fd)).map_err(|error| refused(&error))?;
        Ok(Launched { forked, channel: channel.map(|(ours, _)| ours) })
    }

    fn environment_with(&self, own: &[(&str, String)]) -> Vec<CString> {
        let replaced = |name: &OsStr| own.iter().any(|(own, _)| name == *own);
        let inherited = self.environment.iter().filter(|(name, _)| !replaced(name));
        let inherited = inherited.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let own = own.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        inherited.chain(own).filter_map(|(name, value)| CString::new([name, b"=", value].concat()).ok()).collect()
    }
}
