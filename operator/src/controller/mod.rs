//! One reconcile, as a straight list of steps: observe (IO), check and decide (pure, but for the dry run), commit, settle the revision and
//! apply (IO), report (IO).

mod adopt;
mod apply;
mod batches;
mod busy;
mod check;
mod children;
mod compose;
mod context;
pub mod events;
mod happenings;
mod observe;
mod orders;
mod pace;
pub mod protect;
mod release;
mod report;
mod retire;
mod revisions;
mod scale;
mod unreadable;

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! What of the controller reads bytes from outside.
    pub use super::{check::fuzzing::answers, revisions::fuzzing::objects as revisions};
}

use std::{sync::Arc, time::Duration};

pub use context::{Context, Settings};
use kube::{Resource, ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

use crate::{
    api::ApiError,
    build,
    decide::replicas,
    view::{Key, watch::Object},
};

/// Why a reconcile could not be finished; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// After this time a WorkerCluster is looked at even if nothing has happened: only a net under the watches.
const RESYNC: Duration = Duration::from_secs(600);
/// What has just been read is decided on without delay.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Delays after failed reconciles: doubled from the first to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Short enough to be well within half a minute after an API server has come back.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Brings one WorkerCluster closer to what its spec says.
pub async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, Error> {
    let name = key(&object);
    // News come each second where an autoscaler decides; they do not shorten what an error, or the API server, asked us to wait.
    let waits = context.known(&name, |memory| memory.retry_at.max(memory.rests_until)).flatten();
    let wait = waits.map(|at| at.saturating_duration_since(Instant::now()));
    if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
        return Ok(Action::requeue(wait));
    }
    let started = Instant::now();
    let (result, busy) = busy::timed(Box::pin(steps(&object, &context))).await;
    context.metrics.reconcile(if result.is_ok() { "ok" } else { "error" }, started.elapsed(), busy);
    context.known(&name, |memory| {
        if result.is_ok() {
            (memory.failures, memory.retry_at) = (0, None);
        }
        // Who was cut off in the midst of creating has work that waits.
        let rest = pace::rest(busy).filter(|_| memory.batch.is_none());
        memory.rests_until = rest.map(|rest| Instant::now() + rest);
    });
    result
}

async fn steps(object: &Object, context: &Context) -> Result<Action, Error> {
    let key = key(object);
    if object.meta().deletion_timestamp.is_some() {
        context.forget(&key);
        return Ok(Action::await_change()); // what is owned goes with it
    }
    let cluster = match &object.0 {
        Ok(cluster) => context.newest(&key, cluster),
        Err(invalid) => return unreadable::unreadable(context, &key, invalid).await,
    };
    // Our own last write may have met the deletion before the watch has. It is remembered: what the watch shows until then looks alive.
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let mut seen = observe::observe(context, &key, cluster).await?;
    context.memory(&key, |memory| memory.autoscaled = seen.cluster.spec.autoscaling.is_some());
    let scaling = scale::decide(context, &seen);
    let (mut told, mut mirrored) = (None, None);
    if let Some(scaling) = &scaling {
        let generation = seen.cluster.metadata.generation;
        // Written before it is acted on: an operator that starts anew must find it.
        told = report::commit(context, &mut seen, scaling).await?;
        if seen.cluster.metadata.generation != generation {
            // The answer brought another spec than the one that was decided on.
            report::tell(context, &seen, told.into_iter().collect());
            return Ok(Action::requeue(AT_ONCE));
        }
        mirrored = report::mirror(context, &mut seen, scaling.desired).await.err();
    }
    let wanted = scaling.as_ref().map_or(seen.cluster.spec.replicas, |scaling| scaling.desired);
    let checked = check::check(context, &seen).await;
    let revisions::Settled { target, given_up, unkept, later } = revisions::settle(context, &seen, &checked).await;
    let revision = target.as_ref().map_or_else(|| build::revision(&seen.cluster.spec), |target| target.hash.clone());
    observe::again(context, &mut seen);
    let hold = context.back_off(&seen, wanted, &revision).or(seen.orphaned.then_some(FIRST_RETRY));
    let count = usize::try_from(wanted).unwrap_or(0);
    let asked = context.memory(&key, |memory| memory.asked(std::time::Instant::now()));
    let decision = match &target {
        Some(target) => replicas::decide(&replicas::Input {
            cluster: &seen.name,
            cluster_uid: &seen.uid,
            wanted: count,
            revision: &target.hash,
            strategy: replicas::Strategy::of(&seen.cluster.spec, count),
            paused: seen.cluster.spec.rollout.paused || given_up,
            pods: &seen.owned(),
            holder: &|name| seen.holder(name),
            load: &|uid| seen.load(uid),
            asked: &|uid| asked.contains(uid),
            standing: &|pod| retire::standing(&seen, pod),
            hold,
            nodes: &seen.nodes,
            since_create: context.memory(&key, |memory| memory.last_create.map(|at| at.elapsed())),
            now: seen.wall,
        }),
        None => replicas::Decision::default(), // nothing can be built, and what runs is left alone
    };
    // Where nothing can be built, what runs is left alone.
    let retired = target.as_ref().map(|_| retire::settle(context, &mut seen, &decision));
    let told = told.into_iter().chain(retired.into_iter().flatten()).collect();
    let mut outcome = apply::apply(context, &seen, target.as_ref(), &decision).await;
    let spec = target.as_ref().map_or(&seen.cluster.spec, |target| &target.spec);
    match children::apply(context, &seen, spec).await {
        Ok(foreign) => context.memory(&key, |memory| memory.foreign = foreign),
        Err(error) => outcome.error = outcome.error.or(Some(error)),
    }
    let refused = unkept.as_ref().filter(|error| error.is_refusal()).map(ToString::to_string);
    if let Some(error) = checked.unasked.or(unkept).filter(|_| refused.is_none()) {
        return Err(error.into()); // nothing is known about this generation yet, so nothing is said about it
    }
    let wake = report::report(
        context,
        &mut seen,
        &compose::Facts {
            checked: &checked.spec,
            refused: refused.as_deref(),
            scaling: scaling.as_ref(),
            wanted,
            target: target.as_ref(),
            given_up,
            decision: &decision,
            outcome: &outcome,
            told,
        },
    )
    .await?;
    // Each of these is tried again, and none keeps the others from being done.
    if let Some(error) = outcome.error.or(later).or(mirrored).or(seen.adoption) {
        return Err(error.into());
    }
    let blocked = checked.spec.is_err() || refused.is_some();
    let again = [hold, outcome.requeue, decision.wake, wake, blocked.then_some(check::RECHECK)];
    Ok(Action::requeue(again.into_iter().flatten().min().unwrap_or(RESYNC).min(RESYNC)))
}

/// How long a WorkerCluster waits after a reconcile that failed.
pub fn on_error(object: &Arc<Object>, error: &Error, context: &Arc<Context>) -> Action {
    let Error::Api(api) = error;
    let delay = context.memory(&key(object), |memory| {
        memory.failures = memory.failures.saturating_add(1);
        let delay = FIRST_RETRY.saturating_mul(2u32.saturating_pow(memory.failures.min(16) - 1)).min(LONGEST_RETRY);
        let delay = api.retry_after().map_or(delay, |asked| asked.max(delay));
        memory.retry_at = Some(Instant::now() + delay);
        delay
    });
    tracing::warn!(cluster = %key(object), %error, category = api.category(), retry_in = ?delay, "reconcile failed");
    Action::requeue(delay)
}

fn key(object: &Object) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}
