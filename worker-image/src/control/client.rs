//! `primary ctl`: finds the primary, tells it what is wanted, and shows what comes back.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use primary_protocol::Shown;
use tokio::net::UnixStream;

use super::document::{Document, Task};
use super::logs;
use super::socket::{self, Found};
use super::table;
use crate::say;

/// An answer is never longer: 1024 workers are some 300 KB.
const MAX_ANSWER: usize = 8 << 20;

/// The primary answers within 5 s, or says that it cannot.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often `top` draws, and a reload is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A reload that stands still for so long is not waited for any more.
const RELOAD_PATIENCE: Duration = Duration::from_secs(900);

/// What `primary ctl` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctl {
    /// The control socket's file, from `--control`.
    pub file: Option<PathBuf>,
    /// Which primary, where several run.
    pub name: Option<String>,
    /// What to do.
    pub what: Watched,
    /// Whether JSON is wanted instead of a table.
    pub json: bool,
}

/// What is asked of a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Once.
    Status,
    /// Again and again.
    Top,
    /// What workers write: so many of the last lines, and whether to go on.
    Logs(usize, bool),
    /// An order, and whether to wait until it is carried out.
    Order(Task, Document, bool),
}

/// Why `primary ctl` failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// No primary runs.
    #[error(
        "no primary of this user runs here{0}. Start one with `primary -- COMMAND`, or name its socket with --control"
    )]
    Nobody(String),
    /// Several do.
    #[error("several primaries run here: {0}. Say which with -n NAME")]
    Several(String),
    /// It does not answer.
    #[error("{place} does not answer: {cause}")]
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        cause: String,
    },
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// It was carried out in part.
    #[error("the reload failed after {done} of {slots} workers, the others stay as they were: {why}")]
    ReloadFailed {
        /// How many have a fresh worker.
        done: u32,
        /// Of how many.
        slots: u32,
        /// Why not the others.
        why: String,
    },
}

/// Does it.
///
/// # Errors
/// With words for the user.
pub async fn run(ctl: &Ctl) -> Result<(), CtlError> {
    match &ctl.what {
        Watched::Status => show(&call(ctl, Method::GET, "/v1/status", None).await?, ctl.json),
        Watched::Top => top(ctl).await,
        Watched::Logs(lines, follow) => {
            let shown = call(ctl, Method::GET, "/v1/status", None).await?;
            logs::run(shown.primary_pid, *lines, *follow).await
        }
        Watched::Order(task, document, wait) => {
            let shown = call(ctl, Method::POST, task.path(), Some(document)).await?;
            if *task == Task::Reload && *wait { await_reload(ctl, shown).await } else { show(&shown, ctl.json) }
        }
    }
}

fn show(shown: &Shown, json: bool) -> Result<(), CtlError> {
    let text = if json {
        serde_json::to_string(shown).map_err(|error| CtlError::Refused(error.to_string()))? + "\n"
    } else {
        table::text(shown)
    };
    say::print(text).map(drop).map_err(|error| CtlError::Refused(error.to_string()))
}

/// Draws until it is interrupted; once, where nobody looks on.
async fn top(ctl: &Ctl) -> Result<(), CtlError> {
    if !io::stdout().is_terminal() {
        // The first look at processor time has nothing to compare with.
        call(ctl, Method::GET, "/v1/status", None).await?;
        tokio::time::sleep(EVERY).await;
        return show(&call(ctl, Method::GET, "/v1/status", None).await?, ctl.json);
    }
    loop {
        let shown = call(ctl, Method::GET, "/v1/status", None).await?;
        let mut out = io::stdout().lock();
        // Home, draw over, then clear what the last picture had beyond: no flicker.
        let text = table::text(&shown).replace('\n', "\x1b[K\n");
        if write!(out, "\x1b[H{text}\x1b[J").and_then(|()| out.flush()).is_err() {
            return Ok(()); // the terminal is gone
        }
        drop(out);
        tokio::time::sleep(EVERY).await;
    }
}

/// Says how far the reload is, until it is over.
async fn await_reload(ctl: &Ctl, mut shown: Shown) -> Result<(), CtlError> {
    let mut said = None;
    let mut moved = tokio::time::Instant::now();
    loop {
        let Some(reload) = shown.stats.reload.clone() else { return show(&shown, ctl.json) };
        let finishing = shown.processes.iter().filter(|worker| worker.state.starts_with("leaving")).count();
        let news = (reload.done, finishing);
        if said != Some(news) {
            let old =
                if finishing > 0 { format!(", {finishing} old ones finish what they have") } else { String::new() };
            say::aside(format_args!("{} of {} workers are fresh{old}", reload.done, reload.slots));
            (said, moved) = (Some(news), tokio::time::Instant::now());
        }
        match reload.failure {
            Some(why) => return Err(CtlError::ReloadFailed { done: reload.done, slots: reload.slots, why }),
            None if reload.ended => return show(&shown, ctl.json),
            None if moved.elapsed() > RELOAD_PATIENCE => {
                return Err(CtlError::Refused(format!("nothing moved for {} s", RELOAD_PATIENCE.as_secs())));
            }
            None => tokio::time::sleep(EVERY / 5).await,
        }
        shown = call(ctl, Method::GET, "/v1/status", None).await?;
    }
}

/// One call over a connection of its own.
async fn call(ctl: &Ctl, method: Method, path: &str, document: Option<&Document>) -> Result<Shown, CtlError> {
    let (stream, place) = connect(ctl)?;
    let unreachable = |cause: String| CtlError::Unreachable { place: place.clone(), cause };
    let exchange = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let body = document.map(serde_json::to_vec).transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "primary")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let code = response.status();
            let bytes =
                Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((code, bytes.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            done = &mut exchange => done,
            // The answer may have come with the end of the connection.
            _ = &mut connection => exchange.await,
        }
    };
    let (code, bytes) = tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(unreachable)?;
    if code == StatusCode::OK {
        return serde_json::from_slice(&bytes)
            .map_err(|error| unreachable(format!("an answer of another version: {error}")));
    }
    let error = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let words = error.as_ref().and_then(|error| error.get("error")?.as_str());
    Err(CtlError::Refused(words.map_or_else(|| format!("the primary answered {code}"), ToString::to_string)))
}

/// Connects to the one that is meant.
fn connect(ctl: &Ctl) -> Result<(UnixStream, String), CtlError> {
    if let Some(file) = &ctl.file {
        let place = file.display().to_string();
        let stream = StdStream::connect(file).and_then(watched);
        return match stream {
            Ok(stream) => Ok((stream, place)),
            Err(cause) => Err(CtlError::Unreachable { place, cause: cause.to_string() }),
        };
    }
    let found = socket::find()
        .map_err(|cause| CtlError::Unreachable { place: "/proc/net/unix".into(), cause: cause.to_string() })?;
    let wanted = |one: &Found| ctl.name.as_ref().is_none_or(|name| one.name.as_ref() == Some(name));
    // Whoever else uses such a name is asked nothing: the kernel says whose it is.
    let mut own: Vec<(Found, UnixStream)> = found
        .into_iter()
        .filter(wanted)
        .filter_map(|one| {
            let stream = StdStream::connect_addr(&one.address().ok()?).and_then(watched).ok()?;
            is_own(&stream).then_some((one, stream))
        })
        .collect();
    match (own.pop(), own.is_empty()) {
        (Some((one, stream)), true) => Ok((stream, one.words())),
        (Some((last, _)), false) => {
            let names: Vec<String> = own.iter().map(|(one, _)| one.words()).chain([last.words()]).collect();
            Err(CtlError::Several(names.join(", ")))
        }
        (None, _) => {
            Err(CtlError::Nobody(ctl.name.as_ref().map(|name| format!(" under the name {name}")).unwrap_or_default()))
        }
    }
}

fn watched(stream: StdStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Whether the other end is this user's, or root's; for root anybody's will do.
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| own == 0 || peer.uid() == own || peer.uid() == 0)
}

impl Found {
    fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} (process {})", self.pid),
            None => format!("process {} without a name", self.pid),
        }
    }
}
