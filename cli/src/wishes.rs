//! What a revision is about, in a spec and as it is stored: `template`, `workers` but for what reaches pods that run, `http` and `nodeLoss`; and
//! the patch that brings it back.

use crds::{Balancing, LIVE_FIELDS, NodeLoss, Workers, names};
use serde_json::{Map, Value, json};

use crate::{cluster::Cluster, revisions::Revision};

/// The fields of the spec that make a revision.
const FIELDS: [&str; 4] = ["template", "workers", "http", "nodeLoss"];

/// These fields without what is as the defaults have it, so that a spec and what was stored of it are the same. Takes a spec as well.
pub fn normal(wishes: &Value) -> Value {
    let standard = |field: &str| match field {
        "workers" => serde_json::to_value(Workers::default()).unwrap_or_default(),
        "http" => json!({"balancing": Balancing::default(), "slowStartSeconds": 0, "trustForwarded": false}),
        "nodeLoss" => json!(NodeLoss::default()),
        _ => Value::Null,
    };
    let mut result = Map::new();
    for field in FIELDS {
        let wish = wishes.get(field).filter(|wish| !wish.is_null());
        let wish = wish.map(|wish| if field == "workers" { split(wish).0 } else { wish.clone() });
        let kept = wish.and_then(|wish| differing(&wish, &standard(field)));
        if let Some(kept) = kept {
            result.insert(field.into(), kept);
        }
    }
    Value::Object(result)
}

/// `workers` as far as it makes a revision, and the rest.
fn split(workers: &Value) -> (Value, Map<String, Value>) {
    let mut wished = workers.clone();
    let mut live = Map::new();
    if let Value::Object(fields) = &mut wished {
        live = LIVE_FIELDS.iter().filter_map(|field| Some(((*field).to_owned(), fields.remove(*field)?))).collect();
    }
    (wished, live)
}

/// `value` without what is as in `standard`; `None` where nothing is left.
fn differing(value: &Value, standard: &Value) -> Option<Value> {
    if let (Value::Object(value), Value::Object(standard)) = (value, standard) {
        let kept = value.iter().filter_map(|(key, field)| {
            let field = standard.get(key).map_or_else(|| Some(field.clone()), |standard| differing(field, standard))?;
            Some((key.clone(), field))
        });
        let kept: Map<String, Value> = kept.collect();
        return (!kept.is_empty()).then_some(Value::Object(kept));
    }
    (value != standard).then(|| value.clone())
}

/// Whether both make the same revision.
pub fn same(one: &Value, other: &Value) -> bool {
    normal(one) == normal(other)
}

/// The JSON patch that makes `revision` the spec again, on exactly the object that was looked at. Fields that are as they were are not
/// touched, so that who owns them still does. The reason of the change goes with it, as the operator notes it on the revision.
pub fn undo(cluster: &Cluster, revision: &Revision) -> Value {
    let (now, then) = (normal(&cluster.spec), normal(&revision.wishes));
    let mut steps = cluster.guard();
    for field in FIELDS.into_iter().filter(|field| now.get(field) != then.get(field)) {
        let path = format!("/spec/{field}");
        let mut wish = then.get(field).and(revision.wishes.get(field)).cloned();
        if field == "workers" {
            let live = cluster.spec.get(field).map(|workers| split(workers).1).unwrap_or_default();
            let wished = wish.take().map_or_else(|| Value::Object(Map::new()), |wish| split(&wish).0);
            if let Value::Object(mut workers) = wished {
                workers.extend(live);
                wish = Some(Value::Object(workers)).filter(|workers| *workers != json!({}));
            }
        }
        match wish {
            Some(wish) => steps.push(json!({"op": "add", "path": path, "value": wish})),
            None if cluster.spec.get(field).is_some() => steps.push(json!({"op": "remove", "path": path})),
            None => {}
        }
    }
    let path = format!("/metadata/annotations/{}", names::ANNOTATION_CHANGE_CAUSE.replace('/', "~1"));
    match (&revision.cause, cluster.change_cause()) {
        (Some(cause), now) if now == Some(cause) => {}
        (Some(cause), _) if cluster.annotations.is_object() => {
            steps.push(json!({"op": "add", "path": path, "value": cause}));
        }
        (Some(cause), _) => {
            let annotations = json!({names::ANNOTATION_CHANGE_CAUSE: cause});
            steps.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
        }
        (None, Some(_)) => steps.push(json!({"op": "remove", "path": path})),
        (None, None) => {}
    }
    Value::Array(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::tests::cluster, revisions::tests::revision};

    fn template(image: &str) -> Value {
        json!({"spec": {"containers": [{"name": "worker", "image": image}]}})
    }

    /// What `undo` does after it has made sure that the spec is still the one that was looked at.
    fn steps(cluster: &Cluster, revision: &Revision) -> Value {
        let Value::Array(mut steps) = undo(cluster, revision) else { panic!("no list") };
        let rest = steps.split_off(2);
        assert_eq!(steps, cluster.guard());
        Value::Array(rest)
    }

    #[test]
    fn defaults_that_the_api_server_fills_in_make_no_difference() {
        let written = json!({"template": template("a"), "http": {"port": 80}, "workers": {"drainSeconds": 2}});
        let mut workers = serde_json::to_value(Workers::default()).unwrap();
        workers["drainSeconds"] = json!(2);
        workers["count"] = json!(7); // reaches pods that run
        let filled = json!({
            "replicas": 3, "template": template("a"), "http": {"port": 80, "balancing": "Shared"}, "workers": workers, "nodeLoss": "Default"
        });
        assert!(same(&written, &filled));
        assert_eq!(normal(&filled), written);
    }

    #[test]
    fn each_field_makes_a_difference() {
        let one = json!({"template": template("a")});
        for other in [
            json!({"template": template("b")}),
            json!({"template": template("a"), "workers": {"drainSeconds": 3}}),
            json!({"template": template("a"), "http": {"port": 80}}),
            json!({"template": template("a"), "nodeLoss": "Fast"}),
            json!({"template": template("a"), "workers": {"invented": true}}),
        ] {
            assert!(!same(&one, &other), "{other}");
        }
    }

    #[test]
    fn undo_writes_what_differs_and_removes_what_was_not_there() {
        let now = cluster(json!({"spec": {
            "template": template("broken"), "http": {"port": 80, "balancing": "Shared"}, "nodeLoss": "Fast", "workers": {"count": 4, "drainSeconds": 9}
        }}));
        let then = revision(6, json!({"template": template("good"), "workers": {}}));
        assert_eq!(
            steps(&now, &then),
            json!([
                {"op": "add", "path": "/spec/template", "value": template("good")},
                {"op": "add", "path": "/spec/workers", "value": {"count": 4}},
                {"op": "remove", "path": "/spec/http"},
                {"op": "remove", "path": "/spec/nodeLoss"}
            ])
        );
    }

    #[test]
    fn undo_leaves_alone_what_is_as_it_was() {
        let now = cluster(
            json!({"spec": {"template": template("broken"), "http": {"port": 80, "balancing": "Shared"}, "nodeLoss": "Default"}}),
        );
        let then = revision(6, json!({"template": template("good"), "http": {"port": 80}, "workers": {}}));
        assert_eq!(steps(&now, &then), json!([{"op": "add", "path": "/spec/template", "value": template("good")}]));
    }

    #[test]
    fn undo_takes_the_reason_of_the_change_along() {
        let path = "/metadata/annotations/kubernetes.io~1change-cause";
        let wishes = json!({"template": template("node:22")});
        let caused = |cause: Option<&str>| Revision { cause: cause.map(Into::into), ..revision(6, wishes.clone()) };
        let bare = cluster(json!({}));
        let noted = cluster(json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "broke it"}}}));
        assert_eq!(
            steps(&bare, &caused(Some("2.0")))[0],
            json!({"op": "add", "path": "/metadata/annotations", "value": {"kubernetes.io/change-cause": "2.0"}})
        );
        assert_eq!(steps(&noted, &caused(Some("2.0")))[0], json!({"op": "add", "path": path, "value": "2.0"}));
        assert_eq!(steps(&noted, &caused(None))[0], json!({"op": "remove", "path": path}));
        assert_eq!(steps(&noted, &caused(Some("broke it"))), json!([]));
    }
}
