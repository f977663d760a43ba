//! A replica's pod: the user's template with the primary put in front of the command.

use crds::{Balancing, Http, Ipc, Ready, WorkerClusterSpec, WorkerMetrics, names};
use k8s_openapi::api::core::v1::{EnvVar, PodSpec};
use primary_protocol::ADMIN_PORT;
use serde_json::{Map, Value, json};

use super::{Valid, live, security, tolerations};

/// What a pod needs to know beside the spec.
pub struct Context<'a> {
    pub namespace: &'a str,
    /// The WorkerCluster's name and UID.
    pub cluster: &'a str,
    pub cluster_uid: &'a str,
    pub revision: &'a str,
    /// Image of the primary, and when it is pulled.
    pub primary_image: &'a str,
    pub pull_policy: &'a str,
    /// `None` where primaries are given no orders.
    pub control: Option<Control<'a>>,
}

/// What a primary needs to know to take orders.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// The key that they are signed with.
    pub public_key: &'a str,
    /// The name of the settings that it begins with.
    pub revision: &'a str,
    /// The last reload that was ordered: the pod is fresh anyway.
    pub reload: Option<&'a str>,
}

/// Seconds that a replica goes on serving after SIGTERM, while Kubernetes takes it out of its Services.
pub const ENDPOINTS_DELAY_SECONDS: i64 = 5;
/// Seconds that the primary has for itself when the workers' time is over.
const LAST_SECONDS: i64 = 5;
/// Names of the primary's settings begin with it.
const PREFIX: &str = "WORKERCLUSTER_";
/// Where it listens, how it hands on what comes, and that it takes requests itself.
const LISTEN: &str = "LISTEN";
const BALANCING: &str = "BALANCING";
const QUEUE: &str = "queue";
/// Labels of the nodes that the primary's binary can run on.
const NODE_LABELS: [(&str, &str); 2] = [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];

/// The pod `name` in `slot`.
pub fn build(spec: &WorkerClusterSpec, valid: &Valid, context: &Context<'_>, name: &str, slot: u32) -> Value {
    let mut pod = valid.pod.clone();
    let resources = valid.pod["containers"][valid.worker].get("resources").cloned();
    if let Some(Value::Array(containers)) = pod.get_mut("containers")
        && let Some(Value::Object(worker)) = containers.get_mut(valid.worker)
    {
        wrap(worker, spec, valid, context.control.as_ref());
    }
    push_first(&mut pod, "initContainers", init_container(context, resources));
    push(&mut pod, "volumes", json!({"name": names::VOLUME, "emptyDir": {}}));
    let grace = pod.get("terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let needed = ENDPOINTS_DELAY_SECONDS + spec.workers.drain_seconds + LAST_SECONDS;
    pod.insert("terminationGracePeriodSeconds".into(), json!(grace.max(needed)));
    let selector = pod.entry("nodeSelector").or_insert_with(|| json!({}));
    if let Value::Object(selector) = selector {
        for (label, value) in NODE_LABELS {
            selector.entry(label).or_insert_with(|| json!(value));
        }
    }
    tolerations::fill(&mut pod, spec.node_loss);
    security::fill(&mut pod);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(valid, context, name, slot), "spec": pod})
}

/// The labels by which a WorkerCluster's objects are found.
pub fn labels(cluster: &str) -> Value {
    json!({names::LABEL_NAME: cluster, names::LABEL_INSTANCE: cluster, names::LABEL_MANAGED_BY: names::MANAGED_BY})
}

/// The reference from an object to the WorkerCluster that controls it.
pub fn owner(cluster: &str, uid: &str) -> Value {
    json!({
        "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "WorkerCluster", "name": cluster, "uid": uid,
        "controller": true, "blockOwnerDeletion": true
    })
}

fn metadata(valid: &Valid, context: &Context<'_>, name: &str, slot: u32) -> Value {
    let mut own = labels(context.cluster);
    own[names::LABEL_REVISION] = json!(context.revision);
    own[names::LABEL_SLOT] = json!(slot.to_string());
    let mut all = valid.metadata.get("labels").cloned().unwrap_or_else(|| json!({}));
    if let (Value::Object(all), Value::Object(own)) = (&mut all, own) {
        all.extend(own);
    }
    let mut metadata = json!({
        "name": name, "namespace": context.namespace, "labels": all, "ownerReferences": [owner(context.cluster, context.cluster_uid)]
    });
    if let Some(annotations) = valid.metadata.get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    metadata
}

/// Puts the primary before the user's command.
fn wrap(worker: &mut Map<String, Value>, spec: &WorkerClusterSpec, valid: &Valid, control: Option<&Control<'_>>) {
    worker.insert("command".into(), json!([format!("{}/primary", names::MOUNT)]));
    worker.insert("args".into(), std::iter::once(json!("--")).chain(valid.command.iter().cloned()).collect());
    for variable in environment(spec, control).into_iter().rev() {
        push_first(worker, "env", variable);
    }
    push(worker, "volumeMounts", json!({"name": names::VOLUME, "mountPath": names::MOUNT, "readOnly": true}));
    push(worker, "ports", json!({"name": names::ADMIN_PORT_NAME, "containerPort": ADMIN_PORT, "protocol": "TCP"}));
    let probe = |path: &str, period: u32, failures: u32| json!({"httpGet": {"path": path, "port": ADMIN_PORT}, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures});
    // Only where the user has none: theirs say more about their program than ours can.
    // Three, as Kubernetes has it: one answer that is late on a busy node would take the replica out of service, and all on that node with it.
    worker.entry("readinessProbe").or_insert_with(|| probe("/readyz", 1, 3));
    worker.entry("livenessProbe").or_insert_with(|| probe("/livez", 10, 3));
}

/// The primary's settings. The environment and not flags, so that `ps` and the logs show the user's own command.
fn environment(spec: &WorkerClusterSpec, control: Option<&Control<'_>>) -> Vec<Value> {
    let workers = &spec.workers;
    let ready = match workers.ready {
        Ready::Auto => "auto",
        Ready::Listening => "listening",
        Ready::Notify => "notify",
        Ready::Immediate => "immediate",
        Ready::Http => "http",
    };
    let ipc = match workers.ipc {
        Ipc::Auto => "auto",
        Ipc::Node => "node",
        Ipc::None => "none",
    };
    let mut environment = vec![
        variable("ADMIN", format!("[::]:{ADMIN_PORT}")),
        variable("READY", ready.into()),
        variable("STARTUP_SECONDS", workers.startup_seconds.to_string()),
        variable("IPC", ipc.into()),
        variable("DRAIN_SECONDS", workers.drain_seconds.to_string()),
        variable("ENDPOINTS_DELAY_SECONDS", ENDPOINTS_DELAY_SECONDS.to_string()),
        json!({"name": "WORKERCLUSTER_CPU_REQUEST_MILLICORES", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}}),
    ];
    if workers.shutdown_message {
        environment.push(variable("SHUTDOWN_MESSAGE", "true".into()));
    }
    match workers.metrics {
        WorkerMetrics::None => {}
        WorkerMetrics::PromClient => environment.push(variable("WORKER_METRICS", "prom-client".into())),
    }
    environment.extend(live::environment(workers).into_iter().map(|(name, value)| variable(name, value)));
    if let Some(control) = control {
        environment
            .push(json!({"name": "WORKERCLUSTER_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}));
        environment.push(variable("CONTROL_KEYS", control.public_key.to_owned()));
        environment.push(variable("CONFIG_REVISION", control.revision.to_owned()));
        environment.extend(control.reload.map(|reload| variable("RELOAD_ID", reload.to_owned())));
    }
    if let Some(http) = &spec.http {
        environment.extend(serving(http));
        environment.insert(0, variable(LISTEN, format!("[::]:{}", http.port)));
    }
    environment
}

/// What of `spec.http` the primary goes by, beside the port.
fn serving(http: &Http) -> Vec<Value> {
    let mut environment = Vec::new();
    match http.balancing {
        Balancing::Shared => {}
        Balancing::Steered => environment.push(variable(BALANCING, "steered".into())),
        Balancing::Passing => environment.push(variable(BALANCING, "passing".into())),
        Balancing::Queue => environment.push(variable(BALANCING, QUEUE.into())),
    }
    if http.slow_start_seconds > 0 {
        environment.push(variable("SLOW_START_SECONDS", http.slow_start_seconds.to_string()));
    }
    let queue = http.queue.as_ref();
    let numbers = [
        ("MAX_IN_FLIGHT_PER_WORKER", http.max_in_flight_per_worker),
        ("QUEUE_MAX_WAITING", queue.map(|queue| queue.max_waiting)),
        ("QUEUE_MAX_WAIT_SECONDS", queue.map(|queue| queue.max_wait_seconds)),
    ];
    environment.extend(numbers.into_iter().filter_map(|(name, value)| Some(variable(name, value?.to_string()))));
    if http.trust_forwarded {
        environment.push(variable("TRUST_FORWARDED", "true".into()));
    }
    environment.extend(http.ready_path.iter().map(|path| variable("READY_PATH", path.clone())));
    if let Some(single_flight) = &http.single_flight {
        // No path has a comma.
        environment.push(variable("SINGLE_FLIGHT", single_flight.paths.join(",")));
        if single_flight.share_credentials {
            environment.push(variable("SHARE_CREDENTIALS", "true".into()));
        }
    }
    environment.extend(http.affinity.iter().map(|affinity| variable("AFFINITY_COOKIE", affinity.cookie.clone())));
    environment
}

/// A setting of the primary.
fn variable(name: &str, value: String) -> Value {
    json!({"name": format!("{PREFIX}{name}"), "value": Value::String(value)})
}

/// The port on which a pod's primary takes requests itself (`balancing: Queue`), as the pod was made, whatever the spec has become since; `None`
/// where it does not.
pub fn queue_port(pod: &PodSpec) -> Option<u16> {
    let worker = pod.containers.iter().find(|container| container.env.iter().flatten().any(is_listen))?;
    // Of two variables of one name the last one holds.
    let value = |name: &str| {
        let mut variables = worker.env.iter().flatten().rev();
        variables.find(|variable| variable.name.strip_prefix(PREFIX) == Some(name))?.value.as_deref()
    };
    let (_, port) = value(LISTEN)?.rsplit_once(':')?;
    port.parse().ok().filter(|_| value(BALANCING) == Some(QUEUE))
}

fn is_listen(variable: &EnvVar) -> bool {
    variable.name.strip_prefix(PREFIX) == Some(LISTEN)
}

/// Copies the primary into the pod. It has the worker's own resources, so that the pod's effective request and class of service stay
/// what the user wrote.
fn init_container(context: &Context<'_>, resources: Option<Value>) -> Value {
    let mut container = json!({
        "name": names::INIT_CONTAINER,
        "image": context.primary_image,
        "imagePullPolicy": context.pull_policy,
        "command": ["/primary", "install", names::MOUNT],
        "securityContext": security::own_context(),
        "volumeMounts": [{"name": names::VOLUME, "mountPath": names::MOUNT}]
    });
    if let Some(mut resources) = resources {
        if let Value::Object(resources) = &mut resources {
            resources.remove("claims"); // devices are the worker's
        }
        container["resources"] = resources;
    }
    container
}

fn push(map: &mut Map<String, Value>, key: &str, item: Value) {
    if let Value::Array(list) = map.entry(key).or_insert_with(|| json!([])) {
        list.push(item);
    }
}

fn push_first(map: &mut Map<String, Value>, key: &str, item: Value) {
    if let Value::Array(list) = map.entry(key).or_insert_with(|| json!([])) {
        list.insert(0, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{
        validate,
        validate::tests::{spec, spec_with},
    };

    fn built(spec: &WorkerClusterSpec) -> Value {
        let context = Context {
            namespace: "default",
            cluster: "web",
            cluster_uid: "uid",
            revision: "rev",
            primary_image: "workercluster/primary:1",
            pull_policy: "IfNotPresent",
            control: Some(Control { public_key: "abc", revision: "live", reload: Some("yesterday") }),
        };
        build(spec, &validate(spec).unwrap(), &context, "web-x", 3)
    }

    #[test]
    fn the_command_is_wrapped_and_the_primary_is_copied_in_first() {
        let spec = spec_with(
            json!({"containers": [{"name": "worker", "image": "node:22", "command": ["node", "a.js"], "args": ["b"]}],
            "initContainers": [{"name": "mine"}]}),
        );
        let pod = built(&spec);
        let worker = &pod["spec"]["containers"][0];
        assert_eq!(worker["command"], json!(["/run/workercluster/primary"]));
        assert_eq!(worker["args"], json!(["--", "node", "a.js", "b"]));
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "workercluster-primary");
        assert_eq!(pod["spec"]["initContainers"][1]["name"], "mine");
        assert_eq!(worker["env"][0], json!({"name": "WORKERCLUSTER_LISTEN", "value": "[::]:8000"}));
        for (name, value) in [("CONTROL_KEYS", "abc"), ("CONFIG_REVISION", "live"), ("RELOAD_ID", "yesterday")] {
            let variable = json!({"name": format!("WORKERCLUSTER_{name}"), "value": value});
            assert!(worker["env"].as_array().unwrap().contains(&variable), "{variable}");
        }
    }

    /// The value that a primary gets of a setting, in a pod of a WorkerCluster as its user writes it.
    fn setting(spec: &Value, name: &str) -> Option<String> {
        let mut whole = json!({"template": {"spec": {"containers": [{"name": "worker", "command": ["x"]}]}}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let pod = built(&serde_json::from_value(whole).unwrap());
        let environment = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let found = environment.iter().find(|variable| variable["name"] == format!("WORKERCLUSTER_{name}"));
        found.map(|variable| variable["value"].as_str().unwrap().to_owned())
    }

    #[test]
    fn settings_of_workers_reach_the_primary_as_its_flags_take_them() {
        for (workers, name, value) in [
            (json!({}), "STARTUP_SECONDS", Some("1")),
            (json!({"startupSeconds": 20}), "STARTUP_SECONDS", Some("20")),
            (json!({}), "SHUTDOWN_MESSAGE", None),
            (json!({"shutdownMessage": true}), "SHUTDOWN_MESSAGE", Some("true")),
            (json!({"metrics": "None"}), "WORKER_METRICS", None),
            (json!({"metrics": "PromClient"}), "WORKER_METRICS", Some("prom-client")),
        ] {
            assert_eq!(setting(&json!({"workers": workers}), name).as_deref(), value, "{workers}");
        }
    }

    #[test]
    fn balancing_and_slow_start_reach_the_primary_as_its_flags_take_them() {
        for (http, balancing, slow_start) in [
            (json!({"port": 8000}), None, None),
            (json!({"port": 8000, "balancing": "Shared", "slowStartSeconds": 0}), None, None),
            (json!({"port": 8000, "balancing": "Steered"}), Some("steered"), None),
            (json!({"port": 8000, "balancing": "Steered", "slowStartSeconds": 30}), Some("steered"), Some("30")),
            (json!({"port": 8000, "balancing": "Passing"}), Some("passing"), None),
            (json!({"port": 8000, "balancing": "Queue"}), Some("queue"), None),
        ] {
            let given = |name| setting(&json!({"http": http}), name);
            assert_eq!(given("LISTEN").as_deref(), Some("[::]:8000"), "{http}");
            assert_eq!(given("BALANCING").as_deref(), balancing, "{http}");
            assert_eq!(given("SLOW_START_SECONDS").as_deref(), slow_start, "{http}");
        }
        assert_eq!(setting(&json!({}), "BALANCING"), None, "nothing is listened on");
    }

    #[test]
    fn what_is_wanted_of_requests_reaches_the_primary_as_its_flags_take_it() {
        for (http, name, value) in [
            (json!({}), "MAX_IN_FLIGHT_PER_WORKER", None),
            (json!({"maxInFlightPerWorker": 8}), "MAX_IN_FLIGHT_PER_WORKER", Some("8")),
            (json!({"queue": {"maxWaiting": 5}}), "QUEUE_MAX_WAITING", Some("5")),
            (json!({"queue": {"maxWaiting": 5}}), "QUEUE_MAX_WAIT_SECONDS", Some("30")),
            (json!({"trustForwarded": true}), "TRUST_FORWARDED", Some("true")),
            (json!({"readyPath": "/healthz"}), "READY_PATH", Some("/healthz")),
            (json!({}), "SINGLE_FLIGHT", None),
            (json!({"singleFlight": {"paths": ["/a"]}}), "SINGLE_FLIGHT", Some("/a")),
            (json!({"singleFlight": {"paths": ["/a", "/b/*"]}}), "SINGLE_FLIGHT", Some("/a,/b/*")),
            (json!({"singleFlight": {"paths": ["/a"]}}), "SHARE_CREDENTIALS", None),
            (json!({"singleFlight": {"paths": ["/a"], "shareCredentials": true}}), "SHARE_CREDENTIALS", Some("true")),
            (json!({}), "AFFINITY_COOKIE", None),
            (json!({"affinity": {"cookie": "worker.id"}}), "AFFINITY_COOKIE", Some("worker.id")),
        ] {
            let mut whole = json!({"port": 8000, "balancing": "Queue"});
            whole.as_object_mut().unwrap().extend(http.as_object().unwrap().clone());
            assert_eq!(setting(&json!({"http": whole}), name).as_deref(), value, "{http}");
        }
    }

    #[test]
    fn a_pod_tells_on_which_port_its_primary_takes_requests() {
        let port = |http: &Value| {
            let whole = json!({"template": {"spec": {"containers": [{"name": "worker", "command": ["x"]}, {"name": "side"}]}}, "http": http});
            let pod = built(&serde_json::from_value(whole).unwrap());
            queue_port(&serde_json::from_value(pod["spec"].clone()).unwrap())
        };
        assert_eq!(port(&json!({"port": 8000, "balancing": "Queue"})), Some(8000));
        for other in [json!({"port": 8000}), json!({"port": 8000, "balancing": "Steered"}), Value::Null] {
            assert_eq!(port(&other), None, "{other}");
        }
        assert_eq!(queue_port(&PodSpec::default()), None);
    }

    #[test]
    fn probes_of_the_user_stay() {
        let spec = spec_with(
            json!({"containers": [{"name": "worker", "command": ["x"], "readinessProbe": {"exec": {"command": ["y"]}}}]}),
        );
        let pod = built(&spec);
        assert_eq!(pod["spec"]["containers"][0]["readinessProbe"], json!({"exec": {"command": ["y"]}}));
        assert_eq!(pod["spec"]["containers"][0]["livenessProbe"]["httpGet"]["path"], "/livez");
    }

    #[test]
    fn the_grace_period_covers_the_drain_and_never_shrinks() {
        assert_eq!(built(&spec())["spec"]["terminationGracePeriodSeconds"], 40);
        let long = spec_with(json!({"containers": [{"command": ["x"]}], "terminationGracePeriodSeconds": 600}));
        assert_eq!(built(&long)["spec"]["terminationGracePeriodSeconds"], 600);
    }

    #[test]
    fn labels_of_the_template_stay_and_ours_win() {
        let mut spec = spec();
        spec.template.0.insert("metadata".into(), json!({"labels": {"tier": "a", "workercluster.dev/name": "evil"}}));
        let labels = &built(&spec)["metadata"]["labels"];
        assert_eq!((&labels["tier"], &labels["workercluster.dev/name"]), (&json!("a"), &json!("web")));
    }

    #[test]
    fn the_init_container_asks_for_no_more_than_the_worker() {
        let resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        let pod = built(&spec_with(json!({"containers": [{"command": ["x"], "resources": resources}]})));
        assert_eq!(pod["spec"]["initContainers"][0]["resources"], resources);
    }

    #[test]
    fn fields_that_this_program_does_not_know_pass_through() {
        let pod = built(&spec_with(
            json!({"containers": [{"command": ["x"], "fieldOfTomorrow": {"a": 1}}], "alsoNew": true}),
        ));
        assert_eq!(pod["spec"]["containers"][0]["fieldOfTomorrow"], json!({"a": 1}));
        assert_eq!(pod["spec"]["alsoNew"], true);
    }
}
