//! `rollout pause NAME` and `rollout resume NAME`: `spec.rollout.paused`.

use serde_json::{Value, json};

use super::print;
use crate::{cluster::Cluster, error::Error, session::Session};

/// Pauses, or resumes.
pub async fn run(session: &Session, name: &str, paused: bool) -> Result<(), Error> {
    let cluster = session.cluster(name).await?;
    let word = if paused { "paused" } else { "resumed" };
    if cluster.is_paused() == paused {
        let already = if paused { "is paused already" } else { "is not paused" };
        return print(&format!("{name} {already}: nothing to change\n"));
    }
    session.patch(&cluster, steps(&cluster, paused), false).await?;
    let next = if paused {
        "changes of template, workers, http and nodeLoss wait; replicas and autoscaling go on".to_owned()
    } else {
        format!("to follow it: kubectl wc rollout status {name} -n {}", cluster.namespace)
    };
    print(&format!("{name} {word}: {next}\n"))
}

/// Only this one field, whoever has written the others, and whatever else they change at the same time.
fn steps(cluster: &Cluster, paused: bool) -> Value {
    if cluster.spec.get("rollout").is_some_and(Value::is_object) {
        return json!([
            {"op": "test", "path": "/metadata/uid", "value": cluster.uid},
            {"op": "add", "path": "/spec/rollout/paused", "value": paused}
        ]);
    }
    let mut steps = cluster.guard();
    steps.push(json!({"op": "add", "path": "/spec/rollout", "value": {"paused": paused}}));
    Value::Array(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;

    #[test]
    fn only_the_one_field_is_written() {
        let with = cluster(json!({"spec": {"rollout": {"maxSurge": 1}}}));
        assert_eq!(steps(&with, true)[1], json!({"op": "add", "path": "/spec/rollout/paused", "value": true}));
        let without = steps(&cluster(json!({})), true);
        assert_eq!(without[2], json!({"op": "add", "path": "/spec/rollout", "value": {"paused": true}}));
    }
}
