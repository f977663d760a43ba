//! Says of pods whose primaries hold requests that they are busy, so that the cluster-autoscaler and Karpenter leave their nodes alone, and takes it
//! back. Beside the reconciles: what a replica has to do changes each second, and they have nothing to do with it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::context::Context;
use crate::{
    api::ApiError,
    decide::protect::{Change, Replica, Watch, Work},
    view::{Key, PodView},
};

/// Primaries are asked so often.
const EVERY: Duration = Duration::from_secs(1);

/// A pod whose primary takes requests, and what it holds.
struct Seen {
    key: Key,
    pod: Arc<PodView>,
    work: Work,
}

/// Goes on for a whole term.
pub async fn run(context: &Context) {
    let mut watch = Watch::default();
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay); // never two at once: the limit is for each second
    loop {
        looks.tick().await;
        let seen = look(context);
        let replicas = seen.iter().map(|seen| Replica {
            uid: &seen.pod.uid,
            work: seen.work,
            protected: seen.pod.protection.state(),
        });
        let due: HashMap<Arc<str>, Change> = watch.look(replicas, Instant::now().into_std()).into_iter().collect();
        let due = seen.iter().filter_map(|seen| Some((seen, *due.get(&seen.pod.uid)?)));
        let done =
            join_all(due.map(|(seen, change)| async move { (seen, annotate(context, seen, change).await) })).await;
        let mut warned = false;
        for (Seen { key, pod, .. }, result) in done {
            match result {
                Err(error) if error.code() == Some(409) => watch.undone(&pod.uid),
                // One line for all of them: it is the API server's matter, or a policy's.
                Err(error) if error.code() != Some(404) && !warned => {
                    warned = true;
                    tracing::warn!(cluster = %key, pod = pod.name, %error, "a pod could not be marked as busy, or as idle again");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// The pods that are looked at: those that live and whose primaries take requests.
fn look(context: &Context) -> Vec<Seen> {
    let (now, max_age) = (Instant::now(), context.signals.sample_max_age());
    let mut all = Vec::new();
    for (key, pods) in context.cache.pods.chosen(|pod| pod.queue_port.is_some() && pod.is_active()) {
        // Only pods that their WorkerCluster controls are ever asked; of any other nothing is known.
        let readings = context.signals.readings(&key);
        all.extend(pods.into_iter().map(|pod| {
            let stats = readings.pods.get(&pod.uid).and_then(|reading| reading.recent(now, max_age));
            Seen { key: key.clone(), pod, work: Work::of(stats) }
        }));
    }
    all
}

async fn annotate(context: &Context, seen: &Seen, change: Change) -> Result<(), ApiError> {
    let Seen { key, pod, .. } = seen;
    let annotations = match change {
        Change::Say => pod.protection.say(),
        Change::TakeBack => pod.protection.take_back(),
    };
    let mark = context.cache.pods.mark();
    let changed = context.api.annotate_pod(&key.namespace, pod, &annotations).await?;
    if let Some(changed) = PodView::read(&changed) {
        context.cache.pods.put_written(key, changed, mark);
    }
    Ok(())
}
