//! A lane: a namespace, an observer, a proxy and an operator of its own, in which plans run one after another. Lanes run side by side.

mod redis_server;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use crds::{WorkerCluster, names};
use e2e::{Observer, observer::label};
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{ConfigMap, Namespace, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
pub use redis_server::Redis;
use serde_json::{Value, json};

use crate::{
    end_state::ours,
    operator::{Operator, Settings, Trigger, built},
    proxy::{Proxy, client},
    workload::NAME,
};

/// Label of what is in every lane and is nobody's of ours: it must be there in the end.
pub const STRANGER: &str = "faults.workercluster.dev/stranger";
/// Strangers: a pod of another controller with our label, one of nobody with our label, and one without.
pub const STRANGERS: usize = 3;
/// What a lane needs to be empty again.
const EMPTY: Duration = Duration::from_secs(60);
/// The window is kept short, so that a workload that goes down need not wait for it.
const DOWNSCALE_SECONDS: u64 = 1;

/// See the module.
pub struct Lane {
    /// Straight to the API server.
    pub client: Client,
    /// Of its own.
    pub namespace: String,
    /// What it sees.
    pub observer: Observer,
    /// Between the operator and the API server.
    pub proxy: Proxy,
    /// A queue server, shared by all lanes.
    pub redis: Arc<Redis>,
    trigger: Trigger,
    settings: Settings,
}

// === impl Lane ===

impl Lane {
    /// A new lane.
    ///
    /// # Errors
    /// Where there is no cluster.
    pub async fn new(redis: Arc<Redis>) -> Result<Self> {
        let client = client().await.context("no cluster: run the tests by tests/cluster/run")?;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "workercluster.dev/e2e": "true"});
        let namespace = json!({"metadata": {"generateName": "faults-", "labels": labels}});
        let spaces = Api::<Namespace>::all(client.clone());
        let made = spaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let namespace = made.metadata.name.context("a namespace without a name")?;
        let folder = std::env::temp_dir().join(&namespace);
        std::fs::create_dir_all(&folder)?;
        let trigger = Trigger::default();
        let proxy = Proxy::start(client.clone(), trigger.clone()).await?;
        let settings =
            Settings { program: built()?, namespace: namespace.clone(), folder, downscale_seconds: DOWNSCALE_SECONDS };
        strangers(&client, &namespace).await?;
        let observer = Observer::start(&client, &namespace).await?;
        Ok(Self { client, namespace, observer, proxy, redis, trigger, settings })
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

    /// Merge-patches a WorkerCluster.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<()> {
        self.api::<WorkerCluster>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Starts an operator here.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn operator(&self) -> Result<Operator> {
        Operator::start(&self.settings, self.proxy.address, self.trigger.clone())
    }

    /// Kills the operator that runs here; it begins anew.
    pub fn crash(&self) {
        self.trigger.kill(self.trigger.life());
    }

    /// Where the operator's log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.settings.folder.join("operator.log")
    }

    /// Path of a list in this namespace, for [`crate::proxy::Controls::freeze`].
    #[must_use]
    pub fn path(&self, plural: &str) -> String {
        let group = if plural == "workerclusters" { "apis/workercluster.dev/v1alpha1" } else { "api/v1" };
        format!("/{group}/namespaces/{}/{plural}", self.namespace)
    }

    /// Takes away everything but the strangers. No operator runs.
    ///
    /// # Errors
    /// Where something stays.
    pub async fn clear(&self) -> Result<()> {
        if ours_are_gone(&self.observer).is_ok() {
            return Ok(());
        }
        // A pod that its simulated node changes in the same moment is a conflict.
        let delete = async || Ok(self.delete_all().await.map_err(|error| format!("{error:#}")));
        e2e::until("everything in the lane to be deleted", EMPTY, delete).await?;
        self.observer.until("an empty lane", EMPTY, ours_are_gone).await
    }

    async fn delete_all(&self) -> Result<()> {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        let ours = ListParams::default().labels(&format!("{},!{STRANGER}", names::LABEL_NAME));
        self.api::<WorkerCluster>().delete_collection(&now, &ListParams::default()).await?;
        self.api::<Pod>().delete_collection(&now, &ours).await?;
        self.api::<Service>().delete_collection(&now, &ours).await?;
        self.api::<ControllerRevision>().delete_collection(&now, &ours).await?;
        self.api::<PodDisruptionBudget>().delete_collection(&now, &ours).await?;
        Ok(())
    }

    /// How many of the strangers are there, as they were.
    #[must_use]
    pub fn strangers(&self) -> usize {
        let pods = self.observer.objects("pods");
        let there = |pod: &&Arc<Value>| {
            !label(pod, STRANGER).is_empty()
                && pod["metadata"]["deletionTimestamp"].is_null()
                && pod["metadata"]["generation"] == 1
        };
        pods.iter().filter(there).count()
    }

    /// Takes the namespace away.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn remove(self) -> Result<()> {
        let spaces = Api::<Namespace>::all(self.client.clone());
        let delete = async || {
            match spaces.delete(&self.namespace, &DeleteParams::default()).await {
                // Gone, or on its way.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Ok(())),
                asked => Ok(asked.map(drop).map_err(|error| error.to_string())),
            }
        };
        e2e::until("the lane's namespace to be deleted", EMPTY, delete).await?;
        let _ = std::fs::remove_dir_all(&self.settings.folder);
        Ok(())
    }
}

fn ours_are_gone(observer: &Observer) -> Result<(), String> {
    let left: Vec<String> =
        ours(observer).iter().map(|record| format!("{} {}", record.plural, record.name())).collect();
    if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
}

async fn strangers(client: &Client, namespace: &str) -> Result<()> {
    let owner = json!({"metadata": {"name": "stranger"}});
    let owners = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let owner = owners.create(&PostParams::default(), &serde_json::from_value(owner)?).await?;
    let controlled = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "stranger", "uid": owner.metadata.uid, "controller": true}]);
    let ours = json!({STRANGER: "yes", names::LABEL_NAME: NAME});
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    for (name, labels, owners) in [
        ("controlled-by-another", ours.clone(), controlled),
        ("of-nobody", ours, json!([])),
        ("without-label", json!({STRANGER: "yes"}), json!([])),
    ] {
        let pod = json!({
            "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
            "spec": {
                "schedulerName": "nobody", "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "worker", "image": "none",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
                }]
            }
        });
        let pod: Pod = serde_json::from_value(pod)?;
        // The namespace's service account comes a moment after the namespace.
        e2e::until("a stranger", EMPTY, async || match pods.create(&PostParams::default(), &pod).await {
            Ok(_) => Ok(Ok(())),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Err(status.message.clone())),
            Err(error) => Err(error.into()),
        })
        .await?;
    }
    Ok(())
}
