//! `status [NAME]`: one screen, or a list.

use std::{pin::pin, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};

use super::{output, pending, print};
use crate::{
    args::{Output, Status},
    cluster::Cluster,
    error::Error,
    events, overview,
    overview::Overview,
    pods,
    progress::{Pending, judge},
    render,
    session::{CLUSTERS, Session},
    style::Style,
};

/// Events on one screen.
const EVENTS: usize = 8;
/// Changes within this time are drawn once: many come together.
const TOGETHER: Duration = Duration::from_millis(200);
/// Ages are drawn anew at least so often.
const AGES: Duration = Duration::from_secs(10);

pub async fn run(session: &Session, arguments: &Status, style: Style) -> Result<(), Error> {
    match &arguments.name {
        Some(name) if arguments.watch => Box::pin(watch(session, name, style)).await,
        Some(name) => {
            let overview = look(session, name).await?;
            print(&output(arguments.output, &overview, || render::screen(&overview, style, Timestamp::now()))?)
        }
        None => list(session, arguments, style).await,
    }
}

async fn list(session: &Session, arguments: &Status, style: Style) -> Result<(), Error> {
    let clusters = session.list(arguments.all_namespaces).await?;
    if arguments.output == Output::Text {
        if clusters.is_empty() {
            let place = if arguments.all_namespaces {
                "this cluster".into()
            } else {
                format!("namespace {}", session.namespace)
            };
            super::aside(format_args!("no WorkerClusters in {place}"));
            return Ok(());
        }
        return print(&render::list(&clusters, arguments.all_namespaces, style, Timestamp::now()));
    }
    let overviews: Vec<Overview> = clusters.iter().map(brief).collect();
    print(&output(arguments.output, &overviews, String::new)?)
}

/// What is known without looking at pods, events and revisions.
fn brief(cluster: &Cluster) -> Overview {
    let verdict = judge(cluster, 0, Pending::Unknown, None);
    overview::overview(cluster, &verdict, vec![], vec![], vec![])
}

/// Looks at everything. What the user may not see is told, and the rest is shown.
async fn look(session: &Session, name: &str) -> Result<Overview, Error> {
    let cluster = session.cluster(name).await?;
    let (pods, events, pending) =
        tokio::join!(session.pods(&cluster), session.events(&cluster), pending(session, &cluster));
    let mut unseen = Vec::new();
    let mut seen = |error: Error| unseen.extend(error.to_string().lines().next().map(ToOwned::to_owned));
    let pods = pods::rows(&pods.unwrap_or_else(|error| {
        seen(error);
        vec![]
    }));
    let events = events.unwrap_or_else(|error| {
        seen(error);
        vec![]
    });
    let trouble = pods::trouble(&pods, &cluster.status.current_revision);
    let verdict = judge(&cluster, 0, pending, trouble.as_deref());
    let events = events::rows(&events, &cluster.uid, EVENTS);
    Ok(overview::overview(&cluster, &verdict, pods, events, unseen))
}

/// Draws anew when the WorkerCluster or one of its pods changes, until it is gone.
async fn watch(session: &Session, name: &str, style: Style) -> Result<(), Error> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let ours = watcher::Config::default().labels(&format!("{}={name}", crds::names::LABEL_NAME));
    let clusters = watcher(session.clusters(), only).default_backoff().map(|event| event.map(|_| ()));
    let pods = watcher(session.pods_api(), ours).default_backoff().map(|event| event.map(|_| ()));
    let mut changes = pin!(stream::select(clusters.map(|event| (CLUSTERS, event)), pods.map(|event| ("pods", event))));
    loop {
        let text = match look(session, name).await {
            Ok(overview) => render::screen(&overview, style, Timestamp::now()),
            Err(error @ (Error::Unreachable { .. } | Error::Deadline { .. })) => format!("{error}\n"),
            Err(error) => return Err(error),
        };
        // Home and clear to the end, so that nothing flickers; without a terminal one screen follows the other.
        print(&if style.terminal { format!("\x1b[H\x1b[2J{text}") } else { format!("{text}\n---\n") })?;
        let change = tokio::time::timeout(AGES, changes.next()).await;
        if let Ok(Some((resource, Err(error)))) = change
            && let Some(told) = refused(session, resource, &error)
        {
            return Err(told);
        }
        let together = tokio::time::sleep(TOGETHER);
        let mut together = pin!(together);
        loop {
            tokio::select! {
                () = &mut together => break,
                change = changes.next() => if change.is_none() { break },
            }
        }
    }
}

/// The error of a watch that trying again will not mend.
pub fn refused(session: &Session, resource: &'static str, error: &watcher::Error) -> Option<Error> {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return None;
    };
    let told = session.told("watch", resource, error);
    match told {
        Error::Missing => Some(Error::NotInstalled),
        told => matches!(told, Error::Forbidden { .. } | Error::Unauthorized).then_some(told),
    }
}
