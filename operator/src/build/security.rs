//! Security settings of a pod: only what the user left unset is filled, with what Pod Security `restricted` asks for.

use serde_json::{Map, Value, json};

/// The user under which pods run whose template names none: the number that distroless images use for "nonroot".
pub const USER: u32 = 65532;

/// Fills the pod's and every container's security context.
pub fn fill(pod: &mut Map<String, Value>) {
    let root_wanted = wants_root(pod);
    within(pod, "securityContext", |context| {
        if !root_wanted {
            unset(context, "runAsNonRoot", json!(true));
            unset(context, "runAsUser", json!(USER));
        }
        unset(context, "seccompProfile", json!({"type": "RuntimeDefault"}));
    });
    // A worker has no business with the API server; who names a service account wants its token.
    if !pod.contains_key("serviceAccountName") && !pod.contains_key("serviceAccount") {
        unset(pod, "automountServiceAccountToken", json!(false));
    }
    for kind in ["initContainers", "containers"] {
        let containers = pod.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            within(container, "securityContext", |context| {
                if context.get("privileged").and_then(Value::as_bool) != Some(true) {
                    unset(context, "allowPrivilegeEscalation", json!(false));
                    unset(context, "capabilities", json!({"drop": ["ALL"]}));
                }
            });
        }
    }
}

/// The security context of our own init container, which needs nothing.
pub fn own_context() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"}
    })
}

/// Whether the template itself says that something runs as root.
fn wants_root(pod: &Map<String, Value>) -> bool {
    let root = |owner: &Value| {
        let context = owner.get("securityContext");
        let is = |key: &str, value: &Value| context.and_then(|context| context.get(key)) == Some(value);
        is("runAsUser", &json!(0)) || is("runAsNonRoot", &json!(false))
    };
    let containers =
        ["initContainers", "containers"].into_iter().filter_map(|kind| pod.get(kind)?.as_array()).flatten();
    pod.get("securityContext").is_some_and(|context| root(&json!({"securityContext": context})))
        || containers.into_iter().any(root)
}

/// Changes the object under `key`, made where it is missing; what is no object is left for the API server to refuse.
fn within(map: &mut Map<String, Value>, key: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(inner) = value {
        change(inner);
    }
}

fn unset(map: &mut Map<String, Value>, key: &str, value: Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pod: &Value) -> Value {
        let mut pod = pod.as_object().unwrap().clone();
        fill(&mut pod);
        Value::Object(pod)
    }

    #[test]
    fn what_restricted_needs_is_filled_in() {
        let pod = filled(&json!({"containers": [{"name": "worker"}]}));
        assert_eq!(
            pod,
            json!({
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "worker", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]
            })
        );
    }

    #[test]
    fn what_the_user_set_stays() {
        let pod = json!({"securityContext": {"runAsUser": 1000}, "containers": [{"securityContext": {"capabilities": {"add": ["X"]}}}]});
        let out = filled(&pod);
        assert_eq!(out["securityContext"]["runAsUser"], 1000);
        assert_eq!(out["containers"][0]["securityContext"]["capabilities"], json!({"add": ["X"]}));
    }

    #[test]
    fn a_container_that_asks_for_root_is_not_forbidden_it_by_us() {
        for pod in [
            json!({"containers": [{"securityContext": {"runAsUser": 0}}]}),
            json!({"securityContext": {"runAsNonRoot": false}, "containers": []}),
        ] {
            let out = filled(&pod);
            assert_ne!(out["securityContext"]["runAsNonRoot"], json!(true));
            assert_eq!(out["securityContext"].get("runAsUser"), None);
        }
    }
}
