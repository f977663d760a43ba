//! `kubectl wc`: looks at WorkerClusters and steers their rollouts. Commands look and write; what they say and write is decided by pure
//! functions beside them.

mod age;
mod args;
mod cluster;
mod command;
mod diff;
mod error;
mod events;
mod logs;
mod overview;
mod pods;
mod progress;
mod render;
mod revisions;
mod session;
mod style;
mod table;
mod top;
mod wishes;

use std::process::ExitCode;

use args::CommandLine;
use clap::Parser;
use error::Error;

/// Wrong usage (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            command::aside(format_args!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::run(line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Unheard) => ExitCode::FAILURE,
        Err(error) => {
            command::aside(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
