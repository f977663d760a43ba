//! The API server as this plugin uses it: the kubeconfig's context, one attempt for each call, a deadline, errors in terms of what was asked.

use std::{future::Future, time::Duration};

use crds::{WorkerCluster, names};
use futures::AsyncBufRead;
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{Event, Pod},
};
use kube::{
    Api, Client, Config,
    api::{ListParams, LogParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject},
};
use primary_protocol::{ADMIN_PORT, Shown};
use serde_json::Value;

use crate::{args::Global, cluster::Cluster, error::Error};

/// Who changes fields by this plugin.
pub const FIELD_MANAGER: &str = "kubectl-wc";
/// The resource in messages and for `kubectl auth can-i`.
pub const CLUSTERS: &str = "workerclusters";

/// A connection, and the namespace that commands are about.
pub struct Session {
    client: Client,
    pub namespace: String,
    server: String,
    deadline: Duration,
}

// === impl Session ===

impl Session {
    /// Connects as the flags and the kubeconfig say.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be used.
    pub async fn connect(global: &Global) -> Result<Self, Error> {
        let mut config = configuration(global).await?;
        config.default_retry = false;
        config.connect_timeout = Some(global.request_timeout);
        if global.as_user.is_some() {
            config.auth_info.impersonate.clone_from(&global.as_user);
            config.auth_info.impersonate_groups = Some(global.as_group.clone()).filter(|groups| !groups.is_empty());
        }
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| Error::Config(causes(&error)))?;
        Ok(Self { client, namespace, server, deadline: global.request_timeout })
    }

    /// The namespace's WorkerClusters, for a watch.
    pub fn clusters(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource())
    }

    /// The namespace's pods, for a watch.
    pub fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The WorkerCluster of this name.
    ///
    /// # Errors
    /// Where there is none, with those that there are; where the resource is not installed; what the API server says.
    pub async fn cluster(&self, name: &str) -> Result<Cluster, Error> {
        match self.clusters().get_opt(name).await_within(self, "get", CLUSTERS).await {
            Ok(Some(object)) => Cluster::read(&object),
            // Without the definition the API server has not even an object to say that it is missing.
            Ok(None) | Err(Error::Missing) => Err(self.missing(name).await),
            Err(error) => Err(error),
        }
    }

    /// Why there is no WorkerCluster of this name.
    pub async fn missing(&self, name: &str) -> Error {
        let others = match self.list(false).await {
            Err(Error::NotInstalled) => return Error::NotInstalled,
            Err(_) => None,
            Ok(objects) => Some(objects.into_iter().map(|cluster| cluster.name).collect()),
        };
        Error::NoSuchCluster { name: name.into(), namespace: self.namespace.clone(), others }
    }

    /// The WorkerClusters of the namespace, or of all.
    ///
    /// # Errors
    /// Where the resource is not installed; what the API server says.
    pub async fn list(&self, all: bool) -> Result<Vec<Cluster>, Error> {
        let api = if all { Api::all_with(self.client.clone(), &resource()) } else { self.clusters() };
        let found = api.list(&ListParams::default()).await_within(self, "list", CLUSTERS).await;
        match found {
            // A list of what is there has no 404 but this.
            Err(Error::Missing) => Err(Error::NotInstalled),
            found => found?.items.iter().map(Cluster::read).collect(),
        }
    }

    /// The pods of a WorkerCluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pods(&self, cluster: &Cluster) -> Result<Vec<Pod>, Error> {
        let params = ListParams::default().labels(&format!("{}={}", names::LABEL_NAME, cluster.name));
        let pods = self.pods_api().list(&params).await_within(self, "list", "pods").await?.items;
        let ours = |pod: &Pod| {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            owners.any(|owner| owner.controller == Some(true) && owner.uid == cluster.uid)
        };
        Ok(pods.into_iter().filter(ours).collect())
    }

    /// The log of a pod's container. The deadline is for its beginning: one that is followed has no end.
    ///
    /// # Errors
    /// Where the container has not begun yet; what the API server says.
    pub async fn log(&self, pod: &str, params: &LogParams) -> Result<impl AsyncBufRead + use<>, Error> {
        let pods = self.pods_api();
        pods.log_stream(pod, params).await_within(self, "get", "pods/log").await
    }

    /// What a pod's primary says of its workers, by way of the API server.
    ///
    /// # Errors
    /// Where the user may not reach pods that way; what the API server says, or the pod.
    pub async fn workers(&self, pod: &str) -> Result<Shown, Error> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:{ADMIN_PORT}/proxy/v1/workers", self.namespace);
        let request = http::Request::get(path).body(Vec::new());
        let request = request
            .map_err(|error| Error::Unreadable { what: "the name of the pod".into(), message: error.to_string() })?;
        self.client.request::<Shown>(request).await_within(self, "get", "pods/proxy").await
    }

    /// Has a pod drained, or takes it back. Gives the name of its WorkerCluster; `None` where it has none, and nothing is changed.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn drain_pod(&self, pod: &str, drained: bool) -> Result<Option<String>, Error> {
        let pods = self.pods_api();
        let found = match pods.get_metadata(pod).await_within(self, "get", "pods").await {
            Err(Error::Missing) => {
                return Err(Error::Refused(format!("no pod \"{pod}\" in namespace {}", self.namespace)));
            }
            found => found?,
        };
        let Some(cluster) = found.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL_NAME)) else {
            return Ok(None);
        };
        let value = drained.then_some("true");
        let patch = serde_json::json!({"metadata": {"uid": found.metadata.uid, "annotations": {(names::ANNOTATION_DRAIN): value}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        pods.patch_metadata(pod, &params, &Patch::Merge(patch)).await_within(self, "patch", "pods").await?;
        Ok(Some(cluster.clone()))
    }

    /// The objects that keep the revisions of a WorkerCluster, and of its predecessors of the same name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn revisions(&self, cluster: &Cluster) -> Result<Vec<ControllerRevision>, Error> {
        let params = ListParams::default().labels(&format!("{}={}", names::LABEL_NAME, cluster.name));
        let api = Api::<ControllerRevision>::namespaced(self.client.clone(), &self.namespace);
        Ok(api.list(&params).await_within(self, "list", "controllerrevisions").await?.items)
    }

    /// Events about a WorkerCluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn events(&self, cluster: &Cluster) -> Result<Vec<Event>, Error> {
        let params = ListParams::default().fields(&format!("involvedObject.uid={}", cluster.uid));
        let api = Api::<Event>::namespaced(self.client.clone(), &self.namespace);
        Ok(api.list(&params).await_within(self, "list", "events").await?.items)
    }

    /// Writes a JSON patch to a WorkerCluster; with `dry_run` the API server only checks it.
    ///
    /// # Errors
    /// Where somebody else has changed it since it was looked at, and what the API server says.
    pub async fn patch(&self, cluster: &Cluster, steps: Value, dry_run: bool) -> Result<(), Error> {
        let params = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = serde_json::from_value(steps)
            .map_err(|error| Error::Unreadable { what: "the patch".into(), message: error.to_string() })?;
        let (clusters, patch) = (self.clusters(), Patch::Json::<()>(patch));
        let written = clusters.patch(&cluster.name, &params, &patch).await_within(self, "patch", CLUSTERS).await;
        match written {
            // A test in the patch that fails is answered without a word on which: looking again tells.
            Err(refused @ Error::Answered { .. }) => {
                let now = self.cluster(&cluster.name).await?;
                let changed = (now.uid, now.generation) != (cluster.uid.clone(), cluster.generation);
                Err(if changed { Error::Conflict(cluster.name.clone()) } else { refused })
            }
            Err(Error::Missing) => Err(self.missing(&cluster.name).await),
            written => written.map(drop),
        }
    }

    /// What an error of a call means here.
    pub fn told(&self, verb: &'static str, resource: &'static str, error: &kube::Error) -> Error {
        match error {
            kube::Error::Api(status) if status.code == 404 => Error::Missing,
            kube::Error::Api(status) => Error::answered(verb, resource, &self.namespace, status),
            kube::Error::SerdeError(error) => Error::Unreadable { what: resource.into(), message: error.to_string() },
            kube::Error::Auth(error) => Error::Config(causes(error)),
            error => Error::Unreachable { server: self.server.clone(), message: deepest(error) },
        }
    }
}

/// A call with the session's deadline.
trait Within<T> {
    async fn await_within(self, session: &Session, verb: &'static str, resource: &'static str) -> Result<T, Error>;
}

impl<T, F: Future<Output = kube::Result<T>>> Within<T> for F {
    async fn await_within(self, session: &Session, verb: &'static str, resource: &'static str) -> Result<T, Error> {
        match tokio::time::timeout(session.deadline, self).await {
            Err(_) => Err(Error::Deadline { verb, resource, deadline: session.deadline }),
            Ok(answer) => answer.map_err(|error| session.told(verb, resource, &error)),
        }
    }
}

/// What the flags and the kubeconfig say; without a kubeconfig, and in a pod, its service account.
async fn configuration(global: &Global) -> Result<Config, Error> {
    let bad = |error: &dyn std::error::Error| Error::Config(causes(error));
    let read = global.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if global.kubeconfig.is_some() || global.context.is_some() => return Err(bad(&error)),
        Err(error) => {
            let none = |_| Error::Config(format!("{error}; set KUBECONFIG, or give --kubeconfig"));
            return Config::incluster().map_err(none);
        }
    };
    if let Some(context) = &global.context
        && kubeconfig.contexts.iter().all(|known| known.name != *context)
    {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
        return Err(Error::Config(format!(
            "no context \"{context}\" in the kubeconfig; there are: {}",
            known.join(", ")
        )));
    }
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| bad(&error))
}

fn resource() -> ApiResource {
    ApiResource::erase::<WorkerCluster>(&())
}

/// An error with all its causes, each once: kube's texts tell some of them already.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The innermost cause: of a connection that fails only that is news.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
