//! `rollout status NAME`: waits for the end of a rollout and says each step.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use tokio::time::{Instant, sleep_until};

use super::{pending, print, status::refused};
use crate::{
    args::RolloutStatus,
    cluster::Cluster,
    error::Error,
    pods,
    progress::{Verdict, judge},
    session::{CLUSTERS, Session},
    style::{Style, Tone, harmless},
};

/// An operator that runs has seen a spec by then.
const UNSEEN: Duration = Duration::from_secs(10);
/// Never, near enough: `tokio::time::Instant` has no infinity.
const FAR: Duration = Duration::from_secs(365 * 86400);

pub async fn run(session: &Session, arguments: &RolloutStatus, style: Style) -> Result<(), Error> {
    let name = arguments.name.as_str();
    let first = session.cluster(name).await?;
    let mut last = String::new();
    if let Some(ended) = step(session, &first, arguments, style, &mut last).await? {
        return ended;
    }
    if !arguments.watch {
        return Ok(());
    }
    let limit = if arguments.timeout.is_zero() { FAR } else { arguments.timeout };
    let mut late = pin!(sleep_until(Instant::now() + limit));
    let mut changes = pin!(watch_object(session.clusters(), name).default_backoff());
    let mut away = false;
    let mut unseen = !first.is_observed();
    let mut hint = pin!(sleep_until(Instant::now() + UNSEEN));
    loop {
        let change = tokio::select! {
            () = &mut late => return Err(Error::NotDone(format!(
                "not done within {} s (--timeout); last: {last}", arguments.timeout.as_secs_f32()
            ))),
            () = &mut hint, if unseen => {
                unseen = false;
                super::aside("does the operator run? kubectl get pods -A -l app.kubernetes.io/name=workercluster-operator");
                continue;
            }
            change = changes.next() => change,
        };
        match change {
            None => return Err(Error::NotDone(format!("{name}: the watch ended by itself"))),
            Some(Ok(None)) => return Err(Error::NotDone(format!("{name} was deleted"))),
            Some(Ok(Some(object))) => {
                away = false;
                let cluster = Cluster::read(&object)?;
                unseen = unseen && !cluster.is_observed();
                if cluster.uid != first.uid {
                    return Err(Error::NotDone(format!("{name} was deleted and made anew")));
                }
                if let Some(ended) = step(session, &cluster, arguments, style, &mut last).await? {
                    return ended;
                }
            }
            Some(Err(error)) => {
                if let Some(refused) = refused(session, CLUSTERS, &error) {
                    return Err(refused);
                }
                // Said once; the watch is taken up again by itself.
                if !std::mem::replace(&mut away, true) {
                    super::aside(format_args!("the API server is away, waiting for it: {error}"));
                }
            }
        }
    }
}

/// Says where it stands, unless that was just said; `Some` at the end.
async fn step(
    session: &Session,
    cluster: &Cluster,
    arguments: &RolloutStatus,
    style: Style,
    last: &mut String,
) -> Result<Option<Result<(), Error>>, Error> {
    let pending = pending(session, cluster).await;
    let mut verdict = judge(cluster, arguments.revision, pending, None);
    if !matches!(verdict, Verdict::Done(_)) {
        // Pods are looked at only while something is missing; who may not see them does without.
        let rows = session.pods(cluster).await.map(|pods| pods::rows(&pods)).unwrap_or_default();
        let trouble = pods::trouble(&rows, &cluster.status.current_revision);
        verdict = judge(cluster, arguments.revision, pending, trouble.as_deref());
        if matches!(verdict, Verdict::Failed(_)) {
            *last = String::new();
            for row in rows.iter().filter(|row| row.trouble.is_some()) {
                let text = format!("pod {}: {}", row.name, row.trouble.as_deref().unwrap_or_default());
                print(&format!("{}\n", style.paint(Tone::Warn, &harmless(&text))))?;
            }
        }
    }
    match verdict {
        Verdict::Waiting(text) => {
            let text = harmless(&text);
            if text != *last {
                print(&format!("{text}\n"))?;
                *last = text;
            }
            Ok(None)
        }
        Verdict::Done(text) => {
            print(&format!("{}\n", style.paint(Tone::Good, &harmless(&text))))?;
            Ok(Some(Ok(())))
        }
        Verdict::Failed(text) => Ok(Some(Err(Error::NotDone(harmless(&text))))),
    }
}
