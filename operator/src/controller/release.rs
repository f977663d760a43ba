//! Release: a pod that we control and that does not carry our label any more is let go, as a ReplicaSet does; so a user takes a pod out of
//! service to look at it.

use super::context::Context;
use crate::{
    api::ApiError,
    view::{Key, protection::Protection},
};
use crds::names;

/// Lets go what the watch has found astray, after a live look.
pub async fn pods(context: &Context, key: &Key, uid: &str) -> Result<(), ApiError> {
    let strays = context.cache.strays.take(key);
    let mut failed = None;
    for (pod_uid, name) in strays {
        if let Err(error) = pod(context, key, uid, &pod_uid, &name).await {
            context.cache.strays.put(key, &pod_uid, &name);
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn pod(context: &Context, key: &Key, uid: &str, pod_uid: &str, name: &str) -> Result<(), ApiError> {
    let Some(live) = context.api.pod(&key.namespace, name).await? else { return Ok(()) };
    let meta = &live.metadata;
    let label = meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_NAME));
    let ours = meta.owner_references.iter().flatten().any(|owner| owner.uid == uid && owner.controller == Some(true));
    let same = meta.uid.as_deref() == Some(pod_uid);
    if !same || !ours || meta.deletion_timestamp.is_some() || label.map(String::as_str) == Some(&*key.name) {
        return Ok(());
    }
    let version = meta.resource_version.as_deref().unwrap_or_default();
    let protection = Protection::read(|name| meta.annotations.as_ref()?.get(name));
    match context.api.release_pod(&key.namespace, name, pod_uid, version, uid, protection).await {
        Ok(()) => {
            tracing::info!(cluster = %key, pod = name, "pod released: its label names this WorkerCluster no more");
            Ok(())
        }
        Err(error) if matches!(error.code(), Some(404 | 422)) => Ok(()), // it is gone, or another
        Err(error) => Err(error),
    }
}
