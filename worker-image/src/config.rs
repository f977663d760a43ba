//! The command line and the environment, parsed whole before anything is opened or forked.

mod args;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum};

use crate::control::{Ctl, Place};
use crate::machine::{Adaptive, Backoff, Hang, ReadyRule, Recycle};
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
    /// Where `/livez`, `/readyz`, `/metrics` and `/v1/stats` are.
    pub admin: Option<SocketAddr>,
    /// Where `primary ctl` reaches this primary.
    pub control: Place,
    /// Between which numbers the count follows the load.
    pub adaptive: Option<Adaptive>,
    /// When a worker counts as hung.
    pub hang: Option<Hang>,
    /// When a worker gives way to a fresh one.
    pub recycle: Recycle,
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
    /// Speak with a primary that runs.
    Ctl(Box<Ctl>),
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

/// Reads the command line and the environment.
///
/// # Errors
/// With clap's message, which names the flag or variable, the cause and what is possible; also for `--help` and
/// `--version`, which are no failures.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, clap::Error> {
    let cli = Cli::try_parse_from(arguments)?;
    match cli.task {
        Some(SubTask::Install { dir }) => Ok(Task::Install(dir)),
        Some(SubTask::Ctl(args)) => Ok(Task::Ctl(Box::new(args.into()))),
        None => match contradiction(&cli.run) {
            Some(message) => Err(Cli::command().error(clap::error::ErrorKind::ValueValidation, message)),
            None => Ok(Task::Run(Box::new(config(cli.run)))),
        },
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
        admin: run.admin,
        control: run.control,
        adaptive: run.adaptive,
        hang: run.hang_timeout_seconds.map(|after| Hang { after, signal: run.hang_signal }),
        recycle: Recycle { memory: run.recycle_memory, age: run.recycle_age_seconds },
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
    }
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
    fn install_is_a_task_of_its_own() {
        assert!(matches!(parsed(&["install", "/run/x"]), Ok(Task::Install(dir)) if dir.as_os_str() == "/run/x"));
    }
}
