//! Events on a WorkerCluster: specific reasons, one for each thing that happened, never in the way of the work: a pass only says what is to be
//! told, and goes on.

use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::{sync::mpsc, time::timeout};

use crate::text::{causes, clip, printable};

/// Where a pass says what is to be told.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(ObjectReference, Happening)>);

/// Tells it, one after the other.
pub struct Teller<P = Recorder> {
    publish: P,
    untold: mpsc::Receiver<(ObjectReference, Happening)>,
}

/// Who takes events to the API server.
pub trait Publish {
    /// Publishes one.
    fn publish(&self, event: &Event, about: &ObjectReference) -> impl Future<Output = kube::Result<()>> + Send;
}

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
/// Events that wait to be told. At the pace that events have (`api/upstream.rs`) the last of them is told after some 20 s: later than that
/// nobody would connect it with what happened, so what comes on top is only logged.
const UNTOLD: usize = 512;

/// Both ends.
pub fn new<P>(publish: P) -> (Events, Teller<P>) {
    let (events, untold) = mpsc::channel(UNTOLD);
    (Events(events), Teller { publish, untold })
}

// === impl Events ===

impl Events {
    /// Has them told in order, and logs them; waits for nothing.
    pub fn tell(&self, about: &ObjectReference, happenings: Vec<Happening>) {
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
            if let Err(error) = self.0.try_send((about.clone(), happening)) {
                let (_, happening) = error.into_inner();
                tracing::warn!(reason = happening.reason, "too many events at once: this one is only logged");
            }
        }
    }
}

// === impl Teller ===

impl Publish for Recorder {
    async fn publish(&self, event: &Event, about: &ObjectReference) -> kube::Result<()> {
        Self::publish(self, event, about).await
    }
}

impl<P: Publish> Teller<P> {
    /// Tells until `over`, and then what is still untold.
    pub async fn run(mut self, over: impl Future<Output = ()>) {
        let mut over = std::pin::pin!(over.fuse());
        loop {
            tokio::select! {
                biased;
                next = self.untold.recv() => match next {
                    Some((about, happening)) => self.tell(&about, happening).await,
                    None => return,
                },
                () = &mut over => self.untold.close(),
            }
        }
    }

    /// What cannot be published is logged.
    async fn tell(&self, about: &ObjectReference, happening: Happening) {
        let event = Event {
            type_: if happening.warning { EventType::Warning } else { EventType::Normal },
            reason: clip(&happening.reason, 128).to_owned(),
            note: Some(clip(&printable(&happening.note), 1000).to_owned()),
            action: clip(&happening.action, 128).to_owned(),
            secondary: None,
        };
        match timeout(DEADLINE, self.publish.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = causes(&error), reason = happening.reason, "an event could not be published");
            }
            Err(_) => tracing::warn!(reason = happening.reason, "an event could not be published in time"),
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps the notes; takes `0` for each.
    #[derive(Clone, Default)]
    struct Told(Duration, Arc<Mutex<Vec<String>>>);

    impl Publish for Told {
        async fn publish(&self, event: &Event, _: &ObjectReference) -> kube::Result<()> {
            tokio::time::sleep(self.0).await;
            self.1.lock().unwrap().push(event.note.clone().unwrap());
            Ok(())
        }
    }

    fn happening(note: &str) -> Happening {
        Happening::normal("PodsCreated", "Create", note)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_waits_for_no_event_and_what_is_left_at_the_end_is_told_in_order() {
        let told = Told(Duration::from_secs(1), Arc::default());
        let (events, teller) = new(told.clone());
        let begun = tokio::time::Instant::now();
        events.tell(&ObjectReference::default(), vec![happening("a"), happening("b"), happening("c")]);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        teller.run(tokio::time::sleep(Duration::from_millis(1500))).await;
        assert_eq!((*told.1.lock().unwrap()).as_slice(), ["a", "b", "c"]);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_storm_of_events_is_bounded() {
        let told = Told::default();
        let (events, teller) = new(told.clone());
        events.tell(&ObjectReference::default(), vec![happening("x"); UNTOLD + 100]);
        teller.run(std::future::ready(())).await;
        assert_eq!(told.1.lock().unwrap().len(), UNTOLD);
    }
}
