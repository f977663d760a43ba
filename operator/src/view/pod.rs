//! One pod, reduced to what decisions read.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crds::names;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{memory_kill::MemoryKill, protection::Protection};
use crate::{
    build::pod::queue_port,
    decide::autoscale::{CpuRequest, worker_cpu_request},
};

/// A scheduler that knows of a pod says within moments where it goes or why it cannot; one that has many to place takes some seconds.
const OVERLOOKED_AFTER: Duration = Duration::from_secs(15);

/// One pod of a WorkerCluster.
#[expect(clippy::struct_excessive_bools, reason = "each is told by another part of the pod")]
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    pub name: String,
    /// Shared with all that is known about the pod elsewhere.
    pub uid: Arc<str>,
    /// Version of the object; grows with every change (comparable since Kubernetes 1.35, and always so with etcd).
    pub version: u64,
    /// The WorkerCluster that the label names.
    pub cluster: String,
    /// UID of the controlling owner, whoever that is.
    pub controller: Option<String>,
    pub revision: Option<String>,
    pub slot: Option<u32>,
    pub labels: Labels,
    pub phase: Phase,
    pub readiness: Readiness,
    pub deleting: bool,
    pub node: Option<String>,
    pub ip: Option<IpAddr>,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    /// Restarts of containers, summed.
    pub restarts: i32,
    /// `controller.kubernetes.io/pod-deletion-cost`, 0 where absent or not a number (as for a ReplicaSet).
    pub deletion_cost: i64,
    /// A user asks that this pod goes first when replicas are taken away (`workercluster.dev/delete-first: "true"`).
    pub delete_first: bool,
    /// A user wants it to be not ready, and to serve on (`workercluster.dev/drain: "true"`).
    pub drain: bool,
    /// The cluster itself took the pod away (drain, preemption, eviction): no fault of the pod.
    pub disrupted: bool,
    /// Why the pod failed, or what a container waits for, as `Evicted: The node was low on resource: memory`.
    pub trouble: Option<String>,
    /// The last end of the worker container, where that was the kernel's doing for memory.
    pub memory_kill: Option<MemoryKill>,
    /// Image of the primary that was copied into it.
    pub primary_image: Option<String>,
    /// Processor request of the worker container.
    pub cpu_request: CpuRequest,
    /// The port on which its primary takes requests itself; `None` where it does not.
    pub queue_port: Option<u16>,
    /// What keeps the autoscalers of nodes from taking it away.
    pub protection: Protection,
}

/// Whether a pod has the labels that it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    Whole,
    /// One of those that nothing is decided on is missing or changed.
    Damaged,
}

/// Where a pod is in its life. A phase that is not known counts as Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// The Ready condition. The time is its last transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready(Timestamp),
    NotReady(Option<Timestamp>),
    /// The node does not answer.
    Unknown(Option<Timestamp>),
    /// No condition yet.
    Absent,
}

// === impl PodView ===

impl PodView {
    /// Reads a pod; `None` where it lacks what every stored pod has, or our label.
    pub fn read(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let labels = meta.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let status = pod.status.as_ref();
        let containers = || {
            let status = status.into_iter();
            status.flat_map(|status| {
                status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
            })
        };
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let slot = label(names::LABEL_SLOT).and_then(|slot| slot.parse().ok());
        Some(Self {
            name: meta.name.clone()?,
            uid: meta.uid.as_deref()?.into(),
            version: meta.resource_version.as_deref()?.parse().ok()?,
            cluster: label(names::LABEL_NAME)?,
            controller: meta
                .owner_references
                .iter()
                .flatten()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone()),
            revision: label(names::LABEL_REVISION),
            slot,
            labels: if slot.is_some()
                && label(names::LABEL_INSTANCE) == label(names::LABEL_NAME)
                && label(names::LABEL_MANAGED_BY).as_deref() == Some(names::MANAGED_BY)
            {
                Labels::Whole
            } else {
                Labels::Damaged
            },
            phase: Phase::read(status.and_then(|status| status.phase.as_deref())),
            readiness: Readiness::read(conditions),
            deleting: meta.deletion_timestamp.is_some(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ip: status.and_then(|status| status.pod_ip.as_deref()?.parse().ok()),
            created: time(meta.creation_timestamp.as_ref()),
            started: time(status.and_then(|status| status.start_time.as_ref())),
            restarts: containers().map(|container| container.restart_count).fold(0, i32::saturating_add),
            deletion_cost: annotation("controller.kubernetes.io/pod-deletion-cost")
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0),
            delete_first: annotation(names::ANNOTATION_DELETE_FIRST).is_some_and(|first| first == "true"),
            drain: annotation(names::ANNOTATION_DRAIN).is_some_and(|drain| drain == "true"),
            disrupted: conditions
                .iter()
                .any(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True"),
            trouble: failure(pod).or_else(|| containers().find_map(waiting)).or_else(|| unschedulable(conditions)),
            memory_kill: MemoryKill::read(pod),
            primary_image: pod.spec.as_ref().and_then(primary_image),
            cpu_request: worker_cpu_request(&pod.spec.clone().unwrap_or_default()),
            queue_port: pod.spec.as_ref().and_then(queue_port),
            protection: Protection::read(annotation),
        })
    }

    /// Of a WorkerCluster, and controlled by nobody: it may be taken.
    pub fn is_orphan(&self) -> bool {
        self.controller.is_none() && self.revision.is_some() && !self.deleting
    }

    /// Not ended and not ending.
    pub fn is_active(&self) -> bool {
        !self.deleting && !self.is_finished()
    }

    /// Succeeded or Failed.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.readiness, Readiness::Ready(_)) && !self.deleting
    }

    /// Whether, and else in which time at the earliest, the pod has been ready for `min_ready` without a break; `None` where it is not ready.
    pub fn available_in(&self, min_ready: Duration, now: Timestamp) -> Option<Duration> {
        match self.readiness {
            Readiness::Ready(since) if !self.deleting => {
                // A clock that runs behind the API server's sees no negative age.
                let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                Some(min_ready.saturating_sub(age))
            }
            _ => None,
        }
    }

    /// Ready for `min_ready` without a break.
    pub fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.available_in(min_ready, now).is_some_and(|wait| wait.is_zero())
    }

    /// In which time no scheduler will have spoken of the pod for so long that it is worth telling; `None` where one has, or something else is told.
    pub fn overlooked_in(&self, now: Timestamp) -> Option<Duration> {
        let open = self.phase == Phase::Pending && self.node.is_none() && self.trouble.is_none() && !self.deleting;
        let age = now.duration_since(self.created.filter(|_| open)?);
        Some(OVERLOOKED_AFTER.saturating_sub(Duration::try_from(age).unwrap_or_default()))
    }

    /// Whether this pod has never been ready, as far as its conditions tell: the Ready condition has not moved since the pod began
    /// (within 30 s, the figure with which a HorizontalPodAutoscaler asks the same).
    pub fn was_never_ready(&self) -> bool {
        match (self.readiness, self.started) {
            (Readiness::Absent | Readiness::NotReady(None), _) | (_, None) => !self.is_ready(),
            (Readiness::NotReady(Some(moved)), Some(started)) => moved.duration_since(started).as_secs() < 30,
            _ => false,
        }
    }
}

impl Phase {
    fn read(phase: Option<&str>) -> Self {
        match phase {
            None | Some("Pending" | "") => Self::Pending,
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            Some(_) => Self::Unknown,
        }
    }
}

impl Readiness {
    fn read(conditions: &[PodCondition]) -> Self {
        let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else { return Self::Absent };
        let moved = time(ready.last_transition_time.as_ref());
        match (ready.status.as_str(), moved) {
            ("True", Some(moved)) => Self::Ready(moved),
            ("True", None) => Self::Ready(Timestamp::UNIX_EPOCH),
            ("False", moved) => Self::NotReady(moved),
            (_, moved) => Self::Unknown(moved),
        }
    }
}

fn primary_image(spec: &PodSpec) -> Option<String> {
    let init = spec.init_containers.iter().flatten().find(|container| container.name == names::INIT_CONTAINER);
    init.and_then(|container| container.image.clone())
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

fn failure(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let reason = status.reason.as_deref().unwrap_or("Failed");
    Some(sentence(reason, status.message.as_deref()))
}

/// What a container waits for, where that is a fault and not a normal start.
fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    Some(format!("container {}: {}", container.name, sentence(reason, waiting.message.as_deref())))
}

fn unschedulable(conditions: &[PodCondition]) -> Option<String> {
    let scheduled =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(sentence(scheduled.reason.as_deref().unwrap_or("Unschedulable"), scheduled.message.as_deref()))
}

fn sentence(reason: &str, message: Option<&str>) -> String {
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {}", crate::text::clip(message, 300)),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::view::protection::Protected;

    /// A running, ready pod of revision `r1`, to be changed by the methods below.
    pub fn pod(name: &str) -> PodView {
        PodView {
            name: name.into(),
            uid: format!("uid-{name}").into(),
            version: 1,
            cluster: "web".into(),
            controller: Some("owner".into()),
            revision: Some("r1".into()),
            slot: Some(0),
            labels: Labels::Whole,
            phase: Phase::Running,
            readiness: Readiness::Ready(Timestamp::UNIX_EPOCH),
            deleting: false,
            node: Some("node".into()),
            ip: "198.18.0.9".parse().ok(),
            created: Some(Timestamp::UNIX_EPOCH),
            started: Some(Timestamp::UNIX_EPOCH),
            restarts: 0,
            deletion_cost: 0,
            delete_first: false,
            drain: false,
            disrupted: false,
            trouble: None,
            memory_kill: None,
            primary_image: None,
            cpu_request: CpuRequest::Millicores(100),
            queue_port: None,
            protection: Protection::default(),
        }
    }

    impl PodView {
        pub fn version(self, version: u64) -> Self {
            Self { version, ..self }
        }
        pub fn uid(self, uid: &str) -> Self {
            Self { uid: uid.into(), ..self }
        }
        pub fn deleting(self) -> Self {
            Self { deleting: true, ..self }
        }
        pub fn slot(self, slot: u32) -> Self {
            Self { slot: Some(slot), ..self }
        }
        pub fn revision(self, revision: &str) -> Self {
            Self { revision: Some(revision.into()), ..self }
        }
        pub fn phase(self, phase: Phase) -> Self {
            let readiness = if phase == Phase::Running { self.readiness } else { Readiness::NotReady(None) };
            Self { phase, readiness, ..self }
        }
        pub fn not_ready(self) -> Self {
            Self { readiness: Readiness::NotReady(Some(Timestamp::UNIX_EPOCH)), ..self }
        }
        pub fn node(self, node: Option<&str>) -> Self {
            Self { node: node.map(Into::into), ..self }
        }
        pub fn ready_since(self, seconds: i64) -> Self {
            Self { readiness: Readiness::Ready(Timestamp::from_second(seconds).unwrap()), ..self }
        }
    }

    #[test]
    fn a_pod_is_read_with_what_it_waits_for() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-1", "uid": "u", "resourceVersion": "7", "labels": {"workercluster.dev/name": "web", "workercluster.dev/slot": "3"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "o", "controller": true}]},
            "spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "250m"}}}, {"name": "side"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 2,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}
        }))
        .unwrap();
        let view = PodView::read(&pod).unwrap();
        assert_eq!((view.version, view.slot, view.restarts, view.phase), (7, Some(3), 2, Phase::Pending));
        assert_eq!(view.trouble.as_deref(), Some("container worker: ImagePullBackOff: no such image"));
        assert_eq!(view.cpu_request, CpuRequest::Millicores(250));
        assert_eq!(view.controller.as_deref(), Some("o"));
    }

    #[test]
    fn a_pod_tells_where_its_primary_takes_requests_and_that_it_was_said_to_be_busy() {
        let pod = |balancing: &str, annotations: serde_json::Value| {
            let pod = serde_json::json!({
                "metadata": {"name": "web-1", "uid": "u", "resourceVersion": "7", "labels": {"workercluster.dev/name": "web"}, "annotations": annotations},
                "spec": {"containers": [{"name": "side", "env": [{"name": "PORT", "value": "1"}]}, {"name": "worker", "env": [
                    {"name": "WORKERCLUSTER_LISTEN", "value": "[::]:8000"}, {"name": "WORKERCLUSTER_BALANCING", "value": balancing}]}]}
            });
            let view = PodView::read(&serde_json::from_value(pod).unwrap()).unwrap();
            (view.queue_port, view.protection.state())
        };
        let none = serde_json::json!({});
        assert_eq!(pod("queue", none.clone()), (Some(8000), Protected::Free));
        assert_eq!(pod("steered", none), (None, Protected::Free));
        assert_eq!(pod("queue", serde_json::json!({"workercluster.dev/busy": ""})).1, Protected::Ours);
    }

    #[test]
    fn a_pod_that_no_scheduler_speaks_of_is_told_after_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let open = PodView { phase: Phase::Pending, node: None, created: Some(at(100)), ..pod("web-1") };
        assert_eq!(open.overlooked_in(at(100)), Some(Duration::from_secs(15)));
        assert_eq!(open.overlooked_in(at(90)), Some(Duration::from_secs(15)), "a clock that runs behind");
        assert_eq!(open.overlooked_in(at(114)), Some(Duration::from_secs(1)));
        assert_eq!(open.overlooked_in(at(200)), Some(Duration::ZERO));
        let placed = PodView { node: Some("node".into()), ..open.clone() };
        let told = PodView { trouble: Some("Unschedulable: 0/3 nodes".into()), ..open.clone() };
        for other in [placed, told, open.deleting()] {
            assert_eq!(other.overlooked_in(at(200)), None);
        }
    }

    #[test]
    fn a_pod_without_our_label_is_no_pod_of_ours() {
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}}))
                .unwrap();
        assert_eq!(PodView::read(&pod), None);
    }
}
