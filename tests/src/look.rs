//! What there is at one moment, in forms that can be compared.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use crds::{WorkerCluster, names::LABEL_REVISION};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{ResourceExt, api::ListParams};

use crate::{Space, until};

/// A little more than numbers in status wait at most (docs/design/0007-api-discipline.md): without a write for so long, nothing is on its way.
pub const QUIET: Duration = Duration::from_secs(6);

/// `kind/name` and `resourceVersion` of each object.
pub type Versions = BTreeMap<String, String>;

// === impl Space ===

impl Space {
    /// Versions of the WorkerClusters, pods and Services.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn versions(&self) -> Result<Versions> {
        let all = ListParams::default();
        let mut versions = Versions::new();
        let mut put = |kind: &str, name: String, version: Option<String>| {
            versions.insert(format!("{kind}/{name}"), version.unwrap_or_default());
        };
        for object in self.api::<WorkerCluster>().list(&all).await? {
            put("wc", object.name_any(), object.resource_version());
        }
        for object in self.api::<Pod>().list(&all).await? {
            put("pod", object.name_any(), object.resource_version());
        }
        for object in self.api::<Service>().list(&all).await? {
            put("service", object.name_any(), object.resource_version());
        }
        Ok(versions)
    }

    /// Waits until nothing has been written for `quiet`.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn settled(&self, quiet: Duration, deadline: Duration) -> Result<Versions> {
        let mut last = (self.versions().await?, Instant::now());
        until(&format!("{} s without a write", quiet.as_secs()), deadline, async || {
            let now = self.versions().await?;
            if now != last.0 {
                let changed = changes(&last.0, &now);
                last = (now, Instant::now());
                return Ok(Err(changed.join(", ")));
            }
            Ok(if last.1.elapsed() >= quiet { Ok(now) } else { Err("nothing, but not for long enough".to_owned()) })
        })
        .await
    }

    /// The WorkerCluster's pods that are not ending: UID by name.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn uids(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let pods = self.pods(name).await?;
        let pods = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
    }

    /// Changes the WorkerCluster and waits until all its pods are ready, as many as are wanted, and of another revision than before; none of the old is
    /// left.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn roll(&self, name: &str, patch: serde_json::Value, replicas: i32) -> Result<()> {
        let api = self.api::<WorkerCluster>();
        let before = api.get(name).await?.status.unwrap_or_default().current_revision;
        self.patch(name, patch).await?;
        until("only pods of the new revision", Duration::from_secs(180), async || {
            let current = api.get(name).await?.status.unwrap_or_default().current_revision;
            let pods = self.pods(name).await?;
            let new = pods.iter().filter(|pod| pod.labels().get(LABEL_REVISION) == Some(&current)).count();
            let done = current != before && pods.len() == new && new == usize::try_from(replicas)?;
            Ok(if done {
                Ok(())
            } else {
                Err(format!("{new} of {} pods are of {current}, it was {before}", pods.len()))
            })
        })
        .await?;
        self.ready(name, replicas).await.map(drop)
    }

    /// Restarts of all containers of the WorkerCluster's pods.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn restarts(&self, name: &str) -> Result<i32> {
        let pods = self.pods(name).await?;
        let containers = pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten();
        Ok(containers.map(|container| container.restart_count).sum())
    }
}

/// What differs between two looks.
#[must_use]
pub fn changes(before: &Versions, after: &Versions) -> Vec<String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("-{key}"));
    let other = after.iter().filter(|(key, version)| before.get(*key) != Some(*version)).map(|(key, _)| key.clone());
    gone.chain(other).collect()
}
