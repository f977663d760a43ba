//! `reload NAME`: fresh workers in every replica, one replica after another, by an annotation that is new each time.

use std::{pin::pin, time::Duration};

use crds::names::{ANNOTATION_RELOAD, ANNOTATION_RELOAD_AT_ONCE};
use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use serde_json::{Map, Value, json};

use super::{print, status::refused};
use crate::{
    args::Reload,
    cluster::Cluster,
    error::Error,
    session::{CLUSTERS, Session},
    style::harmless,
};

/// An operator that runs has begun by then.
const UNSEEN: Duration = Duration::from_secs(15);

pub async fn run(session: &Session, arguments: &Reload) -> Result<(), Error> {
    let name = arguments.name.as_str();
    let cluster = session.cluster(name).await?;
    let id = Timestamp::now().to_string();
    session.patch(&cluster, steps(&cluster, &id, arguments.at_once), false).await?;
    if arguments.no_wait {
        return print(&format!(
            "{name} reloads; kubectl wc status {name} -n {} says how far it is\n",
            cluster.namespace
        ));
    }
    let limit = tokio::time::sleep(arguments.timeout);
    match tokio::time::timeout(UNSEEN, begun(session, name, &id)).await {
        Err(_) => Err(Error::NotDone(format!(
            "{name} does not begin to reload: does the operator run, and has it the Secret for orders? kubectl get pods -A -l app.kubernetes.io/name=workercluster-operator"
        ))),
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) => {
            let mut limit = pin!(limit);
            tokio::select! {
                () = &mut limit, if !arguments.timeout.is_zero() => Err(Error::NotDone(format!(
                    "not done within {} s (--timeout); it goes on", arguments.timeout.as_secs_f32()
                ))),
                ended = follow(session, name, &id) => ended,
            }
        }
    }
}

/// Waits until status tells of this reload.
async fn begun(session: &Session, name: &str, id: &str) -> Result<(), Error> {
    each(session, name, |cluster| Ok(judge(cluster, id).is_some().then_some(()))).await
}

/// Says how far it is, until its end.
async fn follow(session: &Session, name: &str, id: &str) -> Result<(), Error> {
    let mut last = String::new();
    each(session, name, |cluster| {
        let Some(verdict) = judge(cluster, id) else {
            return Err(Error::NotDone(format!("another reload of {name} was ordered")));
        };
        match verdict {
            Verdict::Waiting(text) => {
                if text != last {
                    print(&format!("{text}\n"))?;
                    last = text;
                }
                Ok(None)
            }
            Verdict::Done(text) => print(&format!("{text}\n")).map(Some),
            Verdict::Failed(text) => Err(Error::NotDone(text)),
        }
    })
    .await
}

/// Looks at each state of the WorkerCluster until something comes of it.
async fn each<T>(
    session: &Session,
    name: &str,
    mut look: impl FnMut(&Cluster) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let mut changes = pin!(watch_object(session.clusters(), name).default_backoff());
    while let Some(change) = changes.next().await {
        match change {
            Ok(None) => return Err(Error::NotDone(format!("{name} was deleted"))),
            Ok(Some(object)) => {
                if let Some(found) = look(&Cluster::read(&object)?)? {
                    return Ok(found);
                }
            }
            Err(error) => {
                if let Some(refused) = refused(session, CLUSTERS, &error) {
                    return Err(refused);
                }
            }
        }
    }
    Err(Error::NotDone(format!("{name}: the watch ended by itself")))
}

/// How a reload stands.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Waiting(String),
    Done(String),
    Failed(String),
}

/// `None` while status tells of no reload, or of another.
fn judge(cluster: &Cluster, id: &str) -> Option<Verdict> {
    let reload = cluster.status.reload.as_ref().filter(|reload| reload.id == id)?;
    let text = format!("{} of {} replicas have fresh workers", reload.done_replicas, reload.replicas);
    Some(match &reload.failure {
        Some(why) => {
            Verdict::Failed(harmless(&format!("{text}; it stopped, and the others keep their workers: {why}")))
        }
        None if reload.done_replicas >= reload.replicas => Verdict::Done(text),
        None => match &reload.waiting_for {
            Some(what) => Verdict::Waiting(harmless(&format!("{text}; the next waits: {what}"))),
            None => Verdict::Waiting(text),
        },
    })
}

/// The two annotations, whoever has written the others.
fn steps(cluster: &Cluster, id: &str, at_once: u32) -> Value {
    let mut steps = vec![json!({"op": "test", "path": "/metadata/uid", "value": cluster.uid})];
    if !cluster.annotations.is_object() {
        steps = cluster.guard();
        steps.push(json!({"op": "add", "path": "/metadata/annotations", "value": Map::new()}));
    }
    for (name, value) in [(ANNOTATION_RELOAD, id.to_owned()), (ANNOTATION_RELOAD_AT_ONCE, at_once.to_string())] {
        let key = name.replace('/', "~1");
        steps.push(json!({"op": "add", "path": format!("/metadata/annotations/{key}"), "value": value}));
    }
    Value::Array(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;

    #[test]
    fn annotations_of_others_stay() {
        let with = steps(&cluster(json!({"metadata": {"annotations": {"a": "b"}}})), "now", 2);
        assert_eq!(with.as_array().unwrap().len(), 3);
        assert_eq!(with[1]["path"], "/metadata/annotations/workercluster.dev~1reload");
        assert_eq!(with[2]["value"], "2");
        let without = steps(&cluster(json!({})), "now", 1);
        assert_eq!(without[2], json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }

    #[test]
    fn it_ends_when_all_are_fresh_or_one_is_not() {
        let at = |reload: Value| judge(&cluster(json!({"status": {"reload": reload}})), "x");
        assert_eq!(at(json!(null)), None);
        assert_eq!(at(json!({"id": "y", "replicas": 2, "doneReplicas": 2})), None);
        assert!(matches!(at(json!({"id": "x", "replicas": 2, "doneReplicas": 1})), Some(Verdict::Waiting(_))));
        assert!(matches!(at(json!({"id": "x", "replicas": 2, "doneReplicas": 2})), Some(Verdict::Done(_))));
        let waits = at(json!({"id": "x", "replicas": 2, "doneReplicas": 1, "waitingFor": "pod b is not ready"}));
        assert!(matches!(waits, Some(Verdict::Waiting(text)) if text.ends_with("the next waits: pod b is not ready")));
        let failed = at(json!({"id": "x", "replicas": 2, "doneReplicas": 1, "failure": "pod a: exit code 1"}));
        assert!(matches!(failed, Some(Verdict::Failed(text)) if text.contains("exit code 1")));
    }
}
