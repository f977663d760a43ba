//! Orphans: pods and Services of ours that nobody controls (`kubectl delete --cascade=orphan`), taken back after a live look at both sides.

use super::context::Context;
use crate::{
    api::ApiError,
    build,
    view::{Key, PodView},
};

/// Takes pods that carry our labels and have no controller. A WorkerCluster that is going takes none: with it they would go too.
pub async fn pods(context: &Context, key: &Key, uid: &str) -> Result<(), ApiError> {
    let orphan = |pod: &PodView| pod.controller.is_none() && !pod.deleting && pod.revision.is_some();
    let orphans: Vec<PodView> = context.cache.pods.of(key).into_iter().filter(orphan).collect();
    if orphans.is_empty() || !owner_lives(context, key, uid).await? {
        return Ok(());
    }
    for orphan in orphans {
        let Some(pod) = context.api.pod(&key.namespace, &orphan.name).await? else { continue };
        let Some(live) = PodView::read(&pod) else { continue };
        if live.uid != orphan.uid || live.deleting || live.controller.is_some() {
            continue; // the watch will show it as it is
        }
        let owner = build::pod::owner(&key.name, uid);
        let version = live.version.to_string();
        match context.api.adopt_pod(&key.namespace, &live.name, &live.uid, &version, &owner).await {
            Ok(adopted) => {
                tracing::info!(cluster = %key, pod = live.name, "pod adopted");
                if let Some(adopted) = PodView::read(&adopted) {
                    context.cache.pods.put_written(key, adopted);
                }
            }
            Err(error) if matches!(error.code(), Some(404 | 409 | 422)) => {} // it changed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the WorkerCluster is there at this moment, the same, and not going.
pub async fn owner_lives(context: &Context, key: &Key, uid: &str) -> Result<bool, ApiError> {
    let live = context.api.cluster_meta(&key.namespace, &key.name).await?;
    Ok(live.is_some_and(|meta| meta.uid.as_deref() == Some(uid) && meta.deletion_timestamp.is_none()))
}
