//! Brings the Services to what the spec says: what differs is applied, what is not wanted any more is deleted, what is another's stays.

use serde_json::Value;

use super::{context::Context, observe::Seen};
use crate::{api::ApiError, build, view::watch::service_view};

/// Applies the Services; returns the names of those that belong to somebody else.
pub async fn apply(context: &Context, seen: &Seen) -> Result<Vec<String>, ApiError> {
    let there = context.cache.services.of(&seen.key);
    let wanted = build::service::build(&seen.cluster.spec, &seen.namespace, &seen.name, &seen.uid);
    let mut foreign = Vec::new();
    for (name, service) in &wanted {
        let known = there.iter().find(|service| service.name == *name);
        match known {
            Some(known) if known.controller.as_deref() != Some(&seen.uid) => foreign.push(name.clone()),
            Some(known) if contains(&known.object, service) => {}
            Some(known) => {
                let mut service = service.clone();
                service["metadata"]["uid"] = Value::String(known.uid.clone());
                put(context, seen, name, &service, true).await?;
            }
            None => match context.api.service(&seen.namespace, name).await? {
                // Not in the cache: either it does not exist, or it lacks our label and so is not ours, or was stripped of it.
                Some(found) => match service_view(&found) {
                    Some(view) if view.controller.as_deref() == Some(&seen.uid) => {
                        put(context, seen, name, service, true).await?;
                    }
                    _ => foreign.push(name.clone()),
                },
                None => put(context, seen, name, service, false).await?,
            },
        }
    }
    for service in there.iter().filter(|service| service.controller.as_deref() == Some(&seen.uid)) {
        if !wanted.iter().any(|(name, _)| *name == service.name) {
            context.api.delete_service(&seen.namespace, &service.name, &service.uid).await?;
            context.cache.services.remove(&seen.key, &service.name, &service.uid);
        }
    }
    Ok(foreign)
}

async fn put(context: &Context, seen: &Seen, name: &str, service: &Value, force: bool) -> Result<(), ApiError> {
    let applied = match context.api.apply_service(&seen.namespace, name, service, force).await {
        Err(error) if error.is_namespace_ending() => return Ok(()),
        applied => applied?,
    };
    if let Some(view) = service_view(&applied) {
        context.cache.services.put(&seen.key, view);
    }
    Ok(())
}

/// Whether `there` has all that `wanted` says. Lists are compared whole, element by element: what is added to one is taken out again.
fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            matches!(key.as_str(), "kind" | "apiVersion") || there.get(key).is_some_and(|there| contains(there, wanted))
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
    }
}
