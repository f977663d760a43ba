//! Brings Services and the PodDisruptionBudget to what the spec says: what differs is mended, what is not wanted any more is deleted, what is
//! another's stays.

use crds::{WorkerClusterSpec, names};
use serde_json::{Value, json};

use super::{adopt, context::Context, observe::Seen};
use crate::{
    api::{ApiError, Child},
    build,
    view::{Cache, ObjectView, cache::Table, watch::object_view},
};

/// Applies them; returns kind and name of those that belong to somebody else.
pub async fn apply(context: &Context, seen: &Seen, spec: &WorkerClusterSpec) -> Result<Vec<String>, ApiError> {
    let services = build::service::build(spec, &seen.namespace, &seen.name, &seen.uid);
    let budget = build::budget::build(spec, &seen.namespace, &seen.name, &seen.uid);
    let mut foreign = of_kind(context, seen, Child::Service, services).await?;
    foreign.extend(of_kind(context, seen, Child::Budget, budget.into_iter().collect()).await?);
    Ok(foreign)
}

/// Where the cache keeps a kind.
pub fn table(cache: &Cache, kind: Child) -> &Table<ObjectView> {
    match kind {
        Child::Service => &cache.services,
        Child::Budget => &cache.budgets,
        Child::Revision => &cache.revisions,
    }
}

async fn of_kind(
    context: &Context,
    seen: &Seen,
    kind: Child,
    wanted: Vec<(String, Value)>,
) -> Result<Vec<String>, ApiError> {
    let there = table(&context.cache, kind).of(&seen.key);
    let mut foreign = Vec::new();
    let taken = |name: &str| format!("{} {name}", kind.kind());
    for (name, object) in &wanted {
        // Not in the cache: either it does not exist, or it lacks our label and so is not ours, or was stripped of it.
        let found = match there.iter().find(|known| known.name == *name) {
            Some(known) => Some(Some(ObjectView::clone(known))),
            None => context.api.child(kind, &seen.namespace, name).await?.map(|found| object_view(&found)),
        };
        match found {
            Some(Some(view)) if !is_ours(&view, &seen.uid) => foreign.push(taken(name)),
            Some(Some(view)) if contains(&view.object, object) => {}
            Some(Some(view)) => mend(context, seen, kind, &view, object).await?,
            Some(None) => foreign.push(taken(name)),
            None => {
                let object = without_nulls(object.clone());
                keep(context, seen, kind, context.api.apply_child(kind, &seen.namespace, name, &object).await)?;
            }
        }
    }
    for object in there.iter().filter(|object| object.controller.as_deref() == Some(&seen.uid)) {
        if !wanted.iter().any(|(name, _)| *name == object.name) {
            context.api.delete_child(kind, &seen.namespace, &object.name, &object.uid).await?;
            table(&context.cache, kind).remove_written(&object.uid);
        }
    }
    Ok(foreign)
}

/// Makes an object of ours what it should be; one that nobody controls only while its new owner surely lives.
pub async fn mend(
    context: &Context,
    seen: &Seen,
    kind: Child,
    there: &ObjectView,
    wanted: &Value,
) -> Result<(), ApiError> {
    if there.controller.is_none() && !adopt::owner_lives(context, &seen.key, &seen.uid).await? {
        return Ok(());
    }
    let patch = patch(there, wanted);
    keep(context, seen, kind, context.api.patch_child(kind, &seen.namespace, &there.name, &patch).await)
}

/// A null says that a field must be absent: a merge patch takes it so, an apply does not.
fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.retain(|_, field| !field.is_null());
        for field in fields.values_mut() {
            *field = without_nulls(field.take());
        }
    }
    object
}

/// Controlled by this WorkerCluster, or left behind by one of the same name (`kubectl delete --cascade=orphan`): made by an operator and
/// controlled by nobody, as the pods that are adopted beside it.
pub fn is_ours(object: &ObjectView, uid: &str) -> bool {
    let managed_by = &object.object["metadata"]["labels"][names::LABEL_MANAGED_BY];
    object.controller.as_deref().map_or(managed_by == names::MANAGED_BY, |controller| controller == uid)
}

/// A merge patch that makes exactly this object what it should be. Not an apply: that merges ports by their number, so that a port
/// changed by hand would stay beside ours and be refused for having the same name.
fn patch(there: &ObjectView, wanted: &Value) -> Value {
    let mut patch = wanted.clone();
    patch["metadata"]["uid"] = json!(there.uid);
    if let (Some(there), Some(wanted)) = (there.object.pointer("/spec/selector"), patch.pointer_mut("/spec/selector")) {
        without_others(there, wanted);
    }
    patch
}

/// Has a merge patch take out what `there` has and `wanted` has not.
fn without_others(there: &Value, wanted: &mut Value) {
    if let (Some(there), Some(wanted)) = (there.as_object(), wanted.as_object_mut()) {
        for (key, there) in there {
            without_others(there, wanted.entry(key).or_insert(Value::Null));
        }
    }
}

/// Takes the answer to a write into the cache.
pub fn keep<K: kube::Resource + serde::Serialize>(
    context: &Context,
    seen: &Seen,
    kind: Child,
    written: Result<K, ApiError>,
) -> Result<(), ApiError> {
    let written = match written {
        Err(error) if error.is_namespace_ending() => return Ok(()),
        written => written?,
    };
    if let Some(view) = object_view(&written) {
        let table = table(&context.cache, kind);
        table.put_written(&seen.key, view, table.mark());
    }
    Ok(())
}

/// Whether `there` has all that `wanted` says. Lists and selectors are compared whole: what is added to one is taken out again.
pub fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            let there = there.get(key);
            match key.as_str() {
                "kind" | "apiVersion" => true,
                _ if wanted.is_null() => there.is_none_or(Value::is_null),
                "selector" => there == Some(wanted),
                _ => there.is_some_and(|there| contains(there, wanted)),
            }
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| contains(there, wanted))
        }
        _ => there == wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference_and_changes_are() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
        assert!(contains(
            &json!({"spec": {"ports": [{"port": 80, "nodePort": 3}], "selector": {"a": "b"}, "type": "ClusterIP"}}),
            &wanted
        ));
        assert!(!contains(&json!({"spec": {"ports": [{"port": 81}], "selector": {"a": "b"}}}), &wanted));
        assert!(!contains(&json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"a": "b"}}}), &wanted));
        assert!(!contains(&json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b", "c": "d"}}}), &wanted));
    }

    #[test]
    fn what_must_be_absent_is_a_difference_while_it_is_there() {
        let wanted = json!({"spec": {"minAvailable": null, "maxUnavailable": 1}});
        assert!(contains(&json!({"spec": {"maxUnavailable": 1}}), &wanted));
        assert!(!contains(&json!({"spec": {"maxUnavailable": 1, "minAvailable": 1}}), &wanted));
        assert_eq!(without_nulls(wanted), json!({"spec": {"maxUnavailable": 1}}));
    }

    fn view(controller: Option<&str>, object: Value) -> ObjectView {
        let (name, uid, controller) = ("web".into(), "u".into(), controller.map(Into::into));
        ObjectView { name, uid, version: 1, controller, object: Arc::new(object) }
    }

    #[test]
    fn what_was_added_to_a_selector_is_taken_out_of_exactly_this_service() {
        let there = view(Some("w"), json!({"spec": {"selector": {"a": "b", "c": "d"}}}));
        let patch = patch(&there, &json!({"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}}}));
        assert_eq!(
            patch,
            json!({"metadata": {"name": "web", "uid": "u"}, "spec": {"selector": {"a": "b", "c": null}}})
        );
    }

    #[test]
    fn what_was_added_deep_in_a_selector_is_taken_out_and_an_object_without_one_gets_none() {
        let there = view(Some("w"), json!({"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}}));
        let deep = patch(&there, &json!({"metadata": {}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}));
        assert_eq!(deep["spec"], json!({"selector": {"matchLabels": {"a": "b", "c": null}}}));
        assert_eq!(
            patch(&there, &json!({"metadata": {}, "revision": 1})),
            json!({"metadata": {"uid": "u"}, "revision": 1})
        );
    }

    #[test]
    fn an_orphan_of_ours_is_taken_and_what_another_has_made_or_controls_is_not() {
        let ours = json!({"metadata": {"labels": {names::LABEL_MANAGED_BY: names::MANAGED_BY}}});
        assert!(is_ours(&view(Some("w"), json!({})), "w") && is_ours(&view(None, ours.clone()), "w"));
        assert!(!is_ours(&view(Some("v"), ours), "w") && !is_ours(&view(None, json!({})), "w"));
    }
}
