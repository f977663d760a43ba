//! The PodDisruptionBudget of a WorkerCluster.

use crds::{WorkerClusterSpec, names};
use serde_json::{Value, json};

use super::pod::{labels, owner};

/// The budget that should exist, with its name. Both limits are named, so that a change from one to the other takes the first away.
pub fn build(spec: &WorkerClusterSpec, namespace: &str, cluster: &str, cluster_uid: &str) -> Option<(String, Value)> {
    let disruption = spec.disruption.as_ref()?;
    let (most, least) = match (disruption.max_unavailable, disruption.min_available) {
        (None, None) => (json!(1), Value::Null),
        (most, least) => (json!(most), json!(least)),
    };
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": cluster, "namespace": namespace, "labels": labels(cluster), "ownerReferences": [owner(cluster, cluster_uid)]},
        "spec": {
            "selector": {"matchLabels": {names::LABEL_NAME: cluster}},
            "maxUnavailable": most, "minAvailable": least,
            // A replica that is not ready serves nobody: it must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow"
        }
    });
    Some((cluster.to_owned(), budget))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::validate::tests::spec;

    fn limits(disruption: Value) -> (Value, Value) {
        let mut spec = spec();
        spec.disruption = serde_json::from_value(disruption).unwrap();
        let (_, budget) = build(&spec, "ns", "web", "uid").unwrap();
        (budget["spec"]["maxUnavailable"].clone(), budget["spec"]["minAvailable"].clone())
    }

    #[test]
    fn without_disruption_there_is_none() {
        assert_eq!(build(&spec(), "ns", "web", "uid"), None);
    }

    #[test]
    fn one_may_be_missing_unless_the_user_says_otherwise() {
        assert_eq!(limits(json!({})), (json!(1), Value::Null));
        assert_eq!(limits(json!({"minAvailable": "50%"})), (Value::Null, json!("50%")));
        assert_eq!(limits(json!({"maxUnavailable": 2})), (json!(2), Value::Null));
    }
}
