//! The commands, one file each: they look, have a pure function decide, print and write.

mod drain;
mod follow;
mod history;
mod logs;
mod pause;
mod reload;
mod restart;
mod rollout_status;
mod status;
mod top;
mod undo;

use serde::Serialize;

use crate::{
    args::{Command, CommandLine, Output, Rollout},
    cluster::Cluster,
    error::Error,
    pods,
    progress::Pending,
    revisions::{self, Revision},
    session::Session,
    style::Style,
    wishes,
};

/// Runs what was typed.
///
/// # Errors
/// Where it could not be done.
pub async fn run(line: CommandLine) -> Result<(), Error> {
    let style = Style::detect(line.global.no_color);
    let session = Session::connect(&line.global).await?;
    match line.command {
        Command::Status(status) => status::run(&session, &status, style).await,
        Command::Logs(arguments) => logs::run(&session, &arguments, style).await,
        Command::Top(arguments) => Box::pin(top::run(&session, &arguments, style)).await,
        Command::Reload(arguments) => Box::pin(reload::run(&session, &arguments)).await,
        Command::Drain(pod) => drain::run(&session, &pod.name, true).await,
        Command::Undrain(pod) => drain::run(&session, &pod.name, false).await,
        Command::Rollout(Rollout::Status(status)) => rollout_status::run(&session, &status, style).await,
        Command::Rollout(Rollout::History(history)) => history::run(&session, &history, style).await,
        Command::Rollout(Rollout::Undo(undo)) => undo::run(&session, &undo, style).await,
        Command::Rollout(Rollout::Pause(named)) => pause::run(&session, &named.name, true).await,
        Command::Rollout(Rollout::Resume(named)) => pause::run(&session, &named.name, false).await,
        Command::Rollout(Rollout::Restart(named)) => restart::run(&session, &named.name).await,
    }
}

/// The revisions of a WorkerCluster, oldest first, with the number of their pods.
async fn kept(session: &Session, cluster: &Cluster) -> Result<Vec<Revision>, Error> {
    let rows = pods::rows(&session.pods(cluster).await?);
    Ok(revisions::read(&session.revisions(cluster).await?, &cluster.uid, &pods::by_revision(&rows)))
}

/// Whether a paused WorkerCluster holds a change back.
async fn pending(session: &Session, cluster: &Cluster) -> Pending {
    if !cluster.is_paused() {
        return Pending::Nothing;
    }
    let Ok(objects) = session.revisions(cluster).await else { return Pending::Unknown };
    let revisions = revisions::read(&objects, &cluster.uid, &std::collections::BTreeMap::new());
    match revisions.last() {
        None => Pending::Unknown,
        Some(newest) if wishes::same(&newest.wishes, &cluster.spec) => Pending::Nothing,
        Some(_) => Pending::Change,
    }
}

/// A value as JSON or YAML; as text it is `text`.
fn output<T: Serialize>(output: Output, value: &T, text: impl FnOnce() -> String) -> Result<String, Error> {
    let unreadable = |message: String| Error::Unreadable { what: "the output".into(), message };
    match output {
        Output::Text => Ok(text()),
        Output::Json => {
            serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| unreadable(error.to_string()))
        }
        Output::Yaml => serde_yaml_ng::to_string(value).map_err(|error| unreadable(error.to_string())),
    }
}

/// A line for the person who reads, on standard error; lost where nobody does (`eprintln!` ends the program there).
pub fn aside(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints; a reader that has gone away (`| head`) is no fault.
fn print(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<(), Error> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::NotDone(format!("standard output: {error}")))
        }
        Err(_) => Err(Error::Unheard),
        Ok(()) => Ok(()),
    }
}
