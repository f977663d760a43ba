//! Changes of the Lease as a watch shows them: a Lease that is given back, or taken away by hand, is known at once. Only a quicker way to
//! what the elector looks at anyway: without the right to watch it everything works, at the pace of the attempts.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};

use super::lease::Seen;
use crate::text::causes;

/// Between the end of one watch and the beginning of the next.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where the watch was refused.
const REFUSED: Duration = Duration::from_secs(60);
/// How long one watch lasts, in seconds: as those of the operator's work.
const WATCH_SECONDS: u32 = 45;

/// What is seen of the Lease `name`, without end.
pub fn of(api: Api<Lease>, name: String) -> impl Stream<Item = Seen> {
    stream::unfold(Duration::ZERO, move |pause| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            tokio::time::sleep(pause).await;
            let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
            // Without a version the watch begins with the Lease as it is.
            match api.watch(&params, "").await {
                Ok(events) => Some((events.map_err(drop).try_filter_map(async |event| Ok(read(event))).boxed(), PAUSE)),
                Err(error) => {
                    let refused = matches!(&error, kube::Error::Api(status) if status.code == 403);
                    tracing::debug!(error = causes(&error), "the lease cannot be watched");
                    Some((stream::empty().boxed(), if refused { REFUSED } else { PAUSE }))
                }
            }
        }
    })
    // A watch that breaks ends; the next begins.
    .flat_map(|events| events.filter_map(async |event: Result<Seen, ()>| event.ok()))
}

fn read(event: WatchEvent<Lease>) -> Option<Seen> {
    match event {
        WatchEvent::Added(lease) | WatchEvent::Modified(lease) => Some(seen(Some(&lease))),
        WatchEvent::Deleted(_) => Some(Seen::Absent),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
    }
}

/// The Lease as `lease::step` wants it.
pub fn seen(lease: Option<&Lease>) -> Seen {
    let Some(lease) = lease else { return Seen::Absent };
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
    Seen::Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        duration: seconds.map(Duration::from_secs),
    }
}
