//! Names that users, the operator, the chart and the primary share. `docs/design/names.md` lists them.

/// API group of the resource, and prefix of every label and annotation of ours.
pub const GROUP: &str = "workercluster.dev";
/// Name of the container in the template whose command is wrapped.
pub const WORKER_CONTAINER: &str = "worker";
/// Name of the init container that copies the primary into the pod.
pub const INIT_CONTAINER: &str = "workercluster-primary";
/// Name of the volume that carries the primary's binary.
pub const VOLUME: &str = "workercluster";
/// Where that volume is mounted.
pub const MOUNT: &str = "/run/workercluster";
/// Name of the primary's admin port in the pod.
pub const ADMIN_PORT_NAME: &str = "primary";
/// Label on every object of ours: the name of the WorkerCluster.
pub const LABEL_NAME: &str = "workercluster.dev/name";
/// Label on every pod: the revision of the spec that it was built from.
pub const LABEL_REVISION: &str = "workercluster.dev/revision";
/// Label on every pod: its place among the replicas, from 0.
pub const LABEL_SLOT: &str = "workercluster.dev/slot";
/// Annotation on a ControllerRevision: the primary's image that its pods have. Not part of the revision, so that an upgrade of the operator
/// replaces no pod.
pub const ANNOTATION_PRIMARY_IMAGE: &str = "workercluster.dev/primary-image";
/// Annotation on a ControllerRevision: why it came about, as `kubectl rollout history` shows it; copied from the WorkerCluster's.
pub const ANNOTATION_CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Annotation that a user puts on a pod: `true` has it go first when replicas are taken away.
pub const ANNOTATION_DELETE_FIRST: &str = "workercluster.dev/delete-first";
/// Annotation of the template whose change alone replaces all pods, as `kubectl rollout restart` writes it.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotation that a user puts on a WorkerCluster: a new value has all its workers replaced, replica by replica (`kubectl wc reload`).
pub const ANNOTATION_RELOAD: &str = "workercluster.dev/reload";
/// Annotation beside [`ANNOTATION_RELOAD`]: how many workers of a replica are replaced at a time; 1 where it is missing.
pub const ANNOTATION_RELOAD_AT_ONCE: &str = "workercluster.dev/reload-at-once";
/// Annotation that a user puts on a pod: `true` has it be not ready, and serve on (`kubectl wc drain`).
pub const ANNOTATION_DRAIN: &str = "workercluster.dev/drain";
/// Annotation that the operator puts on a pod that holds requests: the annotations for autoscalers of nodes that it has put beside it.
pub const ANNOTATION_BUSY: &str = "workercluster.dev/busy";
/// Label on every object, as Kubernetes recommends.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "workercluster-operator";
/// Label on every object, as Kubernetes recommends: the WorkerCluster's name.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Field manager of what the operator applies.
pub const FIELD_MANAGER: &str = "workercluster-operator";
/// Field manager of the mirrored `spec.replicas`, so that the autoscaler's ownership can be seen apart.
pub const SCALE_FIELD_MANAGER: &str = "workercluster-autoscaler";
/// Longest name of a WorkerCluster: 63 (a DNS label) less `-` and the ten characters of a pod's suffix.
pub const NAME_MAX_LENGTH: usize = 52;

/// Name of the headless Service that gives each pod a DNS name.
#[must_use]
pub fn pods_service(cluster: &str) -> String {
    format!("{cluster}-pods")
}
