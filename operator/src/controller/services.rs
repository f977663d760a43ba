//! Brings the Services to what the spec says: what differs is applied, what is not wanted any more is deleted, what is another's stays.

use crds::names;
use serde_json::{Value, json};

use super::{adopt, context::Context, observe::Seen};
use crate::{
    api::ApiError,
    build,
    view::{ServiceView, watch::service_view},
};

/// Applies the Services; returns the names of those that belong to somebody else.
pub async fn apply(context: &Context, seen: &Seen) -> Result<Vec<String>, ApiError> {
    let there = context.cache.services.of(&seen.key);
    let wanted = build::service::build(&seen.cluster.spec, &seen.namespace, &seen.name, &seen.uid);
    let mut foreign = Vec::new();
    for (name, service) in &wanted {
        let known = there.iter().find(|service| service.name == *name);
        match known {
            Some(known) if !is_ours(known, &seen.uid) => foreign.push(name.clone()),
            Some(known) if contains(&known.object, service) => {}
            Some(known) => {
                mend(context, seen, known, service).await?;
            }
            None => match context.api.service(&seen.namespace, name).await? {
                // Not in the cache: either it does not exist, or it lacks our label and so is not ours, or was stripped of it.
                Some(found) => match service_view(&found) {
                    Some(view) if is_ours(&view, &seen.uid) => mend(context, seen, &view, service).await?,
                    _ => foreign.push(name.clone()),
                },
                None => keep(context, seen, context.api.apply_service(&seen.namespace, name, service).await)?,
            },
        }
    }
    for service in there.iter().filter(|service| service.controller.as_deref() == Some(&seen.uid)) {
        if !wanted.iter().any(|(name, _)| *name == service.name) {
            context.api.delete_service(&seen.namespace, &service.name, &service.uid).await?;
            context.cache.services.remove_written(&service.uid);
        }
    }
    Ok(foreign)
}

/// Makes a Service of ours what it should be; one that nobody controls only while its new owner surely lives.
async fn mend(context: &Context, seen: &Seen, there: &ServiceView, wanted: &Value) -> Result<(), ApiError> {
    if there.controller.is_none() && !adopt::owner_lives(context, &seen.key, &seen.uid).await? {
        return Ok(());
    }
    keep(context, seen, context.api.patch_service(&seen.namespace, &there.name, &patch(there, wanted)).await)
}

/// Controlled by this WorkerCluster, or left behind by one of the same name (`kubectl delete --cascade=orphan`): made by an operator and
/// controlled by nobody, as the pods that are adopted beside it.
fn is_ours(service: &ServiceView, uid: &str) -> bool {
    let managed_by = &service.object["metadata"]["labels"][names::LABEL_MANAGED_BY];
    service.controller.as_deref().map_or(managed_by == names::MANAGED_BY, |controller| controller == uid)
}

/// A merge patch that makes exactly this Service what it should be. Not an apply: that merges ports by their number, so that a port
/// changed by hand would stay beside ours and be refused for having the same name.
fn patch(there: &ServiceView, wanted: &Value) -> Value {
    let mut patch = wanted.clone();
    patch["metadata"]["uid"] = json!(there.uid);
    if let (Some(there), Some(wanted)) =
        (there.object["spec"]["selector"].as_object(), patch["spec"]["selector"].as_object_mut())
    {
        for key in there.keys() {
            wanted.entry(key).or_insert(Value::Null);
        }
    }
    patch
}

fn keep<K: kube::Resource + serde::Serialize>(
    context: &Context,
    seen: &Seen,
    written: Result<K, ApiError>,
) -> Result<(), ApiError> {
    let written = match written {
        Err(error) if error.is_namespace_ending() => return Ok(()),
        written => written?,
    };
    if let Some(view) = service_view(&written) {
        context.cache.services.put_written(&seen.key, view);
    }
    Ok(())
}

/// Whether `there` has all that `wanted` says. Lists and selectors are compared whole: what is added to one is taken out again.
fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            let there = there.get(key);
            match key.as_str() {
                "kind" | "apiVersion" => true,
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

    fn view(controller: Option<&str>, object: Value) -> ServiceView {
        let (name, uid, controller) = ("web".into(), "u".into(), controller.map(Into::into));
        ServiceView { name, uid, version: 1, controller, object }
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
    fn an_orphan_of_ours_is_taken_and_what_another_has_made_or_controls_is_not() {
        let ours = json!({"metadata": {"labels": {names::LABEL_MANAGED_BY: names::MANAGED_BY}}});
        assert!(is_ours(&view(Some("w"), json!({})), "w") && is_ours(&view(None, ours.clone()), "w"));
        assert!(!is_ours(&view(Some("v"), ours), "w") && !is_ours(&view(None, json!({})), "w"));
    }
}
