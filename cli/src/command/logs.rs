//! `logs NAME`: what the workers of all replicas write, as one text.

use std::pin::Pin;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::LogParams};

use super::{follow, print};
use crate::{
    args::Logs,
    error::Error,
    logs::{Line, Merge},
    session::Session,
    style::Style,
};

/// The container that a WorkerCluster's workers run in, where there are several.
const WORKER: &str = "worker";
/// A line that is longer comes in pieces: nobody's program fills our memory.
const LONGEST_LINE: u64 = 1 << 20;

/// A log that is being read.
pub type Lines = Pin<Box<dyn AsyncBufRead>>;

pub async fn run(session: &Session, arguments: &Logs, style: Style) -> Result<(), Error> {
    let cluster = session.cluster(&arguments.name).await?;
    if arguments.follow {
        return Box::pin(follow::run(session, &cluster, arguments, style)).await;
    }
    let pods = session.pods(&cluster).await?;
    let chosen = choose(&pods, arguments)?;
    let mut logs: Vec<Option<Lines>> = Vec::new();
    let mut silent = Vec::new();
    for pod in &chosen {
        match open(session, pod, &params(pod, arguments)?).await {
            Ok(lines) => logs.push(Some(lines)),
            // One that has not begun has nothing to say; the others have.
            Err(error @ Error::Answered { .. }) => {
                silent.push(format!("{}: {error}", pod.name_any()));
                logs.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    let mut merge = Merge::default();
    for (source, log) in logs.iter_mut().enumerate() {
        advance(source, log, &mut merge).await?;
    }
    while let Some((source, line)) = merge.take() {
        let prefix = arguments.prefix.of(&cluster.name, &chosen[source].name_any(), source, chosen.len(), style);
        print(&line.print(&prefix, arguments.timestamps))?;
        advance(source, &mut logs[source], &mut merge).await?;
    }
    for words in &silent {
        super::aside(format_args!("no log yet of {words}"));
    }
    if !silent.is_empty() && silent.len() == chosen.len() {
        return Err(Error::NotDone(format!("no pod of {} has a log yet", cluster.name)));
    }
    Ok(())
}

/// The pods that are asked: all, or the one that was named.
fn choose<'a>(pods: &'a [Pod], arguments: &Logs) -> Result<Vec<&'a Pod>, Error> {
    let names = || pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ");
    let mut chosen: Vec<&Pod> =
        pods.iter().filter(|pod| arguments.pod.as_ref().is_none_or(|wanted| pod.name_any() == *wanted)).collect();
    chosen.sort_by_key(|pod| pod.name_any());
    match (&arguments.pod, chosen.len()) {
        (Some(pod), 0) => {
            Err(Error::Refused(format!("{} has no pod \"{pod}\"; there are: {}", arguments.name, names())))
        }
        (None, 0) => Err(Error::Refused(format!("{0} has no pods; why: kubectl wc status {0}", arguments.name))),
        (_, many) if many > arguments.max_log_requests => Err(Error::Refused(format!(
            "{} has {many} pods, and {} are asked at the same time at most: name one with --pod, or raise --max-log-requests",
            arguments.name, arguments.max_log_requests
        ))),
        _ => Ok(chosen),
    }
}

/// What is asked of a pod.
///
/// # Errors
/// Where it has no such container.
pub fn params(pod: &Pod, arguments: &Logs) -> Result<LogParams, Error> {
    let names: Vec<&str> = pod.spec.iter().flat_map(|spec| &spec.containers).map(|one| one.name.as_str()).collect();
    let container = match &arguments.container {
        Some(wanted) if names.contains(&wanted.as_str()) => wanted.clone(),
        Some(wanted) => {
            return Err(Error::Refused(format!("there is no container \"{wanted}\"; there are: {}", names.join(", "))));
        }
        None if names.contains(&WORKER) => WORKER.into(),
        None => names.first().map(|name| (*name).to_owned()).unwrap_or_default(),
    };
    Ok(LogParams {
        container: Some(container),
        follow: arguments.follow,
        previous: arguments.previous,
        since_seconds: arguments.since.and_then(|since| i64::try_from(since.as_secs().max(1)).ok()),
        tail_lines: arguments.tail,
        timestamps: true,
        ..LogParams::default()
    })
}

/// Begins to read.
///
/// # Errors
/// What the API server says; a pod that has not begun is refused.
pub async fn open(session: &Session, pod: &Pod, params: &LogParams) -> Result<Lines, Error> {
    Ok(Box::pin(session.log(&pod.name_any(), params).await?))
}

/// The next line of a text, if it has one.
///
/// # Errors
/// Where the connection breaks off.
pub async fn next(log: &mut Lines) -> Result<Option<Line>, Error> {
    let mut raw = Vec::new();
    let read = log.take(LONGEST_LINE).read_until(b'\n', &mut raw).await;
    match read {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(Line::read(&raw))),
        Err(error) => Err(Error::NotDone(format!("the log broke off: {error}"))),
    }
}

async fn advance(source: usize, log: &mut Option<Lines>, merge: &mut Merge) -> Result<(), Error> {
    let Some(lines) = log else { return Ok(()) };
    match next(lines).await? {
        Some(line) => merge.put(source, line),
        None => *log = None,
    }
    Ok(())
}
