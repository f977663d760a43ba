//! What is there in the end, without what differs from run to run: names of pods, UIDs, versions, times, nodes.

use std::collections::BTreeMap;

use crds::names;
use e2e::observer::{Observer, Record, controller, is_active, is_ready, label};
use serde_json::{Value, json};

use crate::lane::STRANGER;

/// Whether all is as the spec wants it, as far as the operator says and as it really is; where not, what is seen.
///
/// # Errors
/// What is missing.
pub fn settled(observer: &Observer) -> Result<(), String> {
    let pods: Vec<_> =
        observer.objects("pods").into_iter().filter(|pod| !label(pod, names::LABEL_REVISION).is_empty()).collect();
    let clusters = observer.objects("workerclusters");
    let Some(cluster) = clusters.first() else {
        let left = ours(observer).len();
        return if left == 0 { Ok(()) } else { Err(format!("no WorkerCluster, and {left} objects left")) };
    };
    let (spec, status) = (&cluster["spec"], &cluster["status"]);
    let decided = status["autoscaling"]["desiredReplicas"].as_u64();
    let wanted = decided.filter(|_| !spec["autoscaling"].is_null()).or(spec["replicas"].as_u64()).unwrap_or(1);
    let uid = cluster["metadata"]["uid"].as_str().unwrap_or_default();
    let revision = status["currentRevision"].as_str().unwrap_or_default();
    let good = pods.iter().filter(|pod| {
        is_active(pod) && is_ready(pod) && controller(pod) == uid && label(pod, names::LABEL_REVISION) == revision
    });
    let good = good.count() as u64;
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let seen = status["observedGeneration"] == cluster["metadata"]["generation"];
    let counted = status["replicas"].as_u64() == Some(wanted)
        && status["readyReplicas"].as_u64() == Some(wanted)
        && status["updatedReplicas"].as_u64() == Some(wanted)
        && status["terminatingReplicas"].as_u64().unwrap_or(0) == 0
        && spec["replicas"].as_u64() == Some(wanted);
    if ready && seen && counted && good == wanted && pods.len() as u64 == wanted {
        return Ok(());
    }
    Err(format!(
        "{good} good of {} pods, {wanted} wanted; ready {ready}, generation seen {seen}, status {status}",
        pods.len()
    ))
}

/// All that is there but the strangers, who stay.
#[must_use]
pub fn ours(observer: &Observer) -> Vec<Record> {
    let mut all = observer.present();
    all.retain(|record| label(&record.object, STRANGER).is_empty());
    all
}

/// What is there in the end, in a form that two runs share.
#[must_use]
pub fn end_state(observer: &Observer, namespace: &str) -> Value {
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let all = ours(observer);
    let named = |plural: &'static str| all.iter().filter(move |record| &*record.plural == plural);
    let pods = named("pods").map(|record| (record.name(), "POD".to_owned()));
    // Its name is made from the UID of its WorkerCluster; its number says which it is.
    let revisions =
        named("controllerrevisions").map(|record| (record.name(), format!("REVISION-{}", record.object["revision"])));
    let words: Vec<(&str, String)> = pods.chain(revisions).collect();
    for record in &all {
        let mut object = (*record.object).clone();
        match &*record.plural {
            "pods" => pod(&mut object),
            "workerclusters" => cluster(&mut object),
            "services" => service(&mut object),
            _ => drop(object.as_object_mut().map(|object| object.remove("status"))),
        }
        metadata(&mut object, &record.plural);
        let mut text = object.to_string().replace(namespace, "NAMESPACE");
        for (name, word) in &words {
            text = text.replace(name, word);
        }
        kinds.entry(record.plural.to_string()).or_default().push(serde_json::from_str(&text).unwrap_or_default());
    }
    for objects in kinds.values_mut() {
        objects.sort_by_key(ToString::to_string);
    }
    json!(kinds)
}

fn remove(object: &mut Value, keys: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

fn metadata(object: &mut Value, plural: &str) {
    let meta = &mut object["metadata"];
    remove(meta, &["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "generateName"]);
    if plural == "pods" {
        remove(meta, &["name"]);
        // Which pod has which slot depends on which of its predecessors went first; that no slot is had twice is a rule of the observer.
        remove(&mut meta["labels"], &[names::LABEL_SLOT]);
    }
    for owner in meta["ownerReferences"].as_array_mut().into_iter().flatten() {
        remove(owner, &["uid"]);
    }
}

fn pod(pod: &mut Value) {
    let state = json!({"phase": pod["status"]["phase"], "ready": is_ready(pod), "active": is_active(pod)});
    pod["status"] = state;
    remove(&mut pod["metadata"], &["deletionTimestamp", "deletionGracePeriodSeconds"]);
    let spec = &mut pod["spec"];
    remove(spec, &["nodeName"]);
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.retain(|volume| !is_token(volume));
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.retain(|mount| !is_token(mount));
            }
        }
    }
}

/// The service account's token, whose volume has a name of its own in each pod.
fn is_token(volume: &Value) -> bool {
    volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"))
}

fn cluster(cluster: &mut Value) {
    let current = cluster["metadata"]["generation"] == cluster["status"]["observedGeneration"];
    let status = &mut cluster["status"];
    status["observedGeneration"] = json!(if current { "current" } else { "behind" });
    // When, and the most at a time: they tell of the way, not of the end.
    remove(&mut status["rollout"], &["progressedAt", "peakAvailableReplicas"]);
    remove(&mut status["autoscaling"], &["lastScaleTime", "sampledAt", "message", "reason", "metrics"]);
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        remove(condition, &["lastTransitionTime"]);
        // Of the last reading, which is another in each second.
        if matches!(condition["type"].as_str(), Some("ScalingActive" | "ScalingLimited" | "WorkersHealthy")) {
            remove(condition, &["message", "reason", "status"]);
        }
        let observed = &mut condition["observedGeneration"];
        *observed = json!(if observed.is_null() { "none" } else { "some" });
    }
}

fn service(service: &mut Value) {
    remove(service, &["status"]);
    let headless = service["spec"]["clusterIP"] == "None";
    remove(&mut service["spec"], &["clusterIP", "clusterIPs"]);
    service["spec"]["headless"] = json!(headless);
}

/// Where two values differ, as paths with both; at most a few.
#[must_use]
pub fn difference(wanted: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    compare("", wanted, found, &mut lines);
    let more = lines.len().saturating_sub(MOST_DIFFERENCES);
    lines.truncate(MOST_DIFFERENCES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// More of them say nothing new.
const MOST_DIFFERENCES: usize = 12;

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                compare(&format!("{path}.{key}"), &wanted[key], &found[key], lines);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{path}[{index}]"), left, right, lines);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            lines.push(format!("{path}: {} are wanted, {} are there", left.len(), right.len()));
        }
        _ if wanted != found => lines.push(format!("{path}: wanted {wanted}, found {found}")),
        _ => {}
    }
}
