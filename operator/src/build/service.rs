//! The Services of a WorkerCluster: one for its HTTP port, and a headless one that gives each replica a name.

use crds::{WorkerClusterSpec, names};
use primary_protocol::ADMIN_PORT;
use serde_json::{Value, json};

use super::pod::{labels, owner};

/// The Services that should exist, with their names.
pub fn build(spec: &WorkerClusterSpec, namespace: &str, cluster: &str, cluster_uid: &str) -> Vec<(String, Value)> {
    let service = |name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace, "labels": labels(cluster), "ownerReferences": [owner(cluster, cluster_uid)]});
        (name.to_owned(), json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
    };
    let port = |name: &str, port: i64| json!({"name": name, "port": port, "targetPort": port, "protocol": "TCP"});
    let selector = json!({names::LABEL_NAME: cluster});
    let http = spec.http.as_ref().map(|http| port("http", i64::from(http.port)));
    let mut services = Vec::new();
    if let Some(http) = &http {
        services.push(service(cluster, json!({"selector": selector, "ports": [http]})));
    }
    let ports: Vec<Value> = http.into_iter().chain([port(names::ADMIN_PORT_NAME, i64::from(ADMIN_PORT))]).collect();
    // Not ready ones too: who looks for a replica by name wants it while it starts and drains.
    let headless = json!({"selector": selector, "ports": ports, "clusterIP": "None", "publishNotReadyAddresses": true});
    services.push(service(&names::pods_service(cluster), headless));
    services
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::validate::tests::spec;

    #[test]
    fn the_http_service_is_there_only_with_a_port() {
        let names = |spec: &WorkerClusterSpec| {
            build(spec, "ns", "web", "uid").into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let mut none = spec();
        none.http = None;
        assert_eq!(
            (names(&spec()), names(&none)),
            (vec!["web".to_owned(), "web-pods".to_owned()], vec!["web-pods".to_owned()])
        );
    }
}
