//! The resource, and what is built from it; amounts and quantities.

use crds::{Amount, WorkerCluster, WorkerClusterSpec, names};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    build::{self, Valid, pod::Context, revision},
    decide::{
        autoscale::{CpuRequest, worker_cpu_request},
        replicas::Strategy,
    },
    view::watch::Object,
};

/// What was written is read as the same again.
fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(again) => again,
        Err(error) => unreachable!("our own {text} is refused: {error}"),
    }
}

/// A WorkerCluster as the API server sends it, whatever its schema has become.
pub(super) fn workercluster(data: &[u8]) {
    let _ = serde_json::from_slice::<Object>(data).map(|object| object.0.is_ok());
    let Ok(cluster) = serde_json::from_slice::<WorkerCluster>(data) else { return };
    assert_eq!(again(&cluster.spec), cluster.spec);
    everything(&cluster.spec);
}

/// Does all that is done with a spec; what is stored of it comes back as the same revision.
pub fn everything(spec: &WorkerClusterSpec) {
    let wishes = revision::wishes(spec);
    let hash = revision::hash(&wishes);
    assert_eq!(revision::hash(&again(&wishes)), hash, "a stored revision is another");
    let restored = revision::restored(spec, &again(&wishes));
    assert_eq!(restored.map(|spec| revision::revision(&spec)).ok().as_ref(), Some(&hash));
    for wanted in [0, 1, 10, usize::MAX] {
        let strategy = Strategy::of(spec, wanted);
        assert!(strategy.surge + strategy.unavailable.min(1) > 0, "nothing could ever be replaced");
    }
    let _ = build::service::build(spec, "ns", "web", "uid");
    let _ = build::budget::build(spec, "ns", "web", "uid");
    match build::validate(spec) {
        Ok(valid) => pod(spec, &valid),
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.path.starts_with("spec.template.spec"), "{problem}");
            }
        }
    }
}

/// A pod that the API server would take has all that makes it ours.
fn pod(spec: &WorkerClusterSpec, valid: &Valid) {
    let context = Context {
        namespace: "ns",
        cluster: "web",
        cluster_uid: "uid",
        revision: "rev",
        primary_image: "primary",
        pull_policy: "IfNotPresent",
        control: Some(build::pod::Control { public_key: "ab", revision: "live", reload: Some("x") }),
    };
    let built = build::pod::build(spec, valid, &context, "web-x", 7);
    let template = serde_json::from_value::<PodTemplateSpec>(Value::Object(spec.template.0.clone()));
    let Some(template) = template.ok().filter(|template| template.spec.is_some()) else { return };
    let pod: Pod = match serde_json::from_value(built) {
        Ok(pod) => pod,
        Err(error) => unreachable!("a template that is one gives a pod that is none: {error}"),
    };
    let labels = pod.metadata.labels.unwrap_or_default();
    for (label, value) in [(names::LABEL_NAME, "web"), (names::LABEL_REVISION, "rev"), (names::LABEL_SLOT, "7")] {
        assert_eq!(labels.get(label).map(String::as_str), Some(value));
    }
    let (pod, users) = (pod.spec.unwrap_or_default(), template.spec.unwrap_or_default());
    let first = pod.init_containers.iter().flatten().next();
    assert_eq!(first.map(|first| first.name.as_str()), Some(names::INIT_CONTAINER));
    assert!(pod.volumes.iter().flatten().any(|volume| volume.name == names::VOLUME));
    assert_eq!(pod.containers.len(), users.containers.len());
    let grace = pod.termination_grace_period_seconds.unwrap_or(0);
    assert!(grace >= spec.workers.drain_seconds && grace >= users.termination_grace_period_seconds.unwrap_or(0));
    let (Some(worker), Some(users)) = (pod.containers.get(valid.worker), users.containers.get(valid.worker)) else {
        unreachable!("the worker container is gone")
    };
    wrapped(worker, users);
}

fn wrapped(worker: &Container, users: &Container) {
    let command: Vec<&String> = users.command.iter().flatten().chain(users.args.iter().flatten()).collect();
    assert!(!command.is_empty());
    assert_eq!(worker.command.as_deref(), Some(&[format!("{}/primary", names::MOUNT)][..]));
    assert_eq!(worker.args.iter().flatten().skip(1).collect::<Vec<_>>(), command);
    let own = worker.env.iter().flatten().filter(|variable| variable.name.starts_with("WORKERCLUSTER_")).count();
    assert_eq!(own + users.env.iter().flatten().count(), worker.env.iter().flatten().count());
    assert!(worker.env.iter().flatten().any(|variable| variable.name == "WORKERCLUSTER_ADMIN"));
    assert!(worker.volume_mounts.iter().flatten().any(|mount| mount.mount_path == names::MOUNT));
    assert!(worker.ports.iter().flatten().any(|port| port.name.as_deref() == Some(names::ADMIN_PORT_NAME)));
    assert!(worker.readiness_probe.is_some() && worker.liveness_probe.is_some());
}

/// A processor request, and an amount of replicas.
pub(super) fn quantity(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    cpu(&text);
    for json in [text.to_string(), serde_json::to_string(&text).unwrap_or_default()] {
        let Ok(amount) = serde_json::from_str::<Amount>(&json) else { continue };
        assert_eq!(again(&amount), amount);
        for whole in [0, 1, 7, 10_000] {
            let (up, down) = (amount.of_rounded_up(whole), amount.of_rounded_down(whole));
            assert!(down <= up && up <= down + 1, "{amount:?} of {whole}: {down} and {up}");
        }
    }
}

/// Against floating point: never less than what is written, and at most a thousandth more.
fn cpu(text: &str) {
    let requests = Some([("cpu".to_owned(), Quantity(text.to_owned()))].into());
    let resources = Some(ResourceRequirements { requests, ..ResourceRequirements::default() });
    let worker = Container { name: names::WORKER_CONTAINER.into(), resources, ..Container::default() };
    let spec = PodSpec { containers: vec![worker], ..PodSpec::default() };
    let CpuRequest::Millicores(millicores) = worker_cpu_request(&spec) else { return };
    assert!(millicores >= 0, "{text} is {millicores}");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let Ok(number) = digits.parse::<f64>() else { return }; // with an exponent, which this does not reckon
    let scale = match &text[digits.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        _ => return,
    };
    #[allow(clippy::cast_precision_loss)] // what is lost is within the bounds below
    let (found, exact) = (millicores as f64, number * scale * 1000.0);
    assert!(found >= exact * (1.0 - 1e-9) && found <= exact * (1.0 + 1e-9) + 1.0, "{text}: {found} for {exact}");
}
