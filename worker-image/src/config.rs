//! The command line and the environment, parsed whole before anything is opened or forked.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::machine::{Backoff, ReadyRule};

/// Exit code of a wrong command line or environment (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// The prefix of our variables, which workers do not get to see.
pub const ENV_PREFIX: &str = "WORKERCLUSTER_";

/// More workers than this in one pod are a typing error.
const MAX_COUNT: u32 = 1024;

/// A day: longer waits are a typing error, and sums of them must not overflow.
const MAX_SECONDS: u64 = 86_400;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers.
    pub count: Count,
    /// The name in log lines and metrics.
    pub name: Option<String>,
    /// Where workers listen.
    pub listen: Option<SocketAddr>,
    /// Where `/livez`, `/readyz`, `/metrics` and `/v1/stats` are.
    pub admin: Option<SocketAddr>,
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// See [`ReadyRule::Auto`].
    pub startup: Duration,
    /// Whether workers get Node's channel.
    pub ipc: Ipc,
    /// How long workers may finish what is in flight.
    pub drain: Duration,
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

/// What the binary was asked to do.
#[derive(Debug)]
pub enum Task {
    /// Run workers.
    Run(Box<Config>),
    /// Copy the executable into this folder.
    Install(PathBuf),
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As many as the CPU limit allows.
    Auto,
    /// So many.
    Fixed(NonZeroU32),
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") || text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let number = text.parse::<NonZeroU32>().ok().filter(|number| number.get() <= MAX_COUNT);
        number
            .map(Self::Fixed)
            .ok_or_else(|| format!("give a number from 1 to {MAX_COUNT}, or `max` for the CPU limit"))
    }
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ready {
    /// Node's `listening`, else READY=1, else alive for --startup-seconds
    Auto,
    /// READY=1 to `NOTIFY_SOCKET` (`sd_notify`), or Node's process.send('ready')
    Notify,
    /// As soon as it is forked
    Immediate,
    /// It listens: by Node's cluster module, on a socket of its own, or by polling the inherited one
    Listening,
}

impl From<Ready> for ReadyRule {
    fn from(ready: Ready) -> Self {
        match ready {
            Ready::Auto => Self::Auto,
            Ready::Notify => Self::Notify,
            Ready::Immediate => Self::Immediate,
            Ready::Listening => Self::Listening,
        }
    }
}

/// Runs COMMAND as several workers that share one listening socket, and keeps them running.
///
/// Node's cluster module for any language: a program written for `cluster` runs as it is; any other program takes
/// the listening socket as file descriptor 3 (`LISTEN_FDS`, as under systemd), or binds its port itself.
#[derive(Debug, Parser)]
#[command(name = "primary", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
#[command(override_usage = "primary [OPTIONS] -- COMMAND [ARG]...\n       primary install DIR")]
#[command(after_help = "Signals: SIGTERM, SIGINT and SIGQUIT stop after a drain, a second one stops at once; SIGHUP, \
                        SIGUSR1 and SIGUSR2 go to every worker.\nExit codes: 0 stopped as asked, 64 wrong options, \
                        71 the system refused, 126 or 127 COMMAND cannot be started.\n\
                        Example: primary -i max --listen '[::]:8000' -- node server.js")]
struct Cli {
    #[command(subcommand)]
    task: Option<SubTask>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum SubTask {
    /// Copies this executable to DIR/primary, for an init container
    Install {
        /// An existing folder
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// How many workers: a number, or `max` for as many as the container's CPU limit allows
    #[arg(short, long, value_name = "COUNT", env = "WORKERCLUSTER_INSTANCES", default_value = "max")]
    instances: Count,
    /// Name in log lines and metrics
    #[arg(short, long, env = "WORKERCLUSTER_NAME")]
    name: Option<String>,
    /// Open this listening socket and share it among the workers
    #[arg(long, value_name = "ADDR:PORT", env = "WORKERCLUSTER_LISTEN")]
    listen: Option<SocketAddr>,
    /// Serve /livez, /readyz, /metrics and /v1/stats here; off unless given
    #[arg(long, value_name = "ADDR:PORT", env = "WORKERCLUSTER_ADMIN")]
    admin: Option<SocketAddr>,
    /// What makes a worker ready
    #[arg(long, env = "WORKERCLUSTER_READY", value_enum, default_value = "auto", ignore_case = true)]
    ready: Ready,
    /// Alive that long counts as ready when nothing better is to be had
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_STARTUP_SECONDS", default_value = "1", value_parser = seconds)]
    startup_seconds: Duration,
    /// Give workers Node's IPC channel; auto: if COMMAND is a Node program
    #[arg(long, env = "WORKERCLUSTER_IPC", value_enum, default_value = "auto", ignore_case = true)]
    ipc: Ipc,
    /// How long workers may finish what is in flight after they were told to stop
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_DRAIN_SECONDS", default_value = "30", value_parser = seconds)]
    drain_seconds: Duration,
    /// How long to keep serving after SIGTERM, while load balancers forget this replica
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_ENDPOINTS_DELAY_SECONDS", default_value = "0", value_parser = seconds)]
    endpoints_delay_seconds: Duration,
    /// Wait before the next fork after a worker that ended before it was ready for 1 s; grows by half each time
    #[arg(long, value_name = "MILLISECONDS", env = "WORKERCLUSTER_RESTART_INITIAL_MILLISECONDS", default_value = "100", value_parser = milliseconds)]
    restart_initial_milliseconds: Duration,
    /// The longest wait before a fork
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_RESTART_MAX_SECONDS", default_value = "15", value_parser = seconds)]
    restart_max_seconds: Duration,
    /// A worker that lived that long makes earlier failures forgotten
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_RESTART_RESET_AFTER_SECONDS", default_value = "30", value_parser = seconds)]
    restart_reset_after_seconds: Duration,
    /// The container's CPU request in thousandths of a CPU, for `max` where there is no limit; 0 for none
    #[arg(long, value_name = "MILLICORES", env = "WORKERCLUSTER_CPU_REQUEST_MILLICORES", default_value = "0")]
    cpu_request_millicores: u64,
    /// How the primary's own log lines look (workers' lines pass through as they are)
    #[arg(long, env = "WORKERCLUSTER_LOG_FORMAT", value_enum, default_value = "auto", ignore_case = true)]
    log_format: LogFormat,
    /// The program to run, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= MAX_SECONDS);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("give whole seconds from 0 to {MAX_SECONDS}"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse::<u64>().ok().filter(|milliseconds| *milliseconds <= MAX_SECONDS * 1000);
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| format!("give whole milliseconds from 0 to {}", MAX_SECONDS * 1000))
}

/// Reads the command line and the environment.
///
/// # Errors
/// With clap's message, which names the flag or variable, the cause and what is possible; also for `--help` and
/// `--version`, which are no failures.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, clap::Error> {
    let cli = Cli::try_parse_from(arguments)?;
    if let Some(SubTask::Install { dir }) = cli.task {
        return Ok(Task::Install(dir));
    }
    let run = cli.run;
    let wrong = |message: String| Err(Cli::command().error(clap::error::ErrorKind::ValueValidation, message));
    if run.command.is_empty() {
        return wrong("no COMMAND: say what to run after `--`, as in `primary -i 2 -- node server.js`".to_string());
    }
    if run.listen.is_some_and(|address| address.port() == 0) {
        return wrong(
            "--listen needs a port: port 0 would be another one at every start; give one from 1 to 65535".to_string(),
        );
    }
    if run.listen.is_some() && run.listen.map(|address| address.port()) == run.admin.map(|address| address.port()) {
        return wrong("--listen and --admin have the same port: give --admin another one, as 9180".to_string());
    }
    if run.restart_initial_milliseconds > run.restart_max_seconds {
        return wrong(format!(
            "--restart-initial-milliseconds ({}) is more than --restart-max-seconds ({}): lower the first or raise \
             the second",
            run.restart_initial_milliseconds.as_millis(),
            run.restart_max_seconds.as_secs()
        ));
    }
    Ok(Task::Run(Box::new(Config {
        count: run.instances,
        name: run.name,
        listen: run.listen,
        admin: run.admin,
        ready: run.ready.into(),
        startup: run.startup_seconds,
        ipc: run.ipc,
        drain: run.drain_seconds,
        endpoints_delay: run.endpoints_delay_seconds,
        backoff: Backoff {
            initial: run.restart_initial_milliseconds,
            max: run.restart_max_seconds,
            reset_after: run.restart_reset_after_seconds,
        },
        cpu_request_millicores: run.cpu_request_millicores,
        log_format: run.log_format,
        command: run.command,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (&["-i", "2"], "COMMAND", "after `--`"),
            (&["--port", "1", "--", "x"], "--port", "--help"),
        ];
        for (words, flag, next) in cases {
            let message = parsed(words).unwrap_err().to_string();
            assert!(message.contains(flag) && message.contains(next), "{words:?} gave: {message}");
        }
    }

    #[test]
    fn install_is_a_task_of_its_own() {
        assert!(matches!(parsed(&["install", "/run/x"]), Ok(Task::Install(dir)) if dir.as_os_str() == "/run/x"));
    }
}
