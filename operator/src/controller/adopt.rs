//! What is ours and does not look it: orphans (`kubectl delete --cascade=orphan`), taken back after a live look at both sides, and pods that
//! have lost one of the labels that they were made with.

use std::collections::BTreeSet;

use crds::names;
use serde_json::json;

use super::context::Context;
use crate::{
    api::ApiError,
    build,
    view::{Key, PodView, pod::Labels},
};

/// What became of the pods that nobody controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// All are ours now, or there are none.
    Taken,
    /// Some changed under our hands, or the WorkerCluster is going: the next look tells.
    Left,
}

/// Takes pods that carry our label and have no controller, and gives ours their labels back. A WorkerCluster that is going takes none: with
/// it they would go too.
pub async fn pods(context: &Context, key: &Key, uid: &str) -> Result<Orphans, ApiError> {
    let pods = context.cache.pods.of(key);
    let damaged =
        |pod: &PodView| pod.controller.as_deref() == Some(uid) && pod.labels == Labels::Damaged && pod.is_active();
    let taken: Vec<&PodView> = pods.iter().map(AsRef::as_ref).filter(|pod| pod.is_orphan() || damaged(pod)).collect();
    if taken.is_empty() {
        return Ok(Orphans::Taken);
    }
    if !owner_lives(context, key, uid).await? {
        return Ok(Orphans::Left);
    }
    let mut left = Orphans::Taken;
    let mut slots: BTreeSet<u32> = pods.iter().filter(|pod| pod.is_active()).filter_map(|pod| pod.slot).collect();
    for seen in taken {
        let mark = context.cache.pods.mark();
        let Some(pod) = context.api.pod(&key.namespace, &seen.name).await? else {
            context.cache.pods.remove_written(&seen.uid);
            continue;
        };
        let Some(live) = PodView::read(&pod) else { continue };
        if live.cluster != *key.name {
            left = Orphans::Left; // another's by its label: the watch says so to both
            continue;
        }
        if live.uid != seen.uid || live.deleting || live.controller != seen.controller {
            // It may be ours already, by a patch whose answer was lost: no decision may rest on the older view.
            context.cache.pods.put_written(key, live, mark);
            continue;
        }
        let free = (0..u32::MAX).find(|slot| !slots.contains(slot));
        let slot = live.slot.or(free).unwrap_or_default();
        slots.insert(slot);
        let mut labels = build::pod::labels(&key.name);
        labels[names::LABEL_SLOT] = json!(slot.to_string());
        let owner = build::pod::owner(&key.name, uid);
        let version = live.version.to_string();
        match context.api.adopt_pod(&key.namespace, &live.name, &live.uid, &version, &owner, &labels).await {
            Ok(adopted) => {
                tracing::info!(cluster = %key, pod = live.name, "pod adopted, or given its labels back");
                if let Some(adopted) = PodView::read(&adopted) {
                    context.cache.pods.put_written(key, adopted, mark);
                }
            }
            Err(error) if matches!(error.code(), Some(404 | 409 | 422)) => left = Orphans::Left, // it changed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Whether the WorkerCluster is there at this moment, the same, and not going.
pub async fn owner_lives(context: &Context, key: &Key, uid: &str) -> Result<bool, ApiError> {
    let live = context.api.cluster_meta(&key.namespace, &key.name).await?;
    Ok(live.is_some_and(|meta| meta.uid.as_deref() == Some(uid) && meta.deletion_timestamp.is_none()))
}
