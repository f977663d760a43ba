//! The machine's notes as log lines: words for people, fields for machines.

mod change;

use primary_protocol::ReadyEvidence;
use serde_json::{Value, json};

use crate::log::Level;
use crate::machine::{Note, milliseconds, signal_name};

/// One line.
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// The words.
    pub message: String,
    /// The same for machines.
    pub fields: Vec<(&'static str, Value)>,
}

impl Line {
    fn new(level: Level, message: String, fields: Vec<(&'static str, Value)>) -> Self {
        Self { level, message, fields }
    }
}

pub use change::line as change_line;

/// The line of a note.
pub fn line(note: &Note) -> Line {
    use Level::{Info, Warning};
    match note {
        Note::Forked { slot, pid, with_listener } => {
            let how = if *with_listener { "" } else { " without the listening socket" };
            let fields = vec![("event", json!("forked")), ("slot", json!(slot)), ("pid", json!(pid))];
            Line::new(Info, format!("slot {slot}: forked worker {pid}{how}"), fields)
        }
        Note::Ready { slot, pid, evidence, after } => {
            let after = milliseconds(*after);
            let fields = vec![
                ("event", json!("ready")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("evidence", json!(evidence)),
                ("milliseconds", json!(after)),
            ];
            Line::new(
                Info,
                format!("slot {slot}: worker {pid} is ready after {after} ms ({})", words(*evidence)),
                fields,
            )
        }
        Note::Exited { slot, pid, exit, lived, was_ready, out_of_memory } => {
            let cause = if *out_of_memory { ", killed by the kernel for memory" } else { "" };
            let before = if *was_ready { "" } else { " before it was ready" };
            let lived = milliseconds(*lived);
            let fields = vec![
                ("event", json!("exited")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("exit", json!(exit.to_string())),
                ("milliseconds", json!(lived)),
            ];
            let message = format!("slot {slot}: worker {pid} ended with {exit}{cause}{before}, after {lived} ms");
            Line::new(Info, message, fields)
        }
        Note::BackOff { slot, wait, failures } => {
            let wait = milliseconds(*wait);
            let fields = vec![
                ("event", json!("backOff")),
                ("slot", json!(slot)),
                ("milliseconds", json!(wait)),
                ("failures", json!(failures)),
            ];
            Line::new(Info, format!("slot {slot}: next fork in {wait} ms (early end number {failures})"), fields)
        }
        Note::ForkFailed { slot, exit } => {
            let fields = vec![("event", json!("forkFailed")), ("slot", json!(slot)), ("exit", json!(exit.to_string()))];
            Line::new(Warning, format!("slot {slot}: no worker could be forked: {exit}"), fields)
        }
        Note::NeverReady { slot, pid, after } => {
            let seconds = after.as_secs();
            let fields = vec![("event", json!("neverReady")), ("slot", json!(slot)), ("pid", json!(pid))];
            Line::new(Warning, format!("slot {slot}: worker {pid} runs for {seconds} s and is not ready"), fields)
        }
        Note::PortReleased => simple(
            "portReleased",
            "no worker got ready with the listening socket: trying whether the program binds the port itself",
        ),
        Note::PortReopened => simple("portReopened", "the listening socket is open again"),
        Note::PortOwnedByWorker { slot } => {
            let fields = vec![("event", json!("portOwnedByWorker")), ("slot", json!(slot))];
            Line::new(Info, format!("slot {slot}: the program binds the port itself"), fields)
        }
        Note::Stopping { signal, serve_on, drain } => {
            let signal = signal_name(*signal).unwrap_or("a signal");
            let (serve_on, drain) = (serve_on.as_secs(), drain.as_secs());
            let message = format!("{signal}: serving on for {serve_on} s, then draining for up to {drain} s");
            Line::new(Info, message, vec![("event", json!("stopping"))])
        }
        Note::DoorClosed { at_most } => {
            let at_most = milliseconds(*at_most);
            let fields = vec![("event", json!("doorClosed")), ("milliseconds", json!(at_most))];
            let message =
                format!("no new connection is let in; those that wait are served first, for {at_most} ms at the most");
            Line::new(Info, message, fields)
        }
        Note::Draining { workers } => {
            let fields = vec![("event", json!("draining")), ("workers", json!(workers))];
            Line::new(Info, format!("draining {workers} workers"), fields)
        }
        Note::Overdue { slot, pid } => {
            let fields = vec![("event", json!("overdue")), ("slot", json!(slot)), ("pid", json!(pid))];
            Line::new(Warning, format!("slot {slot}: worker {pid} did not stop in time and is killed"), fields)
        }
        Note::Scaling { from, to } => {
            let fields = vec![("event", json!("scaling")), ("from", json!(from)), ("to", json!(to))];
            Line::new(Info, format!("{to} workers instead of {from}"), fields)
        }
        Note::Withdrawn => simple("drained", "drained by order: not ready any more, and serving on"),
        Note::Returned => simple("undrained", "ready again by order"),
        Note::Configured => simple("configured", "other settings are in force"),
        Note::StopAtOnce => simple("stopAtOnce", "told to stop again: killing all workers"),
    }
}

fn simple(event: &'static str, message: &str) -> Line {
    Line::new(Level::Info, message.to_string(), vec![("event", json!(event))])
}

fn words(evidence: ReadyEvidence) -> &'static str {
    match evidence {
        ReadyEvidence::Listening => "it listens",
        ReadyEvidence::Notify => "it said so",
        ReadyEvidence::OwnSocket => "it bound the port",
        ReadyEvidence::Http => "it answers",
        ReadyEvidence::Alive => "it is alive",
        ReadyEvidence::Immediate | ReadyEvidence::Unknown => "nothing is asked of it",
    }
}
