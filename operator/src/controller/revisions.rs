//! Keeps revisions as ControllerRevisions, and says which one pods are built from: the decision is `decide::revisions`.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crds::{WorkerClusterSpec, names};
use serde_json::Value;

use super::{
    adopt,
    check::Checked,
    children::{self, is_ours},
    context::Context,
    observe::Seen,
};
use crate::{
    api::{ApiError, Child},
    build::{self, Valid, revision::Place},
    decide::revisions::{self, Stored, Write},
    view::{ObjectView, watch::object_view},
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

/// What came of it.
pub struct Settled {
    pub target: Option<Target>,
    /// The target is not the spec's own: what is missing is made of it, and nobody is replaced by it.
    pub given_up: bool,
    /// What could not be done: the spec's revision could not be kept, and the one before is the target.
    pub unkept: Option<ApiError>,
    /// What can be done later.
    pub later: Option<ApiError>,
}

/// Writes what has to be written before the first pod, returns the target, if there is one, and tidies up.
pub async fn settle(context: &Context, seen: &Seen, checked: &Checked) -> Settled {
    let spec = &seen.cluster.spec;
    let wishes = build::revision::wishes(spec);
    let hash = build::revision::hash(&wishes);
    let place = Place {
        namespace: &seen.namespace,
        cluster: &seen.name,
        cluster_uid: &seen.uid,
        change_cause: change_cause(seen),
    };
    let own_name = build::revision::object_name(&place, &hash);
    let kept: Vec<Kept> = context
        .cache
        .revisions
        .of(&seen.key)
        .into_iter()
        .filter_map(|view| read(Arc::unwrap_or_clone(view), &seen.uid))
        .map(|kept| {
            // Where an admission policy has changed what it holds, its name still says whose it is.
            let hash = if kept.view.name == own_name { hash.clone() } else { kept.stored.hash };
            Kept { stored: Stored { hash, ..kept.stored }, ..kept }
        })
        .collect();
    let (kept, doubles) = without_doubles(kept);
    let stored: Vec<Stored> = kept.iter().map(|kept| kept.stored.clone()).collect();
    let known = stored.iter().any(|stored| stored.hash == hash);
    let owned = seen.owned();
    let lived_in = owned.iter().filter_map(|pod| Some((pod.revision.as_deref()?, pod.primary_image.as_deref())));
    let mut input = revisions::Input {
        spec: &hash,
        // What the API server has not been asked about is not built, unless it was before.
        usable: checked.spec.is_ok() && (known || checked.unasked.is_none()),
        paused: spec.rollout.paused,
        image: &context.settings.primary_image,
        stored: &stored,
        lived_in: lived_in.collect::<BTreeMap<_, _>>(),
        limit: usize::try_from(spec.rollout.revision_history_limit).unwrap_or(0),
    };
    let mut plan = revisions::decide(&input);
    let mut unkept = keep_target(context, seen, &place, plan.target.as_ref(), &kept, &wishes).await.err();
    if unkept.is_some() {
        input.usable = false;
        plan = revisions::decide(&input);
        if let Err(error) = keep_target(context, seen, &place, plan.target.as_ref(), &kept, &wishes).await {
            plan.target = None;
            unkept = Some(error);
        }
    }
    let target = plan.target.and_then(|target| {
        let (spec, valid) = if target.hash == hash {
            (spec.clone(), checked.spec.as_ref().ok().cloned()?)
        } else {
            // What was once accepted is accepted still, unless a newer operator stored it.
            let there = kept.iter().find(|kept| kept.stored.hash == target.hash)?;
            let spec = build::revision::restored(spec, &there.view.object["data"]["spec"]).ok()?;
            let valid = build::validate(&spec).ok()?;
            (spec, valid)
        };
        Some(Target { hash: target.hash, number: target.number, image: target.image, spec, valid })
    });
    let later = tidy(context, seen, &place, &kept, &plan.forget, &doubles).await.err();
    let given_up = target.as_ref().is_some_and(|target| target.hash != hash);
    Settled { target, given_up, unkept, later }
}

/// Has the target stored, with its number and image, before the first pod of it.
async fn keep_target(
    context: &Context,
    seen: &Seen,
    place: &Place<'_>,
    target: Option<&revisions::Target>,
    kept: &[Kept],
    wishes: &Value,
) -> Result<(), ApiError> {
    let Some(target) = target.filter(|target| target.write != Write::Nothing) else { return Ok(()) };
    let there = kept.iter().find(|kept| kept.stored.hash == target.hash);
    let wishes = there.map_or(wishes, |there| &there.view.object["data"]["spec"]);
    let object = build::revision::build(wishes, place, target.number, &target.image);
    if let Some(there) = there {
        return children::mend(context, seen, Child::Revision, &there.view, &mending(&object)).await;
    }
    // Not in the cache: it does not exist, or was stripped of its label.
    let name = build::revision::object_name(place, &target.hash);
    let found = context.api.child(Child::Revision, &seen.namespace, &name).await?;
    if let Some(found) = found.and_then(|found| object_view(&found)) {
        return children::mend(context, seen, Child::Revision, &found, &mending(&object)).await;
    }
    let written = context.api.apply_child(Child::Revision, &seen.namespace, &name, &object).await;
    children::keep(context, seen, Child::Revision, written)
}

/// Gives revisions their labels and owner back, and deletes those that are too old.
async fn tidy(
    context: &Context,
    seen: &Seen,
    place: &Place<'_>,
    kept: &[Kept],
    forget: &[String],
    doubles: &[ObjectView],
) -> Result<(), ApiError> {
    // One that nobody controls is only ours while we surely are.
    if !doubles.is_empty() && adopt::owner_lives(context, &seen.key, &seen.uid).await? {
        for double in doubles {
            context.api.delete_child(Child::Revision, &seen.namespace, &double.name, &double.uid).await?;
            context.cache.revisions.remove_written(&double.uid);
        }
    }
    for kept in kept {
        let Kept { view, stored } = kept;
        if forget.contains(&stored.hash) {
            context.api.delete_child(Child::Revision, &seen.namespace, &view.name, &view.uid).await?;
            context.cache.revisions.remove_written(&view.uid);
            continue;
        }
        let wishes = &view.object["data"]["spec"];
        let mut wanted = mending(&build::revision::build(wishes, place, stored.number, ""));
        if let Some(meta) = wanted["metadata"].as_object_mut() {
            meta.remove("annotations");
        }
        // What this pass has written is newer than what it read.
        let written = context.cache.revisions.of(&seen.key).into_iter().find(|now| now.uid == view.uid);
        if written.is_none_or(|now| now.version == view.version) && is_damaged(view, &wanted) {
            children::mend(context, seen, Child::Revision, view, &wanted).await?;
        }
    }
    Ok(())
}

/// Of several that hold the same the one with the highest number stays: an orphan of a former WorkerCluster that the watch showed too late.
fn without_doubles(mut kept: Vec<Kept>) -> (Vec<Kept>, Vec<ObjectView>) {
    kept.sort_by(|a, b| {
        let order = |kept: &Kept| (kept.stored.number, kept.view.controller.is_some());
        order(b).cmp(&order(a)).then_with(|| a.view.name.cmp(&b.view.name))
    });
    let mut hashes = BTreeSet::new();
    let (kept, doubles): (Vec<Kept>, Vec<Kept>) =
        kept.into_iter().partition(|kept| hashes.insert(kept.stored.hash.clone()));
    (kept, doubles.into_iter().map(|double| double.view).collect())
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
    fn of_two_that_hold_the_same_the_one_with_the_higher_number_stays() {
        let wishes = json!({"template": {"spec": {}}, "workers": {}});
        let named = |name: &str, number: i64, controller: Option<&str>| Kept {
            view: ObjectView {
                name: name.into(),
                controller: controller.map(Into::into),
                ..stored(json!({"data": {"spec": wishes}, "revision": number}))
            },
            stored: Stored { hash: "same".into(), number, image: None },
        };
        let (kept, doubles) = without_doubles(vec![named("new", 1, Some("uid")), named("orphan", 4, None)]);
        assert_eq!((kept[0].view.name.as_str(), doubles[0].name.as_str()), ("orphan", "new"));
        let (kept, _) = without_doubles(vec![named("orphan", 1, None), named("new", 1, Some("uid"))]);
        assert_eq!((kept.len(), kept[0].view.name.as_str()), (1, "new"));
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
