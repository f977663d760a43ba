//! Each call that the operator makes, by what it is for.

use crds::{WorkerCluster, names};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, Preconditions},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{ApiError, ApiServer, CALL_DEADLINE};
use crate::{
    decide::replicas::Removal,
    view::{
        PodView,
        protection::{Protected, Protection},
    },
};

/// What became of a delete.
#[derive(Debug)]
pub enum Deleted {
    /// It is ending: this is it now.
    Ending(Box<Pod>),
    /// It is not there any more.
    Gone,
}

/// The kinds of objects that a WorkerCluster owns beside its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    Service,
    Budget,
    Revision,
}

// === impl Child ===

impl Child {
    /// As conditions and events call it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Budget => "PodDisruptionBudget",
            Self::Revision => "ControllerRevision",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Budget => "poddisruptionbudgets",
            Self::Revision => "controllerrevisions",
        }
    }

    fn resource(self) -> ApiResource {
        let group = match self {
            Self::Service => "",
            Self::Budget => "policy",
            Self::Revision => "apps",
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", self.kind()), self.plural())
    }
}

// === impl ApiServer ===

impl ApiServer {
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

    /// All pods that carry a WorkerCluster's label, as fresh as etcd, and the version at which they are all.
    pub async fn pods(&self, namespace: &str, cluster: &str) -> Result<(u64, Vec<Pod>), ApiError> {
        let params = ListParams::default().labels(&format!("{}={cluster}", names::LABEL_NAME));
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        let list = self.call("list", "pods", CALL_DEADLINE, api.list(&params)).await?;
        let version = list.metadata.resource_version.and_then(|version| version.parse().ok());
        Ok((version.unwrap_or(0), list.items))
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
            uid: Some(removal.uid.to_string()),
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

    /// A Secret of our own.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ApiError> {
        self.read("secrets", Api::<Secret>::namespaced(self.client(), namespace).get_opt(name)).await
    }

    /// Puts a value into a Secret of our own, if it is still as it was read.
    pub async fn keep_secret(&self, namespace: &str, read: &Secret, key: &str, value: &str) -> Result<(), ApiError> {
        let meta = &read.metadata;
        let patch = json!({"metadata": {"resourceVersion": meta.resource_version}, "stringData": {(key): value}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = Api::<Secret>::namespaced(self.client(), namespace);
        let name = meta.name.clone().unwrap_or_default();
        self.write("patch", "secrets", api.patch(&name, &params, &Patch::Merge(patch))).await.map(drop)
    }

    /// Makes the pod ours, if it is still the one that was looked at.
    pub async fn adopt_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: &str,
        owner: &Value,
        labels: &Value,
    ) -> Result<Pod, ApiError> {
        let patch =
            json!({"metadata": {"uid": uid, "resourceVersion": version, "ownerReferences": [owner], "labels": labels}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        self.write("patch", "pods", api.patch(name, &params, &Patch::Strategic(patch))).await
    }

    /// Merges annotations into those of a pod, if it is still the one that was looked at, and as it was.
    pub async fn annotate_pod(&self, namespace: &str, pod: &PodView, annotations: &Value) -> Result<Pod, ApiError> {
        let version = pod.version.to_string();
        let patch = json!({"metadata": {"uid": &*pod.uid, "resourceVersion": version, "annotations": annotations}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        self.write("patch", "pods", api.patch(&pod.name, &params, &Patch::Merge(patch))).await
    }

    /// Takes our owner reference off a pod, and what we have said of it, if it is still the one that was looked at.
    pub async fn release_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: &str,
        owner_uid: &str,
        protection: Protection,
    ) -> Result<(), ApiError> {
        let references = json!([{"$patch": "delete", "uid": owner_uid}]);
        let mut meta = json!({"uid": uid, "resourceVersion": version, "ownerReferences": references});
        if protection.state() == Protected::Ours {
            meta["annotations"] = protection.take_back();
        }
        let patch = json!({"metadata": meta});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = Api::<Pod>::namespaced(self.client(), namespace);
        self.write("patch", "pods", api.patch(name, &params, &Patch::Strategic(patch))).await.map(drop)
    }

    fn children(&self, kind: Child, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), namespace, &kind.resource())
    }

    pub async fn child(&self, kind: Child, namespace: &str, name: &str) -> Result<Option<DynamicObject>, ApiError> {
        self.read(kind.plural(), self.children(kind, namespace).get_opt(name)).await
    }

    /// Server-side apply that takes no field from anybody: for an object that does not exist yet.
    pub async fn apply_child(
        &self,
        kind: Child,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<DynamicObject, ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = self.children(kind, namespace);
        self.write("apply", kind.plural(), api.patch(name, &params, &Patch::Apply(object))).await
    }

    /// Merge-patches an object that is ours; its UID stands in `patch`.
    pub async fn patch_child(
        &self,
        kind: Child,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<DynamicObject, ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = self.children(kind, namespace);
        self.write("patch", kind.plural(), api.patch(name, &params, &Patch::Merge(patch))).await
    }

    pub async fn delete_child(&self, kind: Child, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: Some(uid.into()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.write("delete", kind.plural(), self.children(kind, namespace).delete(name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the whole status under our own field manager, in this version of the resource and no other. Its UID would not do: of what is
    /// written to a subresource the API server takes no metadata, and a UID that is another's says nothing to it.
    pub async fn apply_status(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        status: &Value,
    ) -> Result<WorkerCluster, ApiError> {
        let body = json!({
            "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "WorkerCluster",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version}, "status": status
        });
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), force: true, ..PatchParams::default() };
        let api = Api::<WorkerCluster>::namespaced(self.client(), namespace);
        self.write("apply", "workerclusters/status", api.patch_status(name, &params, &Patch::Apply(body))).await
    }

    /// Writes the conditions of a resource that cannot be read, in this version of it, and leaves the rest of its status.
    pub async fn patch_conditions(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        status: &Value,
    ) -> Result<(), ApiError> {
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let api =
            Api::<DynamicObject>::namespaced_with(self.client(), namespace, &ApiResource::erase::<WorkerCluster>(&()));
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": status}));
        self.write("patch", "workerclusters/status", api.patch_status(name, &params, &patch)).await.map(drop)
    }

    /// Mirrors the autoscaler's decision into `spec.replicas`, in this version of the resource and no other: the user may just have
    /// taken autoscaling away.
    /// Returns the version that it has then.
    pub async fn scale(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        replicas: i32,
    ) -> Result<Option<String>, ApiError> {
        let params = PatchParams { field_manager: Some(names::SCALE_FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}));
        let api = Api::<WorkerCluster>::namespaced(self.client(), namespace);
        let written = self.write("patch", "workerclusters/scale", api.patch_scale(name, &params, &patch)).await?;
        Ok(written.metadata.resource_version)
    }

    /// One key of a Secret, as text. `None` where the Secret or the key is missing.
    pub async fn secret_key(&self, namespace: &str, name: &str, key: &str) -> Result<Option<String>, ApiError> {
        let secret = self.read("secrets", Api::<Secret>::namespaced(self.client(), namespace).get_opt(name)).await?;
        let data = secret.and_then(|secret| secret.data?.remove(key));
        Ok(data.and_then(|data| String::from_utf8(data.0).ok()))
    }
}
