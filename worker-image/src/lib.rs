//! The primary: PID 1 of a WorkerCluster pod, or the parent of a cluster on a laptop. Forks several workers of one
//! command, shares a listening socket among them, keeps them running, and drains them at the end.
//!
//! A library, so that fuzzing reaches what reads bytes from outside (`fuzzing`, only under `cfg(fuzzing)`). All that it
//! shows to the program is [`main`]: what nothing uses is still found as dead code.

mod admin;
mod cgroup;
mod command;
mod config;
mod control;
mod count;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gather;
mod http;
mod import;
mod install;
mod ipc;
mod kernel;
mod launch;
mod listener;
mod log;
mod machine;
mod note;
mod notify;
mod proc;
mod queue;
mod reap;
mod remote;
mod run;
mod say;
mod sockets;

use std::process::ExitCode;

use config::Task;
use run::StartError;

/// The system refused something (`EX_OSERR` of sysexits.h).
const EXIT_SYSTEM: u8 = 71;

/// The primary refused an order, or none was there.
const EXIT_REFUSED: u8 = 1;

/// The program, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let task = match config::parse(std::env::args_os()) {
        Ok(task) => task,
        Err(error) => {
            let _ = error.print(); // to stdout for --help and --version, else to stderr
            return if error.use_stderr() { ExitCode::from(config::EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match task {
        Task::Install(dir) => match install::install(&dir) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => failure(&error, EXIT_SYSTEM),
        },
        Task::Ctl(ctl) => match runtime() {
            Ok(runtime) => match runtime.block_on(control::run(&ctl)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failure(&error, EXIT_REFUSED),
            },
            Err(error) => failure(&error, EXIT_SYSTEM),
        },
        Task::Import(import) => match import::run(&import) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error, config::EXIT_USAGE),
        },
        Task::Check(config) => match config::report(&config) {
            Ok(text) => match say::print(text) {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => failure(&error, EXIT_SYSTEM),
            },
            Err(error) => failure(&error, error.exit_code()),
        },
        Task::Run(config) => match run_to_end(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let code = if let StartError::Command(cause) = &error { cause.exit_code() } else { EXIT_SYSTEM };
                failure(&error, code)
            }
        },
    }
}

fn run_to_end(config: config::Config) -> Result<(), StartError> {
    let runtime = runtime().map_err(|cause| StartError::System { action: "start the event loop", cause })?;
    runtime.block_on(run::run(config))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn failure(error: &dyn std::error::Error, code: u8) -> ExitCode {
    say::aside(format_args!("primary: {error}"));
    ExitCode::from(code)
}
