//! From what a user wrote to what can be built: every rule that the schema cannot say, each with the field's path, the cause and the next step.

use crds::{WorkerClusterSpec, names};
use primary_protocol::ADMIN_PORT;
use serde_json::{Map, Value};

/// A spec that a pod can be built from.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The template's `spec`.
    pub pod: Map<String, Value>,
    /// The template's `metadata`.
    pub metadata: Map<String, Value>,
    /// Index of the worker container in `spec.containers`.
    pub worker: usize,
    /// The user's command and arguments.
    pub command: Vec<Value>,
}

/// What stands in the way of building.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// The field, as `spec.template.spec.containers[0].command`.
    pub path: String,
    /// The cause and the next step.
    pub message: String,
    /// Which kind it is: the reason of the condition and the event.
    pub category: Category,
}

/// Kinds of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The container has no command that could be wrapped.
    CommandMissing,
    /// Something in the template does not go with a primary in the pod.
    InvalidTemplate,
    /// The API server would not take the pod.
    PodRejected,
    /// The resource itself cannot be read.
    InvalidSpec,
}

const SPEC: &str = "spec.template.spec";

// === impl Category ===

impl Category {
    /// The reason in conditions and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommandMissing => "CommandMissing",
            Self::InvalidTemplate => "InvalidTemplate",
            Self::PodRejected => "PodRejected",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}

// === impl Problem ===

impl Problem {
    fn template(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), category: Category::InvalidTemplate }
    }
}

/// Reads the template.
///
/// # Errors
/// All that stands in the way, not only the first.
pub fn validate(spec: &WorkerClusterSpec) -> Result<Valid, Vec<Problem>> {
    let empty = Map::new();
    let metadata = spec.template.get(&["metadata"]).and_then(Value::as_object).unwrap_or(&empty).clone();
    let Some(pod) = spec.template.get(&["spec"]).and_then(Value::as_object) else {
        return Err(vec![Problem::template(SPEC, "is missing: give it a pod spec with a container named \"worker\"")]);
    };
    let mut problems = Vec::new();
    let containers = list(pod, "containers");
    let worker = worker_index(containers, &mut problems);
    let command = worker.map(|index| command(containers, index, &mut problems)).unwrap_or_default();
    pod_rules(pod, &mut problems);
    reserved_names(pod, worker, &mut problems);
    match worker {
        Some(worker) if problems.is_empty() => Ok(Valid { pod: pod.clone(), metadata, worker, command }),
        _ => Err(problems),
    }
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    map.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn worker_index(containers: &[Value], problems: &mut Vec<Problem>) -> Option<usize> {
    let named = containers.iter().position(|container| name(container) == names::WORKER_CONTAINER);
    let found = named.or((containers.len() == 1).then_some(0));
    if found.is_none() {
        let message = if containers.is_empty() {
            "is empty: add a container named \"worker\" with image and command".to_owned()
        } else {
            format!(
                "has {} containers and none is named \"worker\": name the one whose command the primary is to fork",
                containers.len()
            )
        };
        problems.push(Problem::template(format!("{SPEC}.containers"), message));
    }
    found
}

fn command(containers: &[Value], index: usize, problems: &mut Vec<Problem>) -> Vec<Value> {
    let empty = Map::new();
    let container = containers.get(index).and_then(Value::as_object).unwrap_or(&empty);
    let command = list(container, "command");
    if command.is_empty() {
        problems.push(Problem {
            path: format!("{SPEC}.containers[{index}].command"),
            message: "is missing, and the primary cannot know the image's own entrypoint: add it, for example command: [\"node\", \
                      \"server.js\"] (the ENTRYPOINT and CMD of the image's Dockerfile)"
                .into(),
            category: Category::CommandMissing,
        });
    }
    command.iter().chain(list(container, "args")).cloned().collect()
}

fn pod_rules(pod: &Map<String, Value>, problems: &mut Vec<Problem>) {
    if let Some(policy) = pod.get("restartPolicy").and_then(Value::as_str)
        && policy != "Always"
    {
        let message =
            format!("is \"{policy}\": replicas run until they are replaced, so only Always works; remove the line");
        problems.push(Problem::template(format!("{SPEC}.restartPolicy"), message));
    }
    if pod.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        let message = "is true: all replicas on a node would want the same ports; remove the line";
        problems.push(Problem::template(format!("{SPEC}.hostNetwork"), message));
    }
}

/// Names and places in the pod that the primary needs for itself.
fn reserved_names(pod: &Map<String, Value>, worker: Option<usize>, problems: &mut Vec<Problem>) {
    let reserved = |path: String, what: &str, problems: &mut Vec<Problem>| {
        problems.push(Problem::template(path, format!("{what} is the operator's own; choose another")));
    };
    for (kind, taken) in
        [("initContainers", names::INIT_CONTAINER), ("containers", names::INIT_CONTAINER), ("volumes", names::VOLUME)]
    {
        for (index, item) in list(pod, kind).iter().enumerate().filter(|(_, item)| name(item) == taken) {
            reserved(format!("{SPEC}.{kind}[{index}].name"), &format!("\"{}\"", name(item)), problems);
        }
    }
    for (index, container) in list(pod, "containers").iter().enumerate() {
        let Some(container) = container.as_object() else { continue };
        for (port_index, port) in list(container, "ports").iter().enumerate() {
            let path = format!("{SPEC}.containers[{index}].ports[{port_index}]");
            if port.get("containerPort").and_then(Value::as_u64) == Some(u64::from(ADMIN_PORT)) {
                reserved(format!("{path}.containerPort"), &format!("port {ADMIN_PORT} of the pod"), problems);
            } else if name(port) == names::ADMIN_PORT_NAME {
                reserved(format!("{path}.name"), &format!("the port name \"{}\"", names::ADMIN_PORT_NAME), problems);
            }
        }
        if worker != Some(index) {
            continue;
        }
        for (env_index, _) in
            list(container, "env").iter().enumerate().filter(|(_, env)| name(env).starts_with("WORKERCLUSTER_"))
        {
            let path = format!("{SPEC}.containers[{index}].env[{env_index}].name");
            reserved(path, "an environment variable that begins with WORKERCLUSTER_", problems);
        }
        for (mount_index, mount) in list(container, "volumeMounts").iter().enumerate() {
            if mount.get("mountPath").and_then(Value::as_str).map(|path| path.trim_end_matches('/'))
                == Some(names::MOUNT)
            {
                let path = format!("{SPEC}.containers[{index}].volumeMounts[{mount_index}].mountPath");
                reserved(path, names::MOUNT, problems);
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// A small spec that is valid.
    pub fn spec() -> WorkerClusterSpec {
        spec_with(
            json!({"containers": [{"name": "worker", "image": "node:22", "command": ["node", "server.js"], "args": ["--fast"]}]}),
        )
    }

    #[allow(clippy::needless_pass_by_value)] // json!() makes values
    pub fn spec_with(pod: Value) -> WorkerClusterSpec {
        serde_json::from_value(json!({"template": {"spec": pod}, "http": {"port": 8000}})).unwrap()
    }

    fn problems(pod: Value) -> Vec<(String, Category)> {
        let found = validate(&spec_with(pod)).err().unwrap_or_default();
        found.into_iter().map(|problem| (problem.path, problem.category)).collect()
    }

    #[test]
    fn command_and_arguments_are_one_command_line() {
        let valid = validate(&spec()).unwrap();
        assert_eq!(valid.command, [json!("node"), json!("server.js"), json!("--fast")]);
    }

    #[test]
    fn a_sole_container_may_have_any_name() {
        assert!(validate(&spec_with(json!({"containers": [{"name": "web", "command": ["x"]}]}))).is_ok());
    }

    #[test]
    fn each_refusal_names_its_field() {
        use Category::{CommandMissing, InvalidTemplate};
        let worker = json!({"name": "worker", "command": ["x"]});
        let with = |key: &str, value: Value| {
            let mut pod = json!({"containers": [worker]});
            pod[key] = value;
            pod
        };
        let in_worker = |key: &str, value: Value| {
            let mut worker = worker.clone();
            worker[key] = value;
            json!({"containers": [worker]})
        };
        let path = |rest: &str| format!("spec.template.spec.{rest}");
        for (pod, want, category) in [
            (json!({"containers": [{"name": "worker"}]}), path("containers[0].command"), CommandMissing),
            (json!({"containers": []}), path("containers"), InvalidTemplate),
            (json!({"containers": [{"name": "a"}, {"name": "b"}]}), path("containers"), InvalidTemplate),
            (with("restartPolicy", json!("Never")), path("restartPolicy"), InvalidTemplate),
            (with("hostNetwork", json!(true)), path("hostNetwork"), InvalidTemplate),
            (with("volumes", json!([{"name": "workercluster"}])), path("volumes[0].name"), InvalidTemplate),
            (
                with("initContainers", json!([{"name": "workercluster-primary"}])),
                path("initContainers[0].name"),
                InvalidTemplate,
            ),
            (
                in_worker("ports", json!([{"containerPort": 9180}])),
                path("containers[0].ports[0].containerPort"),
                InvalidTemplate,
            ),
            (in_worker("ports", json!([{"name": "primary"}])), path("containers[0].ports[0].name"), InvalidTemplate),
            (
                in_worker("env", json!([{"name": "WORKERCLUSTER_X"}])),
                path("containers[0].env[0].name"),
                InvalidTemplate,
            ),
            (
                in_worker("volumeMounts", json!([{"mountPath": "/run/workercluster/"}])),
                path("containers[0].volumeMounts[0].mountPath"),
                InvalidTemplate,
            ),
        ] {
            assert_eq!(problems(pod), [(want, category)]);
        }
    }
}
