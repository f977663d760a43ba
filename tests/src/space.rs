//! A namespace of its own for each test, under Pod Security `restricted`, deleted at the end; and what a test does in it.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use crds::WorkerCluster;
use k8s_openapi::api::{
    core::v1::{Event, Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery,
};
use primary_protocol::Stats;
use serde_json::{Value, json};

use crate::{load, manifest, wait::until};

/// A test's own namespace.
pub struct Space {
    /// The API server.
    pub client: Client,
    /// The namespace's name.
    pub namespace: String,
}

/// Who applies in the tests.
const MANAGER: &str = "e2e";
/// A warm start takes seconds; the rest is for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

// === impl Space ===

impl Space {
    /// A new namespace whose name begins with `test`.
    ///
    /// # Errors
    /// Where there is no cluster, or no right to it.
    pub async fn new(test: &str) -> Result<Self> {
        let mut config = Config::infer().await.context("no cluster: run the tests by tests/cluster/run")?;
        config.default_retry = false; // a refused eviction is an answer, and not to be asked for fifteen times
        let client = Client::try_from(config)?;
        let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() % 1_000_000_000;
        let namespace = format!("e2e-{test}-{unique}");
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "workercluster.dev/e2e": "true"});
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace, "labels": labels}}))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { client, namespace })
    }

    /// Runs `test` in a new namespace and deletes it, whatever came of it. Prints what helps where it failed.
    ///
    /// # Errors
    /// The test's own.
    pub async fn run<F>(test: &str, body: impl FnOnce(std::sync::Arc<Self>) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let space = std::sync::Arc::new(Self::new(test).await?);
        let result = body(space.clone()).await;
        if result.is_err() {
            space.describe().await;
        }
        Api::<Namespace>::all(space.client.clone()).delete(&space.namespace, &DeleteParams::default()).await?;
        result
    }

    /// The namespaced API of `K`.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Server-side apply of any object.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject, kube::Error> {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let (group, version) = match text("apiVersion").split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), text("apiVersion")),
        };
        let gvk = GroupVersionKind { group, version, kind: text("kind") };
        let (resource, _) = discovery::pinned_kind(&self.client, &gvk).await?;
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await
    }

    /// Applies every document of a YAML text.
    ///
    /// # Errors
    /// What the API server says, with the object's kind and name.
    pub async fn apply_yaml(&self, text: &str) -> Result<()> {
        for object in manifest::documents(text)? {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            self.apply(&object).await.with_context(|| format!("applying {name}"))?;
        }
        Ok(())
    }

    /// Merge-patches a WorkerCluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<WorkerCluster, kube::Error> {
        self.api::<WorkerCluster>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Waits until the WorkerCluster has `replicas` ready replicas of its present spec and says so.
    ///
    /// # Errors
    /// At the deadline, with its conditions.
    pub async fn ready(&self, name: &str, replicas: i32) -> Result<WorkerCluster> {
        let api = self.api::<WorkerCluster>();
        until(&format!("WorkerCluster {name} ready with {replicas} replicas"), PATIENCE, async || {
            let cluster = api.get(name).await?;
            let status = cluster.status.clone().unwrap_or_default();
            let done = Some(status.observed_generation) == cluster.metadata.generation
                && status.ready_replicas == replicas
                && status.replicas == replicas
                && condition(&cluster, "Ready").is_some_and(|(status, ..)| status == "True");
            Ok(if done { Ok(cluster) } else { Err(brief(&cluster)) })
        })
        .await
    }

    /// Waits for a condition of the WorkerCluster with this status and reason; returns its message.
    ///
    /// # Errors
    /// At the deadline, with its conditions.
    pub async fn condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
        let api = self.api::<WorkerCluster>();
        until(&format!("condition {kind}={status} ({reason}) of {name}"), PATIENCE, async || {
            let cluster = api.get(name).await?;
            Ok(match condition(&cluster, kind) {
                Some((found, why, message)) if found == status && (why == reason || reason.is_empty()) => Ok(message),
                _ => Err(brief(&cluster)),
            })
        })
        .await
    }

    /// The WorkerCluster's pods.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pods(&self, name: &str) -> Result<Vec<Pod>> {
        let params = ListParams::default().labels(&format!("{}={name}", crds::names::LABEL_NAME));
        Ok(self.api::<Pod>().list(&params).await?.items)
    }

    /// Reasons and notes of the events about an object, oldest first.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let events =
            self.api::<Event>().list(&ListParams::default().fields(&format!("involvedObject.name={name}"))).await?;
        let mut events = events.items;
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        Ok(events
            .into_iter()
            .map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect())
    }

    /// What a pod's primary says, through the API server.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn stats(&self, pod: &str) -> Result<Stats> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:9180/proxy/v1/stats", self.namespace);
        let request = http::Request::get(path).body(Vec::new())?;
        Ok(self.client.request(request).await?)
    }

    /// An address at which the WorkerCluster's HTTP port answers from here: a NodePort of its own, made on first use.
    ///
    /// # Errors
    /// Where no endpoint becomes ready.
    pub async fn address(&self, name: &str, port: i32) -> Result<SocketAddr> {
        self.address_of(name, &json!({(crds::names::LABEL_NAME): name}), port).await
    }

    /// The same for any pods with these labels.
    ///
    /// # Errors
    /// Where no endpoint becomes ready.
    pub async fn address_of(&self, name: &str, labels: &Value, port: i32) -> Result<SocketAddr> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{name}-outside")},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": port, "targetPort": port}]}
        });
        self.apply(&service).await?;
        let service = self.api::<Service>().get(&format!("{name}-outside")).await?;
        let node_port = service.spec.and_then(|spec| spec.ports?.first()?.node_port).context("no node port")?;
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default().labels("type!=kwok")).await?;
        let address =
            nodes.iter().flat_map(|node| node.status.iter().flat_map(|status| status.addresses.iter().flatten()));
        let address =
            address.filter(|address| address.type_ == "InternalIP").map(|address| address.address.clone()).next();
        let address = SocketAddr::new(address.context("no node has an address")?.parse()?, u16::try_from(node_port)?);
        until(&format!("an answer at {name}'s node port"), PATIENCE, async || {
            Ok(match tokio::time::timeout(load::HUNG, load::get(address, "/")).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(_) => Err("no answer".to_owned()),
            })
        })
        .await?;
        Ok(address)
    }

    /// Ready endpoints behind the Service of a WorkerCluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn endpoints(&self, service: &str) -> Result<usize> {
        let slices = self
            .api::<EndpointSlice>()
            .list(&ListParams::default().labels(&format!("kubernetes.io/service-name={service}")))
            .await?;
        let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
        Ok(endpoints
            .filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true)))
            .count())
    }

    /// Runs a command in a container of a pod with kubectl, and returns what it printed.
    ///
    /// # Errors
    /// Where it fails, with what it printed.
    pub async fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "-c", "worker", "--"], command].concat()).await
    }

    /// Runs kubectl in this namespace.
    ///
    /// # Errors
    /// Where it fails, with what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output =
            tokio::process::Command::new("kubectl").args(["-n", &self.namespace]).args(arguments).output().await?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("kubectl {}: {text}", arguments.join(" "));
        }
        Ok(text)
    }

    /// Prints what is in the namespace, for a test that failed.
    async fn describe(&self) {
        for arguments in [
            &["get", "workerclusters,pods,services", "-o", "wide"][..],
            &["get", "workerclusters", "-o", "yaml"],
            &["get", "events"],
        ] {
            match self.kubectl(arguments).await {
                Ok(text) => eprintln!("--- kubectl {}\n{text}", arguments.join(" ")),
                Err(error) => eprintln!("--- {error:#}"),
            }
        }
    }
}

/// Status, reason and message of a condition.
#[must_use]
pub fn condition(cluster: &WorkerCluster, kind: &str) -> Option<(String, String, String)> {
    let conditions = &cluster.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// A WorkerCluster in one line.
#[must_use]
pub fn brief(cluster: &WorkerCluster) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            format!("{}={} ({}: {})", condition.type_, condition.status, condition.reason, condition.message)
        })
        .collect();
    format!(
        "{}: spec.replicas {}, replicas {}, ready {}, updated {}, terminating {}, generation {:?}/{}, {}",
        cluster.name_any(),
        cluster.spec.replicas,
        status.replicas,
        status.ready_replicas,
        status.updated_replicas,
        status.terminating_replicas,
        cluster.metadata.generation,
        status.observed_generation,
        conditions.join("; ")
    )
}
