//! Pods as rows: where each is in its life and what is the matter with it.

use std::collections::BTreeMap;

use crds::names;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use serde::Serialize;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub name: String,
    /// The revision's hash.
    pub revision: String,
    pub ready: bool,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`, or `Terminating`.
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Restarts of its containers.
    pub restarts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// What it waits for, or how it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Rows in the order in which one looks at them: what is in trouble first, then what is not ready, ending ones last.
pub fn rows(pods: &[Pod]) -> Vec<Row> {
    let mut rows: Vec<Row> = pods.iter().map(row).collect();
    rows.sort_by_cached_key(|row| (row.phase == ENDING, row.trouble.is_none(), row.ready, row.name.clone()));
    rows
}

/// How many pods each revision has that are neither ended nor ending.
pub fn by_revision(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut numbers = BTreeMap::new();
    for row in rows.iter().filter(|row| !matches!(row.phase.as_str(), ENDING | "Succeeded" | "Failed")) {
        *numbers.entry(row.revision.clone()).or_default() += 1;
    }
    numbers
}

/// What is the matter with the first pod of `revision` that is in trouble, as `pod NAME: …`.
pub fn trouble(rows: &[Row], revision: &str) -> Option<String> {
    let row = rows.iter().find(|row| row.revision == revision && row.phase != ENDING && row.trouble.is_some())?;
    row.trouble.as_ref().map(|trouble| format!("pod {}: {trouble}", row.name))
}

const ENDING: &str = "Terminating";

fn row(pod: &Pod) -> Row {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let ready = condition(pod, "Ready").is_some_and(|(status, _)| status == "True");
    Row {
        name: pod.name_any(),
        revision: pod.labels().get(names::LABEL_REVISION).cloned().unwrap_or_default(),
        ready,
        phase: if pod.metadata.deletion_timestamp.is_some() { ENDING } else { phase }.into(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        restarts: containers(pod).map(|container| container.restart_count).fold(0, i32::saturating_add),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        trouble: failed(pod)
            .or_else(|| containers(pod).find_map(waiting))
            .or_else(|| unplaced(pod))
            .or_else(|| if ready { None } else { containers(pod).find_map(died) }),
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, Option<String>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    let why = found.reason.as_deref().map(|reason| sentence(reason, found.message.as_deref()));
    Some((found.status.as_str(), why))
}

fn failed(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    Some(sentence(status.reason.as_deref().unwrap_or("Failed"), status.message.as_deref()))
}

/// What a container waits for, unless that is how every container begins.
fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason =
        waiting.reason.as_deref().filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
    let text = format!("{} {}", container.name, sentence(reason, waiting.message.as_deref()));
    // How it ended the last time says more than that it waits.
    Some(match last_end(container) {
        Some(end) => format!("{text} ({end})"),
        None => text,
    })
}

fn died(container: &ContainerStatus) -> Option<String> {
    last_end(container).map(|end| format!("{} {end}", container.name))
}

fn last_end(container: &ContainerStatus) -> Option<String> {
    let ended = |state: &k8s_openapi::api::core::v1::ContainerState| state.terminated.clone();
    let now = container.state.as_ref().and_then(ended).filter(|ended| ended.exit_code != 0);
    let end = now.or_else(|| container.last_state.as_ref().and_then(ended))?;
    Some(format!("ended with {}, exit code {}", end.reason.as_deref().unwrap_or("an error"), end.exit_code))
}

fn unplaced(pod: &Pod) -> Option<String> {
    let (status, why) = condition(pod, "PodScheduled")?;
    if status == "False" { Some(why.unwrap_or_else(|| "not scheduled".into())) } else { None }
}

/// Characters of a message that are shown.
const SHOWN: usize = 160;

fn sentence(reason: &str, message: Option<&str>) -> String {
    match message.filter(|message| !message.is_empty()) {
        Some(message) if message.chars().count() > SHOWN => {
            format!("{reason}: {}…", message.chars().take(SHOWN).collect::<String>())
        }
        Some(message) => format!("{reason}: {message}"),
        None => reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, revision: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"workercluster.dev/revision": revision}}, "spec": {"containers": [], "nodeName": "n1"}, "status": status
        }))
        .unwrap()
    }

    fn container(state: &Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state,
            "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}}}]})
    }

    fn well() -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    }

    #[test]
    fn the_trouble_of_a_pod_is_told_with_its_cause() {
        for (status, wanted) in [
            (well(), None),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "out of memory"}),
                Some("Evicted: out of memory"),
            ),
            (
                container(&json!({"waiting": {"reason": "CrashLoopBackOff"}})),
                Some("worker CrashLoopBackOff (ended with Error, exit code 7)"),
            ),
            (
                container(&json!({"waiting": {"reason": "ContainerCreating"}})),
                Some("worker ended with Error, exit code 7"),
            ),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                Some("Unschedulable: 0/1 nodes"),
            ),
            (json!({"phase": "Pending"}), None),
        ] {
            assert_eq!(row(&pod("a", "r", &status)).trouble.as_deref(), wanted, "{status}");
        }
    }

    #[test]
    fn what_is_in_trouble_comes_first_and_what_ends_last() {
        let mut ending = pod("a-ending", "old", &well());
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let pods = [
            ending,
            pod("b-well", "new", &well()),
            pod("c-young", "new", &json!({})),
            pod("d-bad", "new", &container(&json!({"waiting": {"reason": "X"}}))),
        ];
        let rows = rows(&pods);
        let order: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(order, ["d-bad", "c-young", "b-well", "a-ending"]);
        assert_eq!(by_revision(&rows), BTreeMap::from([("new".to_owned(), 3)]));
        assert!(trouble(&rows, "new").unwrap().starts_with("pod d-bad: worker X"));
        assert_eq!(trouble(&rows, "old"), None);
    }
}
