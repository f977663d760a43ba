//! A resource that cannot be read: made for a newer operator, or past a schema that was changed by hand.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};

use super::{Error, context::Context};
use crate::{
    build::{Problem, validate::Category},
    status::{self, Settings, Workers},
    view::Key,
};

/// Says so in the conditions, once for each generation.
pub async fn unreadable(context: &Context, key: &Key, invalid: &InvalidObject) -> Result<Action, Error> {
    let problem = [Problem { path: "spec".into(), message: invalid.error.clone(), category: Category::InvalidSpec }];
    let facts = status::Facts {
        problems: &problem,
        wanted: 0,
        active: 0,
        ready: 0,
        available: 0,
        least: 0,
        updated: 0,
        rolling: false,
        awaiting: 0,
        paused: false,
        exceeded: false,
        deadline_seconds: 0,
        rejection: None,
        outage: None,
        silence: None,
        foreign: &[],
        refused: None,
        trouble: None,
        workers: Workers::Unknown,
        settings: Settings::NoReplicas,
        scaling: None,
    };
    let generation = invalid.metadata.generation.unwrap_or(0);
    let version = invalid.metadata.resource_version.clone().unwrap_or_default();
    if context.memory(key, |memory| memory.unreadable) != Some(generation) {
        let mut conditions = status::conditions(&facts, &[], generation, Timestamp::now());
        // Of its pods nothing is known.
        conditions.retain(|condition| matches!(condition.type_.as_str(), "Ready" | "Reconciling" | "Stalled"));
        let status = serde_json::json!({"observedGeneration": generation, "conditions": conditions});
        context.api.patch_conditions(&key.namespace, &key.name, &version, &status).await?;
        context.memory(key, |memory| memory.unreadable = Some(generation));
    }
    Ok(Action::requeue(Duration::from_secs(600)))
}
