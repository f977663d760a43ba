//! A WorkerCluster as this plugin reads it: the spec stays as it is, so that fields of a newer operator are neither refused nor lost.

use crds::{WorkerClusterStatus, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::error::Error;

/// A WorkerCluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: i64,
    pub created: Option<Timestamp>,
    pub spec: Value,
    pub status: WorkerClusterStatus,
    /// Annotations, as they are in the object; `Null` without any.
    pub annotations: Value,
    /// What keeps this object as it is elsewhere: `Argo CD`, `Flux`.
    pub keeper: Option<&'static str>,
}

// === impl Cluster ===

impl Cluster {
    /// Reads an object.
    ///
    /// # Errors
    /// Where the status has another form than this plugin knows.
    pub fn read(object: &DynamicObject) -> Result<Self, Error> {
        let unreadable = |error: serde_json::Error| Error::Unreadable {
            what: format!("the status of {}", object.name_any()),
            message: error.to_string(),
        };
        let status = match object.data.get("status") {
            None | Some(Value::Null) => WorkerClusterStatus::default(),
            Some(status) => serde_json::from_value(status.clone()).map_err(unreadable)?,
        };
        Ok(Self {
            name: object.name_any(),
            namespace: object.namespace().unwrap_or_default(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or(0),
            created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            spec: object.data.get("spec").cloned().unwrap_or_default(),
            status,
            annotations: serde_json::to_value(&object.metadata.annotations).unwrap_or_default(),
            keeper: keeper(object),
        })
    }

    /// Replicas that are wanted now: the spec's; the autoscaler mirrors its decision there.
    pub fn wanted(&self) -> i64 {
        self.spec.get("replicas").and_then(Value::as_i64).unwrap_or(1)
    }

    /// `rollout.paused`.
    pub fn is_paused(&self) -> bool {
        self.spec.pointer("/rollout/paused").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The first steps of a JSON patch: it goes through only on this very object with this very spec. The generation and not the version,
    /// because the operator writes status all the time while it rolls.
    pub fn guard(&self) -> Vec<Value> {
        vec![
            json!({"op": "test", "path": "/metadata/uid", "value": self.uid}),
            json!({"op": "test", "path": "/metadata/generation", "value": self.generation}),
        ]
    }

    /// Whether the operator has seen the present spec.
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation >= self.generation
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == kind)
    }

    /// The condition of this type, where it is true.
    pub fn holds(&self, kind: &str) -> Option<&Condition> {
        self.condition(kind).filter(|condition| condition.status == "True")
    }

    /// Replicas of other revisions than the current one.
    pub fn outdated(&self) -> i64 {
        let status = &self.status;
        let told = status.rollout.as_ref().map(|rollout| rollout.outdated_replicas);
        i64::from(told.unwrap_or(status.replicas - status.updated_replicas))
    }

    /// Replicas of the current revision that are available.
    pub fn updated_available(&self) -> i64 {
        let status = &self.status;
        let told = status.rollout.as_ref().map(|rollout| rollout.updated_available_replicas);
        i64::from(told.unwrap_or(status.updated_replicas.min(status.available_replicas)))
    }

    /// The current revision, as `revision 7 (46v4h8gfrj)`; without a number or hash as far as it is known.
    pub fn revision(&self) -> String {
        let hash = self.status.current_revision.as_str();
        match &self.status.rollout {
            Some(rollout) => format!("revision {} ({hash})", rollout.revision),
            None if hash.is_empty() => "no revision yet".into(),
            None => format!("revision {hash}"),
        }
    }

    /// The annotation that says why the spec is as it is.
    pub fn change_cause(&self) -> Option<&str> {
        self.annotations.get(names::ANNOTATION_CHANGE_CAUSE).and_then(Value::as_str)
    }
}

/// Field managers, labels and annotations by which continuous delivery marks what it keeps.
const KEEPERS: [(&str, &str); 7] = [
    ("argocd", "Argo CD"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];

fn keeper(object: &DynamicObject) -> Option<&'static str> {
    let managers = object.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
    let marks = object.labels().keys().chain(object.annotations().keys()).map(String::as_str);
    let found: Vec<&str> = managers.chain(marks).collect();
    KEEPERS
        .iter()
        .find(|(mark, _)| found.iter().any(|one| one == mark || (*mark == "argocd" && one.starts_with("argocd-"))))
        .map(|(_, name)| *name)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A WorkerCluster of generation 3 with 2 replicas of revision 7, all well; `patch` is merged into it.
    pub fn cluster(patch: Value) -> Cluster {
        let mut object = json!({
            "apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "42", "generation": 3},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "worker", "image": "node:22"}]}}},
            "status": {
                "replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2, "terminatingReplicas": 0,
                "workers": {"ready": 4, "total": 4, "restarts": 1}, "observedGeneration": 3, "currentRevision": "new",
                "rollout": {"revision": 7, "updatedAvailableReplicas": 2, "outdatedReplicas": 0},
                "conditions": []
            }
        });
        merge(&mut object, patch);
        Cluster::read(&serde_json::from_value(object).unwrap()).unwrap()
    }

    /// RFC 7386.
    pub fn merge(into: &mut Value, patch: Value) {
        match (into, patch) {
            (Value::Object(into), Value::Object(patch)) => {
                for (key, value) in patch {
                    if value.is_null() {
                        into.remove(&key);
                    } else {
                        merge(into.entry(key).or_insert(Value::Null), value);
                    }
                }
            }
            (into, patch) => *into = patch,
        }
    }

    pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3})
    }

    #[test]
    fn a_new_object_without_status_is_read() {
        let new = cluster(json!({"status": null}));
        assert!(!new.is_observed());
        assert_eq!((new.wanted(), new.revision()), (2, "no revision yet".into()));
    }

    #[test]
    fn fields_that_are_not_known_here_are_kept() {
        let newer = cluster(json!({"spec": {"workers": {"ready": "Telepathy"}}, "status": {"mood": "good"}}));
        assert_eq!(newer.spec.pointer("/workers/ready"), Some(&json!("Telepathy")));
    }

    #[test]
    fn an_operator_that_tells_nothing_of_rollouts_is_understood_by_its_counts() {
        let old = cluster(json!({"status": {"rollout": null, "updatedReplicas": 1, "availableReplicas": 1}}));
        assert_eq!((old.outdated(), old.updated_available()), (1, 1));
    }

    #[test]
    fn continuous_delivery_is_recognised_by_its_marks() {
        for (meta, wanted) in [
            (json!({}), None),
            (json!({"managedFields": [{"manager": "kubectl"}]}), None),
            (json!({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}), Some("Argo CD")),
            (json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), Some("Argo CD")),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}), Some("Flux")),
            (json!({"managedFields": [{"manager": "helm-controller"}]}), Some("Flux")),
        ] {
            assert_eq!(cluster(json!({"metadata": meta.clone()})).keeper, wanted, "{meta}");
        }
    }
}
