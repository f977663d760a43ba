//! Nodes: each reduced to what the breaker reads, and the watch that keeps the breaker.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, time::Instant};

use super::{restart::Restart, watch::config};
use crate::{
    decide::nodes::{Breaker, State, census},
    metrics::Metrics,
    text::causes,
};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    pub name: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    pub health: Health,
    /// `spec.unschedulable`: somebody has closed it to new pods, to work on it.
    pub cordoned: bool,
    /// By a taint it is no place for ordinary pods (a control plane), or it is about to be taken away by whoever scales nodes.
    pub set_apart: bool,
    pub created: Option<Timestamp>,
    /// When its health last changed.
    pub since: Option<Timestamp>,
}

/// The condition Ready of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// The kubelet says so itself.
    NotReady,
    /// The kubelet says nothing any more, or has said nothing yet.
    Unknown,
}

/// What is known of the nodes; `None` before they have been listed, or it has turned out that they may not be.
pub type Sight = Option<Arc<Breaker>>;

const ZONE: &str = "topology.kubernetes.io/zone";
/// Taints of nodes that say nothing about the others. A control plane's kubelet stands beside the API server, so it answers even where
/// the network to all others is cut; nodes that are being scaled away fall silent because they are meant to.
const SET_APART: [&str; 4] = [
    "node-role.kubernetes.io/control-plane",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
];
/// A node that is not ready, and was made no longer before that than this, has not joined yet.
const JOINING: Duration = Duration::from_secs(60);

/// Where nodes may not be listed, that is asked for again after this time: the right may be given later.
const REFUSED: Duration = Duration::from_secs(60);

// === impl NodeView ===

impl NodeView {
    /// Reads a node; `None` where it has no name.
    pub fn read(node: &Node) -> Option<Self> {
        let meta = &node.metadata;
        let spec = node.spec.as_ref();
        let ready = node.status.as_ref().and_then(|status| {
            status.conditions.iter().flatten().find(|condition: &&NodeCondition| condition.type_ == "Ready")
        });
        let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        Some(Self {
            name: meta.name.clone()?,
            zone: meta.labels.as_ref().and_then(|labels| labels.get(ZONE)).cloned(),
            health: match ready.map(|ready| ready.status.as_str()) {
                Some("True") => Health::Ready,
                Some("False") => Health::NotReady,
                _ => Health::Unknown,
            },
            cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            set_apart: taints.iter().any(|taint| SET_APART.contains(&taint.key.as_str())),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            since: ready.and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0),
        })
    }

    /// Whether it has never been ready, as far as the API server's own times tell.
    pub fn is_joining(&self) -> bool {
        let Some(created) = self.created else { return false };
        let changed = self.since.unwrap_or(created);
        self.health != Health::Ready && changed.duration_since(created).as_secs() < JOINING.as_secs().cast_signed()
    }
}

/// Watches the nodes and shows the breaker to `sight` whenever it changes. Never ends.
pub async fn follow(client: Client, metrics: Metrics, sight: watch::Sender<Sight>) {
    let mut stream = std::pin::pin!(watcher(Api::<Node>::all(client), config()).backoff(Restart::default()));
    let began = Instant::now();
    let mut nodes = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let mut state = State::default();
    let mut whole = false;
    let mut refused = false;
    let mut again = None;
    loop {
        let due = again.or_else(|| state.due().map(|due| began + due));
        tokio::select! {
            Some(event) = stream.next(), if again.is_none() => match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(node)) => listed.extend(row(&node)),
                Ok(Event::InitDone) => {
                    nodes = std::mem::take(&mut listed);
                    (whole, refused) = (true, false);
                }
                Ok(Event::Apply(node)) => nodes.extend(row(&node)),
                Ok(Event::Delete(node)) => drop(nodes.remove(&node.name_any())),
                Err(error) if is_refused(&error) => {
                    if !std::mem::replace(&mut refused, true) {
                        off("the operator may not list nodes (its ClusterRole lacks them)");
                    }
                    // What was seen before says nothing about now.
                    (whole, state) = (false, State::default());
                    nodes.clear();
                    again = Some(Instant::now() + REFUSED);
                }
                Err(error) => tracing::warn!(error = causes(&error), resource = "nodes", "the watch failed; it is opened again"),
            },
            () = tokio::time::sleep_until(due.unwrap_or(began)), if due.is_some() => again = None,
        }
        if whole {
            let census = census(nodes.values());
            state = state.step(&census, began.elapsed());
            metrics.nodes(&census, state.is_open());
        }
        if whole || refused {
            show(&sight, state.breaker());
        }
    }
}

/// Without sight of nodes there is no breaker; told once.
pub fn off(why: &str) {
    tracing::warn!("{why}: the breaker that holds removals back while most nodes are lost is off");
}

fn show(sight: &watch::Sender<Sight>, breaker: Breaker) {
    sight.send_if_modified(|before| {
        let changed = before.as_deref() != Some(&breaker);
        if changed {
            let was_open = before.as_ref().is_some_and(|before| before.outage().is_some());
            match breaker.outage() {
                Some(outage) => tracing::warn!("{outage}; nothing is removed because of it"),
                None if was_open => tracing::info!("enough nodes are back"),
                None => {}
            }
            *before = Some(Arc::new(breaker));
        }
        changed
    });
}

fn row(node: &Node) -> Option<(String, NodeView)> {
    NodeView::read(node).map(|view| (view.name.clone(), view))
}

fn is_refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(
        error,
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) | WatchFailed(kube::Error::Api(status))
            if status.code == 403
    )
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A node that has been ready for long, to be changed by the methods below.
    pub fn node(name: &str) -> NodeView {
        NodeView {
            name: name.into(),
            zone: None,
            health: Health::Ready,
            cordoned: false,
            set_apart: false,
            created: Timestamp::from_second(1000).ok(),
            since: Timestamp::from_second(1020).ok(),
        }
    }

    impl NodeView {
        pub fn silent(self) -> Self {
            Self { health: Health::Unknown, since: Timestamp::from_second(9000).ok(), ..self }
        }
        pub fn joining(self) -> Self {
            Self { health: Health::NotReady, since: self.created, ..self }
        }
        pub fn cordoned(self) -> Self {
            Self { cordoned: true, ..self }
        }
        pub fn set_apart(self) -> Self {
            Self { set_apart: true, ..self }
        }
        pub fn zone(self, zone: &str) -> Self {
            Self { zone: Some(zone.into()), ..self }
        }
    }

    fn read(spec: &Value, ready: &str, changed: &str) -> NodeView {
        let node = json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"topology.kubernetes.io/zone": "b"}},
            "spec": spec,
            "status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": ready, "lastTransitionTime": changed}
            ]}
        });
        NodeView::read(&serde_json::from_value(node).unwrap()).unwrap()
    }

    #[test]
    fn a_node_that_fell_silent_is_told_from_one_that_never_was_ready() {
        let lost = read(&json!({}), "Unknown", "2026-01-01T08:00:00Z");
        assert_eq!((lost.health, lost.zone.as_deref(), lost.is_joining()), (Health::Unknown, Some("b"), false));
        assert!(read(&json!({}), "False", "2026-01-01T00:00:10Z").is_joining());
        assert!(!read(&json!({}), "True", "2026-01-01T00:00:10Z").is_joining());
    }

    #[test]
    fn a_node_without_any_condition_is_joining() {
        let node = json!({"metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        let node = NodeView::read(&serde_json::from_value(node).unwrap()).unwrap();
        assert_eq!((node.health, node.is_joining()), (Health::Unknown, true));
    }

    #[test]
    fn taints_tell_which_nodes_say_nothing_about_the_others() {
        let tainted = |key: &str| {
            read(&json!({"taints": [{"key": key, "effect": "NoSchedule"}]}), "True", "2026-01-01T00:00:10Z").set_apart
        };
        assert!(tainted("node-role.kubernetes.io/control-plane") && tainted("ToBeDeletedByClusterAutoscaler"));
        assert!(!tainted("node.kubernetes.io/unreachable") && !tainted("kwok.x-k8s.io/node") && !tainted("team"));
    }

    #[test]
    fn a_cordoned_node_is_known_as_such() {
        assert!(read(&json!({"unschedulable": true}), "True", "2026-01-01T00:00:10Z").cordoned);
    }
}
