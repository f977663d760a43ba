//! How a rollout stands: pure, in the words that are printed.

use crate::cluster::Cluster;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet: why.
    Waiting(String),
    /// All replicas are of the current revision and available.
    Done(String),
    /// It will not get there without somebody's help.
    Failed(String),
}

/// Whether a paused spec asks for more than the current revision has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// The spec is the current revision.
    Nothing,
    /// A change waits for `resume`.
    Change,
    /// The revisions cannot be read.
    Unknown,
}

/// Judges. `pin` is the number of the revision that is to be followed, 0 for the latest; `pending` matters only while it is paused; `trouble`
/// is what the first pod that is not well waits for.
pub fn judge(cluster: &Cluster, pin: i64, pending: Pending, trouble: Option<&str>) -> Verdict {
    use Verdict::{Done, Failed, Waiting};
    let name = &cluster.name;
    if !cluster.is_observed() {
        return Waiting(format!(
            "{name}: the operator has not seen generation {} of the spec yet (it has seen {})",
            cluster.generation, cluster.status.observed_generation
        ));
    }
    let number = cluster.status.rollout.as_ref().map_or(0, |rollout| rollout.revision);
    if pin > 0 && number != pin {
        return Failed(format!("{name}: revision {pin} is not the current one, {} is", cluster.revision()));
    }
    let exceeded = cluster.condition("Progressing").filter(|condition| condition.reason == EXCEEDED);
    if let Some(condition) = cluster.holds("Stalled").or(exceeded) {
        return Failed(format!("{name}: {}: {}", condition.reason, condition.message));
    }
    let state = if cluster.is_paused() { paused(cluster, pending) } else { None };
    if let Some(waiting) = state {
        return Waiting(waiting);
    }
    match missing(cluster) {
        None => Done(format!(
            "{name}: {} is rolled out, {} of {} replicas available",
            cluster.revision(),
            cluster.updated_available(),
            cluster.wanted()
        )),
        Some(missing) => {
            let trouble = held_up(cluster).or(trouble).map(|trouble| format!("; {trouble}")).unwrap_or_default();
            Waiting(format!("{name}: {missing}{trouble}"))
        }
    }
}

/// Reason of the conditions Progressing and Stalled when `rollout.progressDeadlineSeconds` are over.
const EXCEEDED: &str = "ProgressDeadlineExceeded";

/// What is missing for the end, the first thing first.
fn missing(cluster: &Cluster) -> Option<String> {
    let (wanted, updated) = (cluster.wanted(), i64::from(cluster.status.updated_replicas));
    let revision = cluster.revision();
    let (outdated, available) = (cluster.outdated(), cluster.updated_available());
    match () {
        () if updated < wanted => Some(format!("{updated} of {wanted} replicas are of {revision}")),
        () if available < wanted.min(updated) => {
            Some(format!("{available} of {wanted} replicas of {revision} are available"))
        }
        () if outdated > 0 => {
            Some(format!("{outdated} of older revisions still {} to go", if outdated == 1 { "has" } else { "have" }))
        }
        () if updated > wanted => Some(format!("{updated} replicas, {wanted} wanted")),
        () => None,
    }
}

fn paused(cluster: &Cluster, pending: Pending) -> Option<String> {
    let what = match pending {
        Pending::Change => "a change waits",
        Pending::Unknown => "whether a change waits cannot be seen, because the revisions cannot be read",
        Pending::Nothing if cluster.outdated() > 0 => "pods of older revisions stay",
        Pending::Nothing => return None,
    };
    let name = &cluster.name;
    let (updated, wanted, revision) = (cluster.status.updated_replicas, cluster.wanted(), cluster.revision());
    Some(format!(
        "{name}: paused with {updated} of {wanted} replicas of {revision}: {what}; to go on: kubectl wc rollout resume {name} -n {}",
        cluster.namespace
    ))
}

/// What the operator says stands in the way, where that is not told by counts.
fn held_up(cluster: &Cluster) -> Option<&str> {
    let refused =
        cluster.condition("Ready").filter(|ready| matches!(ready.reason.as_str(), "PodRejected" | "NodesLost"));
    let sick = || cluster.condition("WorkersHealthy").filter(|workers| workers.status == "False");
    refused.or_else(sick).map(|condition| condition.message.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::tests::{cluster, condition};

    fn of(patch: Value, pin: i64, pending: Pending) -> Verdict {
        judge(&cluster(patch), pin, pending, None)
    }

    fn rollout(updated: i64, available: i64, outdated: i64) -> Value {
        json!({"status": {"updatedReplicas": updated, "rollout": {"updatedAvailableReplicas": available, "outdatedReplicas": outdated}}})
    }

    #[test]
    fn it_is_done_when_all_are_updated_and_available_and_none_is_outdated() {
        let Verdict::Done(text) = of(json!({}), 0, Pending::Unknown) else { panic!() };
        assert_eq!(text, "web: revision 7 (new) is rolled out, 2 of 2 replicas available");
    }

    #[test]
    fn each_step_has_a_line_of_its_own() {
        for (patch, wanted) in [
            (
                json!({"metadata": {"generation": 4}}),
                "web: the operator has not seen generation 4 of the spec yet (it has seen 3)",
            ),
            (rollout(0, 0, 2), "web: 0 of 2 replicas are of revision 7 (new)"),
            (rollout(1, 1, 2), "web: 1 of 2 replicas are of revision 7 (new)"),
            (rollout(2, 1, 1), "web: 1 of 2 replicas of revision 7 (new) are available"),
            (rollout(2, 2, 1), "web: 1 of older revisions still has to go"),
            (rollout(3, 3, 0), "web: 3 replicas, 2 wanted"),
        ] {
            assert_eq!(of(patch.clone(), 0, Pending::Unknown), Verdict::Waiting(wanted.into()), "{patch}");
        }
    }

    #[test]
    fn zero_replicas_are_done_at_once() {
        let none = json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "updatedReplicas": 0, "rollout": {"updatedAvailableReplicas": 0}}});
        assert!(matches!(of(none, 0, Pending::Unknown), Verdict::Done(_)));
    }

    #[test]
    fn what_was_never_seen_by_an_operator_is_not_done() {
        let Verdict::Waiting(text) = of(json!({"status": null}), 0, Pending::Unknown) else { panic!() };
        assert!(text.ends_with("generation 3 of the spec yet (it has seen 0)"), "{text}");
    }

    #[test]
    fn the_deadline_and_what_stalls_end_it_with_reason_and_message() {
        for (kind, status, reason) in
            [("Progressing", "False", "ProgressDeadlineExceeded"), ("Stalled", "True", "InvalidTemplate")]
        {
            let mut patch = rollout(1, 0, 2);
            patch["status"]["conditions"] = json!([condition(kind, status, reason, "template.spec.x: unknown field")]);
            assert_eq!(
                of(patch, 0, Pending::Unknown),
                Verdict::Failed(format!("web: {reason}: template.spec.x: unknown field"))
            );
        }
    }

    #[test]
    fn a_condition_about_a_spec_before_this_one_ends_nothing() {
        let stale = json!({"metadata": {"generation": 4}, "status": {"conditions": [condition("Stalled", "True", "InvalidTemplate", "")]}});
        assert!(matches!(of(stale, 0, Pending::Unknown), Verdict::Waiting(_)));
    }

    #[test]
    fn a_pinned_revision_that_is_not_the_current_one_fails() {
        assert!(matches!(of(json!({}), 7, Pending::Unknown), Verdict::Done(_)));
        assert_eq!(
            of(json!({}), 6, Pending::Unknown),
            Verdict::Failed("web: revision 6 is not the current one, revision 7 (new) is".into())
        );
    }

    #[test]
    fn a_paused_change_is_never_told_as_done() {
        let paused = |updated, available, outdated| {
            let mut patch = rollout(updated, available, outdated);
            patch["spec"] = json!({"rollout": {"paused": true}});
            patch
        };
        assert!(matches!(of(paused(2, 2, 0), 0, Pending::Nothing), Verdict::Done(_)));
        for (patch, pending, wanted) in [
            (paused(2, 2, 0), Pending::Change, "a change waits"),
            (paused(2, 2, 0), Pending::Unknown, "cannot be seen"),
            (paused(1, 1, 1), Pending::Nothing, "pods of older revisions stay"),
        ] {
            let Verdict::Waiting(text) = of(patch, 0, pending) else { panic!("{pending:?}") };
            assert!(text.contains(wanted) && text.ends_with("kubectl wc rollout resume web -n shop"), "{text}");
        }
    }

    #[test]
    fn what_holds_it_up_is_told() {
        let mut patch = rollout(1, 0, 2);
        patch["status"]["conditions"] =
            json!([condition("WorkersHealthy", "False", "CrashLoop", "pod web-a: exit code 7")]);
        let Verdict::Waiting(text) = of(patch, 0, Pending::Unknown) else { panic!() };
        assert!(text.ends_with("; pod web-a: exit code 7"), "{text}");
        let waiting = judge(&cluster(rollout(1, 0, 2)), 0, Pending::Unknown, Some("pod web-b: ImagePullBackOff"));
        let Verdict::Waiting(text) = waiting else { panic!() };
        assert!(text.ends_with("; pod web-b: ImagePullBackOff"), "{text}");
    }
}
