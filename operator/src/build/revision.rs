//! The revision of a spec: the same for the same wishes, whatever defaults a later version adds.

use crds::{Http, NodeLoss, WorkerClusterSpec, Workers, names};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    live,
    pod::{labels, owner},
};
use crate::text::short_hash;

/// What the user wrote about pods: the template, and what in `workers`, `http` and `nodeLoss` differs from the defaults. Not what reaches pods
/// that run ([`live`]), and not the primary's image: an upgrade of the operator replaces no pod.
pub fn wishes(spec: &WorkerClusterSpec) -> Value {
    let mut workers = differing(&spec.workers, &Workers::default());
    live::take_out(&mut workers);
    let mut wishes = json!({"template": spec.template, "workers": workers});
    if let Some(http) = &spec.http {
        wishes["http"] = differing(http, &Http::on(0));
    }
    if spec.node_loss != NodeLoss::default() {
        wishes["nodeLoss"] = json!(spec.node_loss);
    }
    wishes
}

/// The revision of wishes: the same in every version of this program.
pub fn hash(wishes: &Value) -> String {
    let mut wishes = wishes.clone();
    if let Some(template) = wishes.get_mut("template") {
        without_empty_lists(template);
    }
    if let Value::Object(fields) = &mut wishes {
        fields.entry("http").or_insert(Value::Null); // as the first version wrote it
    }
    // serde_json's maps are sorted, so the text is canonical
    short_hash(&[&wishes.to_string()])
}

/// An empty list in a pod is no list: core/v1 leaves each of them out. A server-side apply that no longer has a list of named items leaves an
/// empty one behind, and that is no new revision.
fn without_empty_lists(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| field.as_array().is_none_or(|items| !items.is_empty()));
            fields.values_mut().for_each(without_empty_lists);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty_lists),
        _ => {}
    }
}

/// The revision of a spec.
pub fn revision(spec: &WorkerClusterSpec) -> String {
    hash(&wishes(spec))
}

/// `spec` with the wishes of another revision in place of its own.
///
/// # Errors
/// Where a newer operator has stored what this one cannot read.
pub fn restored(spec: &WorkerClusterSpec, wishes: &Value) -> Result<WorkerClusterSpec, serde_json::Error> {
    let mut all = serde_json::to_value(spec)?;
    let workers = all.get("workers").cloned().unwrap_or_default();
    if let Value::Object(all) = &mut all {
        for field in ["template", "workers", "http", "nodeLoss"] {
            match wishes.get(field) {
                Some(wish) => all.insert(field.into(), wish.clone()),
                None => all.remove(field),
            };
        }
        live::put_in(all.entry("workers").or_insert_with(|| json!({})), &workers);
    }
    serde_json::from_value(all)
}

/// The ControllerRevision that keeps wishes.
pub fn build(wishes: &Value, place: &Place<'_>, number: i64, image: &str) -> Value {
    let hash = hash(wishes);
    let mut labels = labels(place.cluster);
    labels[names::LABEL_REVISION] = json!(hash);
    let mut annotations = json!({names::ANNOTATION_PRIMARY_IMAGE: image});
    if let Some(cause) = place.change_cause {
        annotations[names::ANNOTATION_CHANGE_CAUSE] = json!(cause);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": object_name(place, &hash), "namespace": place.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [owner(place.cluster, place.cluster_uid)]
        },
        "data": {"spec": wishes}, "revision": number
    })
}

/// Where a revision belongs.
pub struct Place<'a> {
    pub namespace: &'a str,
    pub cluster: &'a str,
    pub cluster_uid: &'a str,
    pub change_cause: Option<&'a str>,
}

/// The name of the object that keeps a revision. The UID is part of it: what is left of another WorkerCluster of this name, and is about to
/// be collected, is not in the way.
pub fn object_name(place: &Place<'_>, hash: &str) -> String {
    format!("{}-{}", place.cluster, short_hash(&[place.cluster_uid, hash]))
}

/// The fields of `value` that are not as in `standard`, so that a field added later with a default changes no revision.
fn differing<T: Serialize>(value: &T, standard: &T) -> Value {
    let (Ok(Value::Object(mut value)), Ok(Value::Object(standard))) =
        (serde_json::to_value(value), serde_json::to_value(standard))
    else {
        return Value::Null;
    };
    value.retain(|key, field| standard.get(key) != Some(field));
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::validate::tests::spec;

    #[test]
    fn replicas_and_autoscaling_are_no_part_of_it() {
        let mut scaled = spec();
        scaled.replicas = 7;
        assert_eq!(revision(&spec()), revision(&scaled));
    }

    #[test]
    fn what_reaches_pods_that_run_is_no_part_of_it_and_stays_when_another_comes_back() {
        let mut live = spec();
        live.workers.count = crds::WorkerCount::Fixed(7);
        live.workers.recycle = Some(crds::Recycle { memory: Some("256Mi".into()), age_seconds: None, requests: None });
        assert_eq!(revision(&live), revision(&spec()));
        let back = restored(&live, &wishes(&spec())).unwrap();
        assert_eq!(back.workers, live.workers);
    }

    #[test]
    fn the_template_the_workers_and_the_port_are() {
        let mut template = spec();
        template.template.0.insert("metadata".into(), json!({"labels": {"a": "b"}}));
        let mut workers = spec();
        workers.workers.drain_seconds = 5;
        let mut startup = spec();
        startup.workers.startup_seconds = 5;
        let mut message = spec();
        message.workers.shutdown_message = true;
        let mut metrics = spec();
        metrics.workers.metrics = crds::WorkerMetrics::PromClient;
        let mut port = spec();
        port.http = Some(Http::on(9000));
        let mut steered = spec();
        steered.http = Some(Http { balancing: crds::Balancing::Steered, slow_start_seconds: 0, ..Http::on(8000) });
        let mut slow = spec();
        slow.http = Some(Http { balancing: crds::Balancing::Steered, slow_start_seconds: 30, ..Http::on(8000) });
        let queue = || Http { balancing: crds::Balancing::Queue, ..Http::on(8000) };
        let paths = |share_credentials| crds::SingleFlight { paths: vec!["/a".into()], share_credentials };
        let affinity = Some(crds::Affinity { cookie: "worker".into() });
        let queues = [
            queue(),
            Http { single_flight: Some(paths(false)), ..queue() },
            Http { single_flight: Some(paths(true)), ..queue() },
            Http { affinity, ..queue() },
        ];
        let queues = queues.map(|http| crds::WorkerClusterSpec { http: Some(http), ..spec() });
        let all = [spec(), template, workers, startup, message, metrics, port, steered, slow].into_iter().chain(queues);
        let all: Vec<_> = all.collect();
        assert_eq!(all.iter().map(revision).collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn an_empty_list_is_as_none_and_an_empty_object_is_not() {
        let mut lists = spec();
        lists.template.0["spec"]["volumes"] = json!([]);
        lists.template.0["spec"]["containers"][0]["env"] = json!([]);
        assert_eq!(revision(&lists), revision(&spec()));
        lists.template.0["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
        let made = revision(&lists);
        lists.template.0["spec"]["volumes"] = json!([{"name": "x"}]);
        assert_ne!(revision(&lists), made);
    }

    #[test]
    fn what_was_stored_can_be_restored_whatever_the_spec_has_become() {
        let mut now = spec();
        now.http = None;
        now.workers.drain_seconds = 5;
        now.node_loss = NodeLoss::Fast;
        now.replicas = 7;
        let back = restored(&now, &wishes(&spec())).unwrap();
        assert_eq!((revision(&back), back.replicas), (revision(&spec()), 7));
    }

    #[test]
    fn a_stored_revision_has_the_hash_of_its_spec() {
        let mut fast = spec();
        fast.node_loss = NodeLoss::Fast;
        assert_ne!(revision(&fast), revision(&spec()));
        assert_eq!(hash(&wishes(&fast)), revision(&fast));
    }

    #[test]
    fn it_is_the_same_in_every_version_of_this_program() {
        assert_eq!(revision(&spec()), "46v4h8gfrj");
    }
}
