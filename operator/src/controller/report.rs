//! What users see: status, written only when it says something new, and events.

use std::time::Duration;

use crds::{WorkerClusterStatus, names};
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use super::{
    compose::{Composed, Facts, autoscaling_status, compose},
    context::Context,
    events::Happening,
    happenings::{deaths, failed_reload, happenings, unwell},
    observe::Seen,
    pace,
};
use crate::{api::ApiError, decide::autoscale::Decision as Scaling, status, view::memory_kill::uncounted};

/// Writes a changed number of replicas to status before it is acted on, and returns what is to be told about it.
pub async fn commit(context: &Context, seen: &mut Seen, scaling: &Scaling) -> Result<Option<Happening>, ApiError> {
    let before = seen.cluster.status.clone().unwrap_or_default();
    let decided = before.autoscaling.as_ref().map(|autoscaling| autoscaling.desired_replicas);
    if decided == Some(scaling.desired) {
        return Ok(None);
    }
    let old = decided.unwrap_or(seen.cluster.spec.replicas);
    let scaled = old != scaling.desired;
    let autoscaling =
        autoscaling_status(scaling, before.autoscaling.as_ref(), context.signals.interval(), seen.wall, scaled);
    let conditions = if scaled {
        status::unsettled(before.conditions, scaling.desired, before.ready_replicas, seen.wall)
    } else {
        before.conditions
    };
    write(context, seen, WorkerClusterStatus { autoscaling: Some(autoscaling), conditions, ..before }).await?;
    if !scaled {
        return Ok(None);
    }
    let up = scaling.desired > old;
    context.metrics.scaled(up, scaling.reason.as_str());
    let (reason, direction) = if up { ("ScaledUp", "up") } else { ("ScaledDown", "down") };
    let note =
        format!("{direction} from {old} to {} replicas ({}): {}", scaling.desired, scaling.reason, scaling.message);
    Ok(Some(Happening::normal(reason, format!("Scale{old}To{}", scaling.desired), note)))
}

/// Writes the decided number to the spec too, where others look.
pub async fn mirror(context: &Context, seen: &mut Seen, desired: i32) -> Result<(), ApiError> {
    if seen.cluster.spec.replicas == desired {
        return Ok(());
    }
    let version = seen.cluster.metadata.resource_version.clone().unwrap_or_default();
    let mark = Some((version.clone(), desired));
    if context.memory(&seen.key, |memory| memory.mirrored == mark) {
        return Ok(()); // written already; the watch has not shown it yet
    }
    match context.api.scale(&seen.namespace, &seen.name, &version, desired).await {
        Err(error) if error.code() == Some(409) => return Ok(()), // it changed meanwhile: the watch brings it, and a new look
        written => {
            // What is written to status next is written to this. Without a version it would be written to any.
            if let Some(version) = written? {
                std::sync::Arc::make_mut(&mut seen.cluster).metadata.resource_version = Some(version);
            }
        }
    }
    context.memory(&seen.key, |memory| memory.mirrored = mark);
    Ok(())
}

/// Writes status where it changed, and has told what happened. Returns when the next look is due.
pub async fn report(context: &Context, seen: &mut Seen, facts: &Facts<'_>) -> Result<Option<Duration>, ApiError> {
    let before = seen.cluster.status.clone().unwrap_or_default();
    let Composed { status, mut wake, complaints } = compose(context, seen, facts, &before);
    let mut happenings: Vec<_> = facts.told.iter().cloned().chain(happenings(seen, facts, &before, &status)).collect();
    let reload = status.reload.clone();
    if differs(&before, &status) {
        let told = context.memory(&seen.key, |memory| memory.numbers);
        let told = told.map(|(at, took)| pace::Told { since: at.elapsed(), took });
        if let Some(hold) = pace::hold(&before, &status, told) {
            wake = Some(wake.map_or(hold, |wake| wake.min(hold)));
        } else {
            let numbers = pace::only_numbers(&before, &status);
            let begun = Instant::now();
            write(context, seen, status).await?;
            if numbers {
                context.memory(&seen.key, |memory| memory.numbers = Some((Instant::now(), begun.elapsed())));
            }
        }
    }
    // It counts as told only once it is: a pass that cannot write status has ended before.
    context.memory(&seen.key, |memory| {
        happenings.extend(unwell(&mut memory.complaints, &complaints, &before, seen.now));
        let (before, after) = (before.reload.as_ref(), reload.as_ref());
        happenings.extend(failed_reload(&mut memory.failed_reload, &seen.name, before, after));
        let (died, later) = deaths(&mut memory.deaths, seen);
        happenings.extend(died);
        wake = wake.into_iter().chain(later).min();
    });
    tell(context, seen, happenings);
    let kills = context.memory(&seen.key, |memory| uncounted(&mut memory.kills, &seen.owned()));
    context.metrics.killed_for_memory(kills);
    Ok(wake)
}

/// Has events published, for a pass that ends early.
pub fn tell(context: &Context, seen: &Seen, happenings: Vec<Happening>) {
    context.events.tell(&reference(seen), happenings);
}

/// Whether status says something new. The time of the figures alone is nothing new.
fn differs(before: &WorkerClusterStatus, after: &WorkerClusterStatus) -> bool {
    let bare = |status: &WorkerClusterStatus| {
        let mut status = status.clone();
        if let Some(autoscaling) = &mut status.autoscaling {
            autoscaling.sampled_at = None;
        }
        status
    };
    bare(before) != bare(after)
}

async fn write(context: &Context, seen: &mut Seen, status: WorkerClusterStatus) -> Result<(), ApiError> {
    let body = serde_json::to_value(&status).unwrap_or_default();
    let apply = async |version: &str| context.api.apply_status(&seen.namespace, &seen.name, version, &body).await;
    let version = seen.cluster.metadata.resource_version.as_deref().unwrap_or_default();
    let written = match apply(version).await {
        // Its user has changed it since, which is no matter; or it is another one of the same name, or about to go.
        Err(conflict) if conflict.code() == Some(409) => {
            let now = context.api.cluster_meta(&seen.namespace, &seen.name).await?;
            let same = now.filter(|now| now.uid.as_ref() == Some(&seen.uid) && now.deletion_timestamp.is_none());
            match same.and_then(|now| now.resource_version) {
                Some(version) => apply(&version).await?,
                None => return Err(conflict),
            }
        }
        written => written?,
    };
    let written = std::sync::Arc::new(written);
    context.memory(&seen.key, |memory| memory.written = Some(written.clone()));
    seen.cluster = written;
    Ok(())
}

fn reference(seen: &Seen) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{}/v1alpha1", names::GROUP)),
        kind: Some("WorkerCluster".into()),
        name: Some(seen.name.clone()),
        namespace: Some(seen.namespace.clone()),
        uid: Some(seen.uid.clone()),
        ..ObjectReference::default()
    }
}
