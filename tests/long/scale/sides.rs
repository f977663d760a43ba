//! The two sides: WorkerClusters, and Deployments whose pods are the very pods that our operator builds, each with a Service like ours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, manifest, until};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::pods::Pods;

/// Who looks after the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Peer,
}

/// So many objects of so many pods each.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub objects: usize,
    pub replicas: usize,
}

/// What the peer's objects are made of.
pub struct Template {
    /// The spec of its pods.
    pub pod: Value,
    /// A Service of ours.
    pub service: Service,
}

/// Label of the pods of both sides.
pub const LABEL: &str = "scale";
/// Calls of the test at the same time, for either side.
pub const TOGETHER: usize = 16;

// === impl Shape ===

impl Shape {
    pub fn pods(self) -> usize {
        self.objects * self.replicas
    }

    pub fn text(self) -> String {
        format!("{} x {}", self.objects, self.replicas)
    }
}

// === impl Side ===

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }

    /// Creates all objects of a shape.
    pub async fn create(self, space: &Space, shape: Shape, template: &Template) -> Result<()> {
        match self {
            Self::Ours => create::<WorkerCluster>(space, shape, ours).await,
            Self::Peer => {
                let labels = |name: &str| json!({"app": name, (LABEL): "peer"});
                create::<Service>(space, shape, |name, _| {
                    manifest::service_like(&template.service, &format!("{name}-pods"), &labels(name))
                })
                .await?;
                create::<Deployment>(space, shape, |name, replicas| {
                    let labels = labels(name);
                    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
                        "replicas": replicas, "selector": {"matchLabels": labels},
                        "template": {"metadata": {"labels": labels}, "spec": template.pod}
                    }})
                })
                .await
            }
        }
    }

    /// Deletes everything of this side and waits until it is gone, its pods too. Says how long that took. First what would make pods anew; then
    /// the pods without a grace, which simulated ones do not need: by garbage collection alone each costs four calls.
    pub async fn delete(self, space: &Space, pods: &Pods, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        match self {
            Self::Ours => remove::<WorkerCluster>(space, patience).await?,
            Self::Peer => {
                remove::<Deployment>(space, patience).await?;
                remove::<Service>(space, patience).await?;
                until("no ReplicaSet to be left", patience, async || {
                    let left =
                        space.api::<ReplicaSet>().list_metadata(&ListParams::default().limit(1)).await?.items.len();
                    Ok(if left == 0 { Ok(()) } else { Err("some") })
                })
                .await?;
            }
        }
        let some = ListParams::default().labels(&format!("{LABEL}={}", self.name())).limit(500);
        let now = DeleteParams::default().grace_period(0);
        let mut told = Instant::now();
        until(&format!("the pods of {self:?} to be gone"), patience, async || {
            let (left, _) = pods.now()?;
            if told.elapsed() >= Duration::from_secs(10) {
                println!("{left} pods of {} left after {:.0} s", self.name(), begun.elapsed().as_secs_f32());
                told = Instant::now();
            }
            if left == 0 {
                return Ok(Ok(()));
            }
            // One after another, as a collection is deleted, they take half as long again. A busy API server breaks some of these off.
            let names = space.api::<Pod>().list_metadata(&some).await?;
            let deleted = stream::iter(&names.items)
                .map(|pod| async { space.api::<Pod>().delete(&pod.name_any(), &now).await })
                .buffer_unordered(TOGETHER)
                .collect::<Vec<_>>()
                .await;
            let failed = deleted.into_iter().filter_map(Result::err).last();
            Ok(Err(format!("{left} left{}", failed.map(|error| format!("; {error}")).unwrap_or_default())))
        })
        .await?;
        Ok(begun.elapsed())
    }
}

/// Deletes all objects of a kind. An API server that deletes a thousand of them is cut off by its own limit of a minute, and asked again.
async fn remove<K>(space: &Space, patience: Duration) -> Result<()>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = space.api::<K>();
    until(&format!("no {} to be left", K::kind(&())), patience, async || {
        let failed = api.delete_collection(&DeleteParams::background(), &ListParams::default()).await.err();
        let left = api.list_metadata(&ListParams::default().limit(1)).await?.items.len();
        let failed = failed.map(|error| format!("; {error}")).unwrap_or_default();
        Ok(if left == 0 { Ok(()) } else { Err(format!("some{failed}")) })
    })
    .await
}

fn ours(name: &str, replicas: usize) -> Value {
    let mut cluster = manifest::idle(name, &json!({"replicas": replicas}));
    cluster["spec"]["template"]["metadata"] = json!({"labels": {(LABEL): "ours"}});
    let pod = &mut cluster["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({"type": "kwok"});
    pod["tolerations"] = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
    cluster
}

async fn create<K>(space: &Space, shape: Shape, object: impl Fn(&str, usize) -> Value) -> Result<()>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned,
    K: Clone + std::fmt::Debug,
{
    let api: Api<K> = space.api();
    stream::iter(0..shape.objects)
        .map(|index| {
            let object = object(&format!("s{index}"), shape.replicas);
            let api = api.clone();
            async move { anyhow::Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await?) }
        })
        .buffer_unordered(TOGETHER)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

/// The spec of the pods that our operator builds, without what the API server and the scheduler put into it; and the Service that it makes.
pub async fn template(space: &Space) -> Result<Template> {
    let api = space.api::<WorkerCluster>();
    api.create(&PostParams::default(), &serde_json::from_value(ours("sample", 1))?).await?;
    let pod: Pod = until("a pod of ours", Duration::from_secs(60), async || {
        Ok(space.pods("sample").await?.pop().ok_or("none yet"))
    })
    .await?;
    let service = until("a Service of ours", Duration::from_secs(60), async || {
        Ok(space.api::<Service>().get_opt("sample-pods").await?.ok_or("none yet"))
    })
    .await?;
    api.delete("sample", &DeleteParams::background()).await?;
    let mut spec = serde_json::to_value(&pod.spec)?;
    let fields = spec.as_object_mut().context("no spec")?;
    for own in ["nodeName", "serviceAccount", "preemptionPolicy", "priority"] {
        fields.remove(own);
    }
    let kept = |item: &Value, field: &str, own: &str| !item[field].as_str().is_some_and(|text| text.starts_with(own));
    for (list, field, own) in [
        ("/tolerations", "key", "node.kubernetes.io/"),
        ("/volumes", "name", "kube-api-access"),
        ("/containers/0/volumeMounts", "name", "kube-api-access"),
        ("/initContainers/0/volumeMounts", "name", "kube-api-access"),
    ] {
        if let Some(items) = spec.pointer_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| kept(item, field, own));
        }
    }
    ensure!(spec["nodeSelector"]["type"] == "kwok", "the pod would not go to a simulated node: {spec}");
    until("the sample to be gone", Duration::from_secs(60), async || {
        let left = space.pods("sample").await?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods")) })
    })
    .await?;
    Ok(Template { pod: spec, service })
}
