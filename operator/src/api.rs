//! Calls to the API server: each with a deadline, one attempt, a metric, and, where it writes, the fence.
//!
//! kube's own retries are off: they repeat any method for minutes. What failed is tried again by the next reconcile, which looks first.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crds::{WorkerCluster, names};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Client, Config,
    api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, Preconditions},
    core::{ApiResource, GroupVersionKind, Status},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    decide::replicas::Removal,
    leader::{Fence, fence::Closed},
    metrics::Metrics,
};

/// The API server as this operator uses it.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    fence: Fence,
    metrics: Metrics,
}

/// Why a call gave no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{verb} {resource}: no answer within {} s", deadline.as_secs_f32())]
    Deadline { verb: &'static str, resource: &'static str, deadline: Duration },
    #[error(transparent)]
    Fenced(#[from] Closed),
    /// The API server answered with an error.
    #[error("{verb} {resource}: {}", status.message)]
    Answered { verb: &'static str, resource: &'static str, status: Box<Status> },
    #[error("{verb} {resource}: {message}")]
    Transport { verb: &'static str, resource: &'static str, message: String },
}

/// What became of a delete.
#[derive(Debug)]
pub enum Deleted {
    /// It is ending: this is it now.
    Ending(Box<Pod>),
    /// It is not there any more.
    Gone,
}

/// A call that takes longer is given up; the reconcile begins again.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A watch that the API server is silent on for so long is dead. Longer than the watch's own length, which ends it in good order.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

// === impl ApiError ===

impl ApiError {
    /// The HTTP code, where the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether the write may have been done all the same.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::Transport { .. } => true,
            Self::Answered { status, .. } => status.code >= 500,
            Self::Fenced(_) => false,
        }
    }

    /// Whether nothing can be created because the namespace is being deleted.
    pub fn is_namespace_ending(&self) -> bool {
        let Self::Answered { status, .. } = self else { return false };
        status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// How long the API server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { status, .. } => {
                let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                // Priority and fairness says it in a header only, which kube drops: its usual word is one second.
                let least = u32::from(status.code == 429);
                let seconds = asked.clamp(least, 60);
                (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
            }
            _ => None,
        }
    }

    /// Label of metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Fenced(_) => "fenced",
            Self::Answered { .. } => "answered",
            Self::Transport { .. } => "transport",
        }
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// Connects by the pod's service account, or by a kubeconfig.
    ///
    /// # Errors
    /// Where neither is to be had.
    pub async fn connect(fence: Fence, metrics: Metrics) -> anyhow::Result<Self> {
        let mut config = Config::infer().await?;
        config.default_retry = false;
        config.read_timeout = Some(READ_TIMEOUT);
        config.connect_timeout = Some(CALL_DEADLINE);
        Ok(Self { client: Client::try_from(config)?, fence, metrics })
    }

    /// The client, for watches, events and the Lease.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        deadline: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let started = Instant::now();
        let result = match timeout(deadline, call).await {
            Err(_) => Err(ApiError::Deadline { verb, resource, deadline }),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(ApiError::Answered { verb, resource, status }),
            Ok(Err(error)) => Err(ApiError::Transport { verb, resource, message: error.to_string() }),
        };
        let outcome = match &result {
            Ok(_) => "ok".to_owned(),
            Err(ApiError::Answered { status, .. }) => status.code.to_string(),
            Err(error) => error.category().to_owned(),
        };
        self.metrics.api_call(verb, resource, &outcome, started.elapsed());
        result
    }

    async fn read<T>(
        &self,
        resource: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.call("get", resource, CALL_DEADLINE, call).await
    }

    async fn write<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let left = self.fence.permit(Instant::now())?;
        self.call(verb, resource, left.min(CALL_DEADLINE), call).await
    }

    /// Creates a pod. A dry run is checked strictly: an unknown field is an error.
    pub async fn create_pod(&self, namespace: &str, pod: &Value, dry_run: bool) -> Result<Pod, ApiError> {
        let check = if dry_run { "&dryRun=All&fieldValidation=Strict" } else { "" };
        let uri = format!("/api/v1/namespaces/{namespace}/pods?fieldManager={}{check}", names::FIELD_MANAGER);
        let verb = if dry_run { "dry-run" } else { "create" };
        let call = async {
            let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
            let request = http::Request::post(uri).header(http::header::CONTENT_TYPE, "application/json").body(body);
            self.client.request(request.map_err(kube::Error::HttpError)?).await
        };
        if dry_run { self.call(verb, "pods", CALL_DEADLINE, call).await } else { self.write(verb, "pods", call).await }
    }

    /// All pods that carry a WorkerCluster's label, as fresh as etcd.
    pub async fn pods(&self, namespace: &str, cluster: &str) -> Result<Vec<Pod>, ApiError> {
        let params = ListParams::default().labels(&format!("{}={cluster}", names::LABEL_NAME));
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        Ok(self.call("list", "pods", CALL_DEADLINE, api.list(&params)).await?.items)
    }

    /// A WorkerCluster's metadata at this moment.
    pub async fn cluster_meta(&self, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, ApiError> {
        let api = Api::<WorkerCluster>::namespaced(self.client(), namespace);
        Ok(self.read("workerclusters", api.get_metadata_opt(name)).await?.map(|found| found.metadata))
    }

    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, ApiError> {
        self.read("pods", Api::<Pod>::namespaced(self.client(), namespace).get_opt(name)).await
    }

    /// Deletes exactly this pod, and, where the decision rests on its version, only in that.
    pub async fn delete_pod(&self, namespace: &str, removal: &Removal) -> Result<Deleted, ApiError> {
        let preconditions = Preconditions {
            uid: Some(removal.uid.clone()),
            resource_version: removal.version.map(|version| version.to_string()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        match self.write("delete", "pods", api.delete(&removal.name, &params)).await {
            Ok(answer) => Ok(answer.either(|pod| Deleted::Ending(Box::new(pod)), |_| Deleted::Gone)),
            Err(error) if error.code() == Some(404) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }

    /// Makes the pod ours, if it is still the one that was looked at.
    pub async fn adopt_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: &str,
        owner: &Value,
    ) -> Result<Pod, ApiError> {
        let patch = json!({"metadata": {"uid": uid, "resourceVersion": version, "ownerReferences": [owner]}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        self.write("patch", "pods", api.patch(name, &params, &Patch::Strategic(patch))).await
    }

    fn services(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Service"));
        Api::namespaced_with(self.client(), namespace, &resource)
    }

    pub async fn service(&self, namespace: &str, name: &str) -> Result<Option<DynamicObject>, ApiError> {
        self.read("services", self.services(namespace).get_opt(name)).await
    }

    /// Server-side apply that takes no field from anybody: for a Service that does not exist yet.
    pub async fn apply_service(&self, namespace: &str, name: &str, service: &Value) -> Result<DynamicObject, ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        self.write("apply", "services", self.services(namespace).patch(name, &params, &Patch::Apply(service))).await
    }

    /// Merge-patches a Service that is ours; its UID stands in `patch`.
    pub async fn patch_service(&self, namespace: &str, name: &str, patch: &Value) -> Result<DynamicObject, ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        self.write("patch", "services", self.services(namespace).patch(name, &params, &Patch::Merge(patch))).await
    }

    pub async fn delete_service(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: Some(uid.into()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.write("delete", "services", self.services(namespace).delete(name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the whole status under our own field manager.
    pub async fn apply_status(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        status: &Value,
    ) -> Result<WorkerCluster, ApiError> {
        let body = json!({
            "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "WorkerCluster",
            "metadata": {"name": name, "namespace": namespace, "uid": uid}, "status": status
        });
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), force: true, ..PatchParams::default() };
        let api = Api::<WorkerCluster>::namespaced(self.client(), namespace);
        self.write("apply", "workerclusters/status", api.patch_status(name, &params, &Patch::Apply(body))).await
    }

    /// Writes the conditions of a resource that cannot be read, and leaves the rest of its status.
    pub async fn patch_conditions(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        status: &Value,
    ) -> Result<(), ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api =
            Api::<DynamicObject>::namespaced_with(self.client(), namespace, &ApiResource::erase::<WorkerCluster>(&()));
        let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
        self.write("patch", "workerclusters/status", api.patch_status(name, &params, &patch)).await.map(drop)
    }

    /// Mirrors the autoscaler's decision into `spec.replicas`, in this version of the resource and no other: the user may just have
    /// taken autoscaling away.
    pub async fn scale(&self, namespace: &str, name: &str, version: &str, replicas: i32) -> Result<(), ApiError> {
        let params = PatchParams { field_manager: Some(names::SCALE_FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}});
        let api = Api::<WorkerCluster>::namespaced(self.client(), namespace);
        self.write("patch", "workerclusters/scale", api.patch_scale(name, &params, &Patch::Merge(patch)))
            .await
            .map(drop)
    }

    /// One key of a Secret, as text. `None` where the Secret or the key is missing.
    pub async fn secret_key(&self, namespace: &str, name: &str, key: &str) -> Result<Option<String>, ApiError> {
        let secret = self.read("secrets", Api::<Secret>::namespaced(self.client(), namespace).get_opt(name)).await?;
        let data = secret.and_then(|secret| secret.data?.remove(key));
        Ok(data.and_then(|data| String::from_utf8(data.0).ok()))
    }
}
