//! `rollout restart NAME`: an annotation of the template that is new each time.

use crds::names::ANNOTATION_RESTARTED_AT;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::print;
use crate::{cluster::Cluster, error::Error, session::Session};

pub async fn run(session: &Session, name: &str) -> Result<(), Error> {
    let cluster = session.cluster(name).await?;
    let namespace = &cluster.namespace;
    if cluster.is_paused() {
        return Err(Error::Refused(format!(
            "{name} is paused, and a restart would wait: first kubectl wc rollout resume {name} -n {namespace}"
        )));
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string();
    if restarted(&cluster) == Some(now.as_str()) {
        return Err(Error::Refused(format!("{name} was restarted within this second: wait a moment, and try again")));
    }
    session.patch(&cluster, steps(&cluster, &now), false).await?;
    print(&format!("{name} restarts; to follow it: kubectl wc rollout status {name} -n {namespace}\n"))
}

fn restarted(cluster: &Cluster) -> Option<&str> {
    cluster.spec.pointer("/template/metadata/annotations")?.get(ANNOTATION_RESTARTED_AT)?.as_str()
}

/// The annotation, and what has to be there for it. Where all of that is there, whatever others change at the same time does not matter.
fn steps(cluster: &Cluster, now: &str) -> Value {
    let mut missing = Vec::new();
    let mut path = "/spec/template".to_owned();
    for part in ["metadata", "annotations"] {
        path = format!("{path}/{part}");
        if !cluster.spec.pointer(&path["/spec".len()..]).is_some_and(Value::is_object) {
            missing.push(json!({"op": "add", "path": path, "value": Map::new()}));
        }
    }
    let mut steps = cluster.guard();
    if missing.is_empty() {
        steps.truncate(1);
    }
    steps.extend(missing);
    let key = ANNOTATION_RESTARTED_AT.replace('/', "~1");
    steps.push(json!({"op": "add", "path": format!("{path}/{key}"), "value": now}));
    Value::Array(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;

    const PATH: &str = "/spec/template/metadata/annotations";

    #[test]
    fn what_is_missing_above_the_annotation_is_made_and_what_is_there_is_kept() {
        let last = json!({"op": "add", "path": format!("{PATH}/kubectl.kubernetes.io~1restartedAt"), "value": "now"});
        let metadata = json!({"op": "add", "path": "/spec/template/metadata", "value": {}});
        let annotations = json!({"op": "add", "path": PATH, "value": {}});
        for (template, wanted) in [
            (json!({}), vec![&metadata, &annotations, &last]),
            (json!({"metadata": {"labels": {"a": "b"}}}), vec![&annotations, &last]),
            (json!({"metadata": {"annotations": {"a": "b"}}}), vec![&last]),
        ] {
            let steps = steps(&cluster(json!({"spec": {"template": template}})), "now");
            let adds: Vec<&Value> = steps.as_array().unwrap().iter().filter(|step| step["op"] == "add").collect();
            assert_eq!(adds, wanted, "{template}");
            // Something is put where nothing was: only if nothing has come there since.
            let guarded = steps.pointer("/1/path") == Some(&json!("/metadata/generation"));
            assert_eq!(guarded, wanted.len() > 1, "{template}");
        }
    }

    #[test]
    fn the_last_restart_is_found() {
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": "then"});
        let cluster = cluster(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}));
        assert_eq!(restarted(&cluster), Some("then"));
    }
}
