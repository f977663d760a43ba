//! Carries out one decision about pods: one attempt each, creates in growing batches, deletes exactly what was decided on.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::{
    AT_ONCE,
    batches::{AT_A_TIME, Batches, DELETES_AT_A_TIME, Pass},
    check::pod_context,
    context::Context,
    observe::Seen,
    revisions::Target,
};
use crate::{
    api::{ApiError, Deleted},
    build,
    decide::replicas::{Decision, NewPod, Removal, RemovalReason},
    text::clip,
    view::PodView,
};

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub created: Vec<String>,
    pub deleted: Vec<Removal>,
    /// The API server refused a pod: its words.
    pub rejection: Option<String>,
    /// What was left undone is tried again after this time.
    pub requeue: Option<Duration>,
    /// What went wrong and is no fault of the spec.
    pub error: Option<ApiError>,
}

/// What came of one create.
enum Created {
    Yes,
    /// The name is taken: by our own earlier create, or by a pod that is not ours (any more), whose UID makes the next name.
    Before,
    Rejected(String),
    /// The namespace is going, and everything with it.
    Ending,
    Failed(ApiError),
}

/// Something changed under the decision: a new one is due soon.
const SOON: Duration = Duration::from_millis(200);

/// Deletes what is to make room, creates, deletes the rest.
pub async fn apply(context: &Context, seen: &Seen, target: Option<&Target>, decision: &Decision) -> Outcome {
    let mut outcome = Outcome { created: Vec::new(), deleted: Vec::new(), rejection: None, requeue: None, error: None };
    // In whose place new ones come: created first, there would be too many, and for as long as an operator needs that ends in between.
    let (room, rest): (Vec<Removal>, Vec<Removal>) =
        decision.delete.iter().cloned().partition(|removal| removal.why == RemovalReason::NeverReady);
    let mut pass = Pass::begin(Instant::now());
    delete(context, seen, &room, &mut pass, &mut outcome).await;
    let made = outcome.deleted.len() == room.len();
    if let Some(target) = target.filter(|_| made) {
        create(context, seen, target, &decision.create, &mut pass, &mut outcome).await;
    }
    if outcome.error.is_none() {
        delete(context, seen, &rest, &mut pass, &mut outcome).await;
    }
    outcome
}

/// In growing batches, until one has a failure.
async fn create(
    context: &Context,
    seen: &Seen,
    target: &Target,
    pods: &[NewPod],
    pass: &mut Pass,
    outcome: &mut Outcome,
) {
    let mut rest = pods;
    let came_to = context.memory(&seen.key, |memory| memory.batch.take());
    let mut batches = Batches::begin(came_to);
    while !rest.is_empty() {
        let left = pass.left(Instant::now());
        if left == 0 {
            context.memory(&seen.key, |memory| memory.batch = Some(batches.size()));
            outcome.requeue = Some(AT_ONCE);
            break;
        }
        let (batch, later) = rest.split_at(batches.size().min(left).min(rest.len()));
        let turns = Semaphore::new(AT_A_TIME);
        let created = join_all(batch.iter().map(|pod| async {
            let _turn = turns.acquire().await; // fails when it is closed, which it is not
            create_one(context, seen, target, pod).await
        }));
        let created = created.await;
        pass.wrote(batch.len());
        context.memory(&seen.key, |memory| memory.last_create = Some(Instant::now()));
        let mut ending = false;
        for (pod, created) in batch.iter().zip(created) {
            match created {
                Created::Yes => outcome.created.push(pod.name.clone()),
                Created::Before => outcome.requeue = Some(SOON),
                Created::Rejected(message) => outcome.rejection = Some(message),
                Created::Failed(error) => {
                    context.memory(&seen.key, |memory| memory.doubtful |= error.is_doubtful());
                    outcome.error = Some(error);
                }
                Created::Ending => ending = true,
            }
        }
        if ending || outcome.rejection.is_some() {
            let now = Instant::now();
            outcome.requeue = context.memory(&seen.key, |memory| {
                memory.rejection.clone_from(&outcome.rejection);
                memory.backoff = std::mem::take(&mut memory.backoff).fail(now);
                memory.backoff.remaining(now)
            });
        }
        if ending || outcome.rejection.is_some() || outcome.error.is_some() {
            return;
        }
        batches.went_well();
        rest = later;
    }
    if !outcome.created.is_empty() {
        context.memory(&seen.key, |memory| memory.rejection = None);
    }
}

async fn create_one(context: &Context, seen: &Seen, target: &Target, pod: &NewPod) -> Created {
    let place = pod_context(context, seen, &target.hash, &target.image);
    let body = build::pod::build(&target.spec, &target.valid, &place, &pod.name, pod.slot);
    let mark = context.cache.pods.mark();
    let result = context.api.create_pod(&seen.namespace, &body, false).await;
    let (label, created) = match result {
        Ok(pod) => {
            if let Some(view) = PodView::read(&pod) {
                context.cache.pods.put_written(&seen.key, view, mark);
            }
            ("created", Created::Yes)
        }
        Err(error) if error.code() == Some(409) => ("exists", existing(context, seen, pod, error).await),
        Err(error) if error.is_namespace_ending() => ("namespace ending", Created::Ending),
        Err(ApiError::Answered { status, .. }) if matches!(status.code, 400 | 403 | 422) => {
            ("rejected", Created::Rejected(clip(&status.message, 600).to_owned()))
        }
        Err(error) => ("error", Created::Failed(error)),
    };
    context.metrics.pod_created(label);
    created
}

/// The name is taken: by our own earlier create, whose answer was lost, or by a stranger.
async fn existing(context: &Context, seen: &Seen, pod: &NewPod, conflict: ApiError) -> Created {
    let mark = context.cache.pods.mark();
    let found = match context.api.pod(&seen.namespace, &pod.name).await {
        Ok(Some(found)) => found,
        Ok(None) => return Created::Failed(conflict), // gone again: the next look decides anew
        Err(error) => return Created::Failed(error),
    };
    let ours = found.metadata.owner_references.iter().flatten().any(|owner| owner.uid == seen.uid);
    match PodView::read(&found) {
        Some(view) if ours && view.cluster == seen.name => {
            let uid = view.uid.clone();
            context.cache.pods.put_written(&seen.key, view, mark);
            let taken_in = context.cache.pods.of(&seen.key).iter().any(|pod| pod.uid == uid);
            if taken_in { Created::Before } else { Created::Failed(conflict) }
        }
        _ => {
            let uid = found.metadata.uid.unwrap_or_default();
            if ours {
                context.cache.strays.put(&seen.key, &uid, &pod.name);
            }
            context.memory(&seen.key, |memory| memory.hold_name(&pod.name, uid));
            Created::Before
        }
    }
}

async fn delete(context: &Context, seen: &Seen, removals: &[Removal], pass: &mut Pass, outcome: &mut Outcome) {
    let mut rest = removals;
    while !rest.is_empty() {
        let left = pass.left(Instant::now());
        if left == 0 {
            outcome.requeue = Some(AT_ONCE);
            return;
        }
        let (batch, later) = rest.split_at(left.min(DELETES_AT_A_TIME).min(rest.len()));
        rest = later;
        let results = join_all(batch.iter().map(|removal| delete_one(context, seen, removal))).await;
        pass.wrote(batch.len());
        for (removal, result) in batch.iter().zip(results) {
            match result {
                Ok(true) => {}
                Ok(false) => {
                    outcome.requeue = Some(SOON);
                    continue;
                }
                Err(error) => {
                    // It may be gone all the same: who decides again without a look takes another in its place, as soon as the order has changed.
                    if error.is_doubtful() {
                        context.memory(&seen.key, |memory| memory.doubt(&removal.uid, Instant::now()));
                    }
                    outcome.error = Some(error);
                    continue;
                }
            }
            context.metrics.pod_deleted(removal.why.as_str());
            outcome.deleted.push(removal.clone());
        }
        if outcome.error.is_some() {
            return;
        }
    }
}

/// Whether it is deleted; `false` where it has changed since the decision.
async fn delete_one(context: &Context, seen: &Seen, removal: &Removal) -> Result<bool, ApiError> {
    let pods = &context.cache.pods;
    let mark = pods.mark();
    match context.api.delete_pod(&seen.namespace, removal).await {
        Ok(Deleted::Ending(pod)) => match PodView::read(&pod) {
            Some(view) => pods.put_written(&seen.key, view, mark),
            None => pods.remove_written(&removal.uid), // without its label it is ours no more
        },
        Ok(Deleted::Gone) => pods.remove_written(&removal.uid),
        Err(error) if error.code() == Some(409) => {
            // Perhaps by our own delete, that arrived twice: the watch may not know it yet, and the next decision must.
            match context.api.pod(&seen.namespace, &removal.name).await {
                Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(&removal.uid) => {
                    // Under another label it is the watch that tells both.
                    if let Some(view) = PodView::read(&pod).filter(|view| view.cluster == seen.name) {
                        pods.put_written(&seen.key, view, mark);
                    }
                }
                Ok(_) => pods.remove_written(&removal.uid),
                Err(_) => context.memory(&seen.key, |memory| memory.doubtful = true),
            }
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    Ok(true)
}
