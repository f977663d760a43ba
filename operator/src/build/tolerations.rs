//! `spec.nodeLoss: Fast` as tolerations.

use crds::NodeLoss;
use serde_json::{Map, Value, json};

/// Taints that the node controller sets on a node that does not answer, or says itself that it is not ready.
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// Seconds that a pod stays on such a node. A node is found silent after 40 to 55 s (kube-controller-manager's node monitor); with the
/// start of another pod that keeps within 90 s. Less would move pods for a kubelet that is only started anew.
const FAST_SECONDS: i64 = 10;

/// Adds what `Fast` asks for. A toleration of the template for one of the taints stands instead. By the same rule as the API server's
/// plug-in DefaultTolerationSeconds, which adds 300 s where none is there: the key or none, the effect `NoExecute` or none.
pub fn fill(pod: &mut Map<String, Value>, node_loss: NodeLoss) {
    if node_loss != NodeLoss::Fast {
        return;
    }
    let Value::Array(tolerations) = pod.entry("tolerations").or_insert_with(|| json!([])) else { return };
    let field = |toleration: &Value, name: &str| toleration[name].as_str().unwrap_or_default().to_owned();
    for taint in TAINTS {
        let stands = tolerations.iter().any(|toleration| {
            let (key, effect) = (field(toleration, "key"), field(toleration, "effect"));
            (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
        });
        if !stands {
            tolerations.push(
                json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": FAST_SECONDS}),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(node_loss: NodeLoss, tolerations: Value) -> Value {
        let mut pod = Map::new();
        if !tolerations.is_null() {
            pod.insert("tolerations".into(), tolerations);
        }
        fill(&mut pod, node_loss);
        pod.remove("tolerations").unwrap_or_default()
    }

    fn seconds(tolerations: &Value) -> Vec<(&str, Option<i64>)> {
        let tolerations = tolerations.as_array().unwrap();
        tolerations.iter().map(|one| (one["key"].as_str().unwrap_or(""), one["tolerationSeconds"].as_i64())).collect()
    }

    #[test]
    fn the_default_policy_leaves_the_pod_alone() {
        assert_eq!(filled(NodeLoss::Default, Value::Null), Value::Null);
    }

    #[test]
    fn fast_leaves_a_lost_node_after_ten_seconds() {
        let tolerations = filled(NodeLoss::Fast, Value::Null);
        let both = [("node.kubernetes.io/not-ready", Some(10)), ("node.kubernetes.io/unreachable", Some(10))];
        assert_eq!(seconds(&tolerations), both);
    }

    #[test]
    fn the_templates_own_toleration_of_a_taint_stands() {
        let own = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 60}]);
        let tolerations = filled(NodeLoss::Fast, own);
        assert_eq!(
            seconds(&tolerations),
            [("node.kubernetes.io/unreachable", Some(60)), ("node.kubernetes.io/not-ready", Some(10))]
        );
        let all = json!([{"operator": "Exists"}]);
        assert_eq!(filled(NodeLoss::Fast, all.clone()), all);
    }

    #[test]
    fn a_toleration_of_another_effect_is_none_of_the_loss() {
        let other = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "operator": "Exists"}]);
        assert_eq!(filled(NodeLoss::Fast, other).as_array().unwrap().len(), 3);
    }
}
