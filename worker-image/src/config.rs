//! The command line and the environment, parsed whole before anything is opened or forked.

mod args;
mod check;
mod file;
pub mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, ValueEnum};

use primary_protocol::Told;

use crate::cgroup::Cgroups;
use crate::command::{CommandError, Kind};
use crate::control::{Ctl, Place};
use crate::count::Processors;
use crate::import::Import;
use crate::machine::{Adaptive, Backoff, Hang, ReadyRule, Recycle};
use crate::remote::{KEYS_MAX, Key};
use args::{Cli, RunArgs, SubTask};

/// Exit code of a wrong command line or environment (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// The prefix of our variables, which workers do not get to see.
pub const ENV_PREFIX: &str = "WORKERCLUSTER_";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers.
    pub count: Count,
    /// The name in log lines and metrics.
    pub name: Option<String>,
    /// Where workers listen.
    pub listen: Option<SocketAddr>,
    /// How new connections come to workers.
    pub balancing: Balancing,
    /// For so long a fresh worker gets fewer of them.
    pub slow_start: Duration,
    /// With [`Balancing::Queue`].
    pub queue: Queueing,
    /// Where `/livez`, `/readyz`, `/metrics` and `/v1/stats` are.
    pub admin: Option<SocketAddr>,
    /// Where `primary ctl` reaches this primary.
    pub control: Place,
    /// Who may give orders over the network.
    pub control_keys: Vec<Key>,
    /// The pod that such orders are for.
    pub pod_uid: String,
    /// What the operator calls the settings that the primary was started with, and the reload that it was started after.
    pub told: Option<Told>,
    /// Between which numbers the count follows the load.
    pub adaptive: Option<Adaptive>,
    /// When a worker counts as hung.
    pub hang: Option<Hang>,
    /// When a worker gives way to a fresh one.
    pub recycle: Recycle,
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// With [`ReadyRule::Http`]: what it is asked for.
    pub ready_path: String,
    /// See [`ReadyRule::Auto`].
    pub startup: Duration,
    /// Whether workers get Node's channel.
    pub ipc: Ipc,
    /// How long workers may finish what is in flight.
    pub drain: Duration,
    /// Whether Node workers get PM2's message `shutdown` before they are asked to disconnect.
    pub shutdown_message: bool,
    /// Whether Node workers are asked for what they measure with prom-client.
    pub gather: bool,
    /// How long to keep serving after the order to stop.
    pub endpoints_delay: Duration,
    /// Waits between forks.
    pub backoff: Backoff,
    /// The pod's CPU request in thousandths, 0 for none.
    pub cpu_request_millicores: u64,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The user's command; never empty.
    pub command: Vec<OsString>,
}

impl Config {
    /// Whether workers get Node's channel. Whoever has connections passed on says that the program speaks Node's protocol, whatever starts it.
    #[must_use]
    pub fn gives_channel(&self, kind: Kind) -> bool {
        self.balancing == Balancing::Passing || kind.wants_channel(self.ipc)
    }
}

/// What the binary was asked to do.
#[derive(Debug)]
pub enum Task {
    /// Run workers.
    Run(Box<Config>),
    /// Speak with a primary that runs.
    Ctl(Box<Ctl>),
    /// Copy the executable into this folder.
    Install(PathBuf),
    /// Translate a file of another process manager.
    Import(Import),
    /// Say what would be run, and whether it can be.
    Check(Box<Config>),
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As many as the CPU limit allows.
    Auto,
    /// So many.
    Fixed(NonZeroU32),
}

/// Whether workers get Node's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ipc {
    /// If the command is a Node program.
    Auto,
    /// Yes.
    Node,
    /// No.
    None,
}

/// How new connections come to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Balancing {
    /// All workers accept from one socket: whoever is free takes the next.
    Shared,
    /// Each worker has a socket of its own, and the primary says which of them get new connections.
    Steered,
    /// The primary accepts, and hands each connection over Node's channel to a worker, as Node's own cluster module does.
    Passing,
    /// The primary takes requests of HTTP/1.1, and gives each to the worker that is free next.
    Queue,
}

/// How requests are led where the primary takes them ([`Balancing::Queue`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queueing {
    /// So many may be with one worker at a time; `None` for what suits the program: Node serves several at a time, others one.
    pub cap: Option<NonZeroU32>,
    /// So many may wait.
    pub waiting: NonZeroU32,
    /// For so long each.
    pub wait: Duration,
    /// Whether what comes before the primary says who the client is.
    pub trusts: bool,
    /// Paths whose requests are answered together where they are the same.
    pub together: Vec<String>,
    /// Whether they are also where the answer sets a cookie, or is for one.
    pub shares_credentials: bool,
    /// The cookie with which a client comes back to its worker.
    pub cookie: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain on a terminal, JSON elsewhere.
    Auto,
    /// Words.
    Plain,
    /// One JSON object for each line.
    Json,
}

/// Reads the command line and the environment.
///
/// # Errors
/// With clap's message, which names the flag or variable, the cause and what is possible; also for `--help` and
/// `--version`, which are no failures.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let wrong = |message: String| Cli::command().error(clap::error::ErrorKind::ValueValidation, message);
    let given = file::named(&arguments).map(|file| file::read(&file, &Cli::command())).transpose();
    let given = given.map_err(|error| wrong(error.to_string()))?.unwrap_or_default();
    let command = given.defaults_of(Cli::command()).mut_subcommand("check", |check| given.defaults_of(check));
    let matches = command.try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let whole = |mut run: RunArgs| {
        if run.command.is_empty() {
            run.command = given.command;
        }
        match contradiction(&run) {
            Some(message) => Err(wrong(message)),
            None => Ok(Box::new(config(run))),
        }
    };
    match cli.task {
        Some(SubTask::Install { dir }) => Ok(Task::Install(dir)),
        Some(SubTask::ImportPm2 { file, env, output: folder }) => Ok(Task::Import(Import { file, env, folder })),
        Some(SubTask::Ctl(args)) => Ok(Task::Ctl(Box::new(args.into()))),
        Some(SubTask::Check(run)) => whole(*run).map(Task::Check),
        None => whole(cli.run).map(Task::Run),
    }
}

/// What is wrong with options that are each right by itself.
fn contradiction(run: &RunArgs) -> Option<String> {
    let port = |address: Option<SocketAddr>| address.map(|address| address.port());
    if run.command.is_empty() {
        return Some("no COMMAND: say what to run after `--`, as in `primary -i 2 -- node server.js`".to_string());
    }
    if port(run.listen) == Some(0) {
        return Some(
            "--listen needs a port: port 0 would be another one at every start; give one from 1 to 65535".to_string(),
        );
    }
    if run.listen.is_some() && port(run.listen) == port(run.admin) {
        return Some("--listen and --admin have the same port: give --admin another one, as 9180".to_string());
    }
    if run.control_keys.len() > KEYS_MAX {
        return Some(format!("--control-keys has {} keys: give {KEYS_MAX} at the most", run.control_keys.len()));
    }
    if !run.control_keys.is_empty() && (run.pod_uid.is_empty() || run.admin.is_none()) {
        return Some(
            "--control-keys needs --admin, where orders come in, and --pod-uid, which they have to name".to_string(),
        );
    }
    if run.balancing == Balancing::Queue && run.listen.is_none() {
        return Some("--balancing queue needs --listen: where the primary takes requests".to_string());
    }
    if ReadyRule::from(run.ready) == ReadyRule::Http && run.balancing != Balancing::Queue {
        return Some(
            "--ready http needs --balancing queue: otherwise a request cannot be sent to one worker".to_string(),
        );
    }
    if run.recycle_requests.is_some() && run.balancing != Balancing::Queue {
        return Some(
            "--recycle-requests needs --balancing queue: otherwise nobody counts a worker's requests".to_string(),
        );
    }
    if run.balancing != Balancing::Queue && !run.single_flight.is_empty() {
        return Some(
            "--single-flight needs --balancing queue: otherwise nobody sees that two requests are the same".to_string(),
        );
    }
    if run.share_credentials && run.single_flight.is_empty() {
        return Some(
            "--share-credentials needs --single-flight: it says of which paths answers are shared".to_string(),
        );
    }
    if run.balancing != Balancing::Queue && run.affinity_cookie.is_some() {
        return Some("--affinity-cookie needs --balancing queue: otherwise a connection comes to any worker, whatever its requests say".to_string());
    }
    if run.balancing == Balancing::Steered && run.listen.is_none() {
        return Some("--balancing steered needs --listen: only of a port that the primary opens it can open a socket for each worker".to_string());
    }
    if !run.slow_start_seconds.is_zero() && run.balancing != Balancing::Steered {
        return Some("--slow-start-seconds needs --balancing steered: otherwise whoever is free takes the next connection, and a fresh worker as many as it can".to_string());
    }
    if run.balancing == Balancing::Passing && run.ipc == Ipc::None {
        return Some("--balancing passing needs Node's channel, over which connections are handed: leave out --ipc none, or use --balancing shared".to_string());
    }
    if run.restart_initial_milliseconds > run.restart_max_seconds {
        return Some(format!(
            "--restart-initial-milliseconds ({}) is more than --restart-max-seconds ({}): lower the first or raise \
             the second",
            run.restart_initial_milliseconds.as_millis(),
            run.restart_max_seconds.as_secs()
        ));
    }
    None
}

fn config(run: RunArgs) -> Config {
    Config {
        count: run.instances,
        name: run.name,
        listen: run.listen,
        balancing: run.balancing,
        slow_start: run.slow_start_seconds,
        queue: Queueing {
            cap: run.max_in_flight_per_worker,
            waiting: run.queue_max_waiting,
            wait: run.queue_max_wait_seconds,
            trusts: run.trust_forwarded,
            together: run.single_flight,
            shares_credentials: run.share_credentials,
            cookie: run.affinity_cookie,
        },
        admin: run.admin,
        control: run.control,
        told: (!run.control_keys.is_empty()).then_some(Told {
            revision: run.config_revision,
            reload: run.reload_id,
            peers: None,
            peers_age_milliseconds: None,
        }),
        control_keys: run.control_keys,
        pod_uid: run.pod_uid,
        adaptive: run.adaptive,
        hang: run.hang_timeout_seconds.map(|after| Hang { after, signal: run.hang_signal }),
        recycle: Recycle {
            memory: run.recycle_memory,
            container_percent: Some(run.recycle_container_percent).filter(|percent| *percent < 100),
            age: run.recycle_age_seconds,
            requests: run.recycle_requests.map(NonZeroU64::get),
        },
        ready: run.ready.into(),
        ready_path: run.ready_path,
        startup: run.startup_seconds,
        ipc: run.ipc,
        drain: run.drain_seconds,
        shutdown_message: run.shutdown_message,
        gather: run.worker_metrics.is_some(),
        endpoints_delay: run.endpoints_delay_seconds,
        backoff: Backoff {
            initial: run.restart_initial_milliseconds,
            max: run.restart_max_seconds,
            reset_after: run.restart_reset_after_seconds,
        },
        cpu_request_millicores: run.cpu_request_millicores,
        log_format: run.log_format,
        command: run.command,
    }
}

/// What would be run, in words.
///
/// # Errors
/// Where the command cannot be started.
pub fn report(config: &Config) -> Result<String, CommandError> {
    let processors = Processors::of_this_process(&Cgroups::of_this_process(), config.cpu_request_millicores);
    check::report(config, processors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{self, Document, Watched};

    fn parsed(words: &[&str]) -> Result<Task, clap::Error> {
        parse(std::iter::once("primary").chain(words.iter().copied()).map(OsString::from))
    }

    fn config(words: &[&str]) -> Config {
        match parsed(words) {
            Ok(Task::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_alone_is_enough() {
        let config = config(&["--", "node", "app.js"]);
        assert_eq!((config.count, config.ready, config.admin), (Count::Auto, ReadyRule::Auto, None));
        assert_eq!(config.command, ["node", "app.js"]);
        assert_eq!(config.drain, Duration::from_secs(30));
    }

    #[test]
    fn values_are_taken_as_the_resource_spells_them() {
        let words = ["-i", "3", "--ready", "Notify", "--ipc", "None", "--listen", "[::]:8000", "--", "x", "--help"];
        let config = config(&words);
        assert_eq!((config.ready, config.ipc), (ReadyRule::Notify, Ipc::None));
        assert_eq!(config.count, Count::Fixed(NonZeroU32::new(3).unwrap()));
        assert_eq!(config.command, ["x", "--help"]);
        assert_eq!(super::tests::config(&["-i", "Auto", "--", "x"]).count, Count::Auto);
    }

    #[test]
    fn an_error_names_the_flag_and_what_to_do() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["-i", "0", "--", "x"], "--instances", "from 1 to 1024"),
            (&["--listen", "8000", "--", "x"], "--listen", "invalid socket address"),
            (&["--listen", "[::]:0", "--", "x"], "--listen", "from 1 to 65535"),
            (&["--ready", "soon", "--", "x"], "--ready", "notify"),
            (&["--drain-seconds", "1.5", "--", "x"], "--drain-seconds", "whole seconds"),
            (&["--listen", "[::]:9180", "--admin", "[::]:9180", "--", "x"], "--admin", "another"),
            (
                &["--restart-initial-milliseconds", "5000", "--restart-max-seconds", "1", "--", "x"],
                "--restart-max-seconds",
                "raise",
            ),
            (&["--recycle-memory", "256", "--", "x"], "--recycle-memory", "256Mi"),
            (&["--hang-timeout-seconds", "0", "--", "x"], "--hang-timeout-seconds", "from 1"),
            (&["--hang-signal", "SIGNONE", "--", "x"], "--hang-signal", "SIGABRT"),
            (&["--adaptive", "8-2", "--", "x"], "--adaptive", "2-8"),
            (&["--control", "x.sock", "--", "x"], "--control", "begins with /"),
            (&["--control-keys", "abc", "--", "x"], "--control-keys", "64 hexadecimal digits"),
            (&["--control-keys", &"0f".repeat(32), "--admin", "[::]:9180", "--", "x"], "--control-keys", "--pod-uid"),
            (&["ctl", "scale"], "COUNT", "--help"),
            (&["-i", "2"], "COMMAND", "after `--`"),
            (&["--port", "1", "--", "x"], "--port", "--help"),
        ];
        for (words, flag, next) in cases {
            let message = parsed(words).unwrap_err().to_string();
            assert!(message.contains(flag) && message.contains(next), "{words:?} gave: {message}");
        }
    }

    #[test]
    fn what_ctl_is_asked_for_is_understood() {
        let Ok(Task::Ctl(ctl)) = parsed(&["ctl", "-n", "web", "reload", "--at-once", "2", "--json"]) else { panic!() };
        let document = Document { at_once: Some(2), ..Document::default() };
        let what = Watched::Order(control::Task::Reload, document, true);
        assert_eq!(*ctl, Ctl { file: None, name: Some("web".into()), what, json: true });
        let Ok(Task::Ctl(ctl)) = parsed(&["ctl", "drain", "2", "--control", "/run/x"]) else { panic!() };
        assert_eq!(ctl.file.as_deref(), Some(std::path::Path::new("/run/x")));
        assert!(matches!(ctl.what, Watched::Order(control::Task::Drain, Document { slot: Some(2), .. }, false)));
    }

    #[test]
    fn flags_win_over_a_file_and_its_values_are_checked_as_flags_are() {
        let folder = std::env::temp_dir().join(format!("primary-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("web.toml");
        let file = file.to_str().unwrap();
        std::fs::write(file, "instances = 3\ndrainSeconds = 5\ncommand = [\"node\", \"app.js\"]\n").unwrap();
        let config = config(&["--config", file, "-i", "2"]);
        assert_eq!((config.count, config.drain), (Count::Fixed(NonZeroU32::new(2).unwrap()), Duration::from_secs(5)));
        assert_eq!(config.command, ["node", "app.js"]);
        assert_eq!(super::tests::config(&["-c", file, "--", "other"]).command, ["other"]);
        assert!(matches!(parsed(&["check", "-c", file]), Ok(Task::Check(config)) if config.drain.as_secs() == 5));
        std::fs::write(file, "drainSeconds = 1.5\n").unwrap();
        let message = parsed(&["-c", file, "--", "x"]).unwrap_err().to_string();
        assert!(message.contains("--drain-seconds") && message.contains("whole seconds"), "{message}");
        let message = parsed(&["-c", "/no/such.toml", "--", "x"]).unwrap_err().to_string();
        assert!(message.contains("/no/such.toml") && message.contains("No such file"), "{message}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn install_is_a_task_of_its_own() {
        assert!(matches!(parsed(&["install", "/run/x"]), Ok(Task::Install(dir)) if dir.as_os_str() == "/run/x"));
    }
}
