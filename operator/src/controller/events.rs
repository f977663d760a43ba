//! Events on a WorkerCluster: specific reasons, one for each thing that happened, never in the way of the work.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::time::timeout;

use crate::text::clip;

/// Publishes events.
pub struct Events(Recorder);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub warning: bool,
    pub reason: String,
    /// What was done. Events of the same reason and action are counted as one by the API: what must be told apart differs here.
    pub action: String,
    pub note: String,
}

/// An event is worth no more waiting than this.
const DEADLINE: Duration = Duration::from_secs(3);

// === impl Events ===

impl Events {
    pub fn new(recorder: Recorder) -> Self {
        Self(recorder)
    }

    /// Publishes in order; what cannot be published is logged.
    pub async fn publish(&self, about: &ObjectReference, happenings: Vec<Happening>) {
        for happening in happenings {
            tracing::info!(
                cluster = format!(
                    "{}/{}",
                    about.namespace.as_deref().unwrap_or_default(),
                    about.name.as_deref().unwrap_or_default()
                ),
                reason = happening.reason,
                "{}",
                happening.note
            );
            let event = Event {
                type_: if happening.warning { EventType::Warning } else { EventType::Normal },
                reason: clip(&happening.reason, 128).to_owned(),
                note: Some(clip(&happening.note, 1000).to_owned()),
                action: clip(&happening.action, 128).to_owned(),
                secondary: None,
            };
            match timeout(DEADLINE, self.0.publish(&event, about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, reason = happening.reason, "an event could not be published"),
                Err(_) => tracing::warn!(reason = happening.reason, "an event could not be published in time"),
            }
        }
    }
}

// === impl Happening ===

impl Happening {
    pub fn normal(reason: impl Into<String>, action: impl Into<String>, note: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.into(), action: action.into(), note: note.into() }
    }

    pub fn warning(reason: impl Into<String>, action: impl Into<String>, note: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(reason, action, note) }
    }
}
