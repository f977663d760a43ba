//! Keeps revisions as ControllerRevisions, and says which one pods are built from: the decision is `decide::revisions`.

use std::collections::BTreeSet;

use crds::{WorkerClusterSpec, names};
use serde_json::Value;

use super::{
    children::{self, is_ours},
    context::Context,
    observe::Seen,
};
use crate::{
    api::{ApiError, Child},
    build::{self, Problem, Valid, revision::Place},
    decide::revisions::{self, Stored, Write},
    view::ObjectView,
};

/// What pods are built from.
#[derive(Debug)]
pub struct Target {
    /// The revision, as pods carry it in a label.
    pub hash: String,
    /// Its number: the highest of all.
    pub number: i64,
    /// Image of the primary.
    pub image: String,
    /// The WorkerCluster's spec with the wishes of this revision.
    pub spec: WorkerClusterSpec,
    pub valid: Valid,
}

/// A stored revision with its object.
struct Kept {
    view: ObjectView,
    stored: Stored,
}

/// Writes what has to be written before the first pod, deletes what is too old, and returns the target, if there is one.
pub async fn settle(
    context: &Context,
    seen: &Seen,
    checked: &Result<Valid, Vec<Problem>>,
) -> Result<Option<Target>, ApiError> {
    let spec = &seen.cluster.spec;
    let wishes = build::revision::wishes(spec);
    let hash = build::revision::hash(&wishes);
    let kept: Vec<Kept> =
        context.cache.revisions.of(&seen.key).into_iter().filter_map(|view| read(view, &seen.uid)).collect();
    let stored: Vec<Stored> = kept.iter().map(|kept| kept.stored.clone()).collect();
    let owned = seen.owned();
    let plan = revisions::decide(&revisions::Input {
        spec: &hash,
        usable: checked.is_ok(),
        paused: spec.rollout.paused,
        image: &context.settings.primary_image,
        stored: &stored,
        lived_in: owned.iter().filter_map(|pod| pod.revision.as_deref()).collect::<BTreeSet<_>>(),
        limit: usize::try_from(spec.rollout.revision_history_limit).unwrap_or(0),
    });
    let Some(target) = plan.target else { return Ok(None) };
    let there = kept.iter().find(|kept| kept.stored.hash == target.hash);
    let place = Place {
        namespace: &seen.namespace,
        cluster: &seen.name,
        cluster_uid: &seen.uid,
        change_cause: change_cause(seen),
    };
    let (wishes, valid) = match there {
        Some(there) if target.hash != hash => (there.view.object["data"]["spec"].clone(), None),
        _ => (wishes, checked.as_ref().ok().cloned()),
    };
    let object = build::revision::build(&wishes, &place, target.number, &target.image);
    match there {
        None => {
            let name = build::revision::object_name(&place, &target.hash);
            let written = context.api.apply_child(Child::Revision, &seen.namespace, &name, &object).await;
            children::keep(context, seen, Child::Revision, written)?;
        }
        Some(there) if target.write != Write::Nothing || is_damaged(&there.view, &object) => {
            children::mend(context, seen, Child::Revision, &there.view, &mending(&object)).await?;
        }
        Some(_) => {}
    }
    for hash in &plan.forget {
        for old in kept.iter().filter(|kept| kept.stored.hash == *hash) {
            context.api.delete_child(Child::Revision, &seen.namespace, &old.view.name, &old.view.uid).await?;
            context.cache.revisions.remove_written(&old.view.uid);
        }
    }
    let restored = match valid {
        Some(valid) => Some((spec.clone(), valid)),
        // What was once accepted is accepted still, unless a newer operator stored it.
        None => build::revision::restored(spec, &wishes).ok().and_then(|spec| {
            let valid = build::validate(&spec).ok()?;
            Some((spec, valid))
        }),
    };
    Ok(restored.map(|(spec, valid)| Target {
        hash: target.hash,
        number: target.number,
        image: target.image,
        spec,
        valid,
    }))
}

/// A revision of this WorkerCluster, also one that was orphaned with its pods. The hash is that of what it holds: a label can be changed.
fn read(view: ObjectView, uid: &str) -> Option<Kept> {
    let wishes = view.object.get("data")?.get("spec")?;
    if !is_ours(&view, uid) || !wishes.is_object() || view.object["metadata"].get("deletionTimestamp").is_some() {
        return None;
    }
    let image = &view.object["metadata"]["annotations"][names::ANNOTATION_PRIMARY_IMAGE];
    let stored = Stored {
        hash: build::revision::hash(wishes),
        number: view.object["revision"].as_i64().unwrap_or(0),
        image: image.as_str().map(ToOwned::to_owned),
    };
    Some(Kept { view, stored })
}

/// Whether somebody has changed labels or owner.
fn is_damaged(there: &ObjectView, wanted: &Value) -> bool {
    ["labels", "ownerReferences"]
        .iter()
        .any(|part| !children::contains(&there.object["metadata"][*part], &wanted["metadata"][*part]))
}

/// All that may be changed in a ControllerRevision: its data may not.
fn mending(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("data");
    }
    if let Some(Value::Object(meta)) = object.get_mut("metadata") {
        meta.remove("name");
        meta.remove("namespace");
    }
    object
}

/// Why the revision came about, as the user has noted it on the WorkerCluster.
fn change_cause(seen: &Seen) -> Option<&str> {
    seen.cluster.metadata.annotations.as_ref()?.get(names::ANNOTATION_CHANGE_CAUSE).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn stored(object: Value) -> ObjectView {
        let controller = Some("uid".to_owned());
        ObjectView { name: "web-x".into(), uid: "r".into(), version: 1, controller, object: Arc::new(object) }
    }

    #[test]
    fn a_revision_is_known_by_what_it_holds_and_not_by_its_label() {
        let wishes = json!({"template": {"spec": {}}, "workers": {}});
        let object = json!({
            "metadata": {"labels": {names::LABEL_REVISION: "forged"}}, "data": {"spec": wishes}, "revision": 3
        });
        let kept = read(stored(object), "uid").unwrap();
        assert_eq!((kept.stored.hash, kept.stored.number), (build::revision::hash(&wishes), 3));
    }

    #[test]
    fn what_holds_no_spec_or_is_anothers_is_no_revision() {
        assert!(read(stored(json!({"data": {"other": 1}})), "uid").is_none());
        assert!(read(stored(json!({"data": {"spec": {}}})), "another").is_none());
    }

    #[test]
    fn a_patch_never_carries_the_data() {
        let patch = mending(&json!({"data": {}, "revision": 2, "metadata": {"name": "x", "labels": {}}}));
        assert_eq!(patch, json!({"revision": 2, "metadata": {"labels": {}}}));
    }
}
