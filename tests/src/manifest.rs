//! Small programs and WorkerClusters for the tests.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// An unmodified program for Node's cluster module that says who answered.
pub const NODE_CLUSTER: &str = r"
const cluster = require('cluster'), http = require('http'), os = require('os');
if (cluster.isPrimary) { for (let i = 0; i < os.cpus().length; i++) cluster.fork(); }
else http.createServer((req, res) => res.end(JSON.stringify({pod: os.hostname(), pid: process.pid, worker: cluster.worker.id}))).listen(8000);
";

/// A WorkerCluster that runs `command` in `image` with `files` under /program (from the ConfigMap of the same name).
#[must_use]
pub fn cluster(name: &str, image: &str, command: &[&str], replicas: i32, workers: i32) -> Value {
    json!({
        "apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "workers": {"count": workers, "drainSeconds": 5},
            "http": {"port": 8000},
            "template": {"spec": {
                "containers": [{
                    "name": "worker", "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
                    "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
                    "volumeMounts": [{"name": "program", "mountPath": "/program"}]
                }],
                "volumes": [{"name": "program", "configMap": {"name": name}}]
            }}
        }
    })
}

/// A WorkerCluster without a port whose workers do nothing; `spec` adds to its spec.
#[must_use]
pub fn idle(name: &str, spec: &Value) -> Value {
    let mut cluster = json!({
        "apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "metadata": {"name": name},
        "spec": {
            "workers": {"count": 1, "drainSeconds": 0, "ready": "Immediate"},
            "template": {"spec": {"containers": [{
                "name": "worker", "image": "redis:7", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
            }]}}
        }
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        cluster["spec"][key] = value.clone();
    }
    cluster
}

/// A Service like this one, of another name and for other pods: what pods' beginnings and ends make of it is work for the cluster.
#[must_use]
pub fn service_like(service: &Service, name: &str, selector: &Value) -> Value {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten().map(|port| json!({"name": port.name, "port": port.port}));
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "selector": selector, "ports": ports.collect::<Vec<_>>(),
            "clusterIP": spec.cluster_ip.filter(|address| address == "None"),
            "publishNotReadyAddresses": spec.publish_not_ready_addresses
        }
    })
}

/// The files of a program.
#[must_use]
pub fn program(name: &str, file: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {file: text}})
}

/// Every document of a YAML text.
///
/// # Errors
/// Where one is no YAML.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    use serde::Deserialize;
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(Value::deserialize);
    Ok(documents.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|document| !document.is_null()).collect())
}
