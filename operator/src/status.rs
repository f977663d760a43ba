//! Conditions from facts: pure. A condition keeps its time of transition for as long as its status stays.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::{
    build::Problem,
    decide::{
        autoscale::ConditionData,
        complaints::{Complaint, in_words},
        nodes::BETWEEN_CREATES,
    },
    text::{clip, printable},
};

/// All that the conditions are made from.
pub struct Facts<'a> {
    pub problems: &'a [Problem],
    pub wanted: i32,
    pub active: i32,
    pub ready: i32,
    /// Ready for long enough.
    pub available: i32,
    /// So many must be available.
    pub least: i32,
    pub updated: i32,
    /// Pods of an older revision are still there.
    pub rolling: bool,
    /// Pods that wait until others are gone.
    pub awaiting: i32,
    /// Changes wait, and pods of older revisions stay.
    pub paused: bool,
    /// The rollout has not come on for its whole deadline.
    pub exceeded: bool,
    pub deadline_seconds: i64,
    /// What the API server said when it refused a pod.
    pub rejection: Option<&'a str>,
    /// Most nodes are lost: which.
    pub outage: Option<&'a str>,
    /// Nodes that do not answer, and the pods on them.
    pub silence: Option<&'a str>,
    /// Objects of others that have a name of ours.
    pub foreign: &'a [String],
    /// Why the spec's revision could not be kept.
    pub refused: Option<&'a str>,
    /// Of the first pod that is not well: its name and what it waits for.
    pub trouble: Option<(&'a str, &'a str)>,
    pub workers: Workers<'a>,
    pub settings: Settings<'a>,
    pub scaling: Option<(&'a ConditionData, &'a ConditionData)>,
}

/// What the primaries say about their workers.
#[derive(Clone, Copy)]
pub enum Workers<'a> {
    /// No pod is to be asked.
    None,
    /// No primary has answered.
    Unknown,
    /// What a primary answers, or that it does not, cannot be used; and of how many others.
    Unusable { pod: &'a str, message: &'a str, others: usize },
    /// They are all well.
    Well { ready: i64, total: i64 },
    /// Something is wrong: the most severe, and the others.
    Unwell { worst: &'a Complaint, all: &'a [Complaint] },
}

/// How far what can change in pods that run has reached them.
#[derive(Clone, Copy)]
pub enum Settings<'a> {
    /// There is nobody to be told.
    NoReplicas,
    /// This operator cannot sign.
    NoKey,
    /// No primary has answered yet.
    Unheard,
    /// Of `all` primaries that answered so many go by the settings of now, and so many take no orders.
    Told { told: usize, deaf: usize, all: usize },
    /// A primary says no.
    Refused { pod: &'a str, message: &'a str },
}

/// Reason of Progressing while `rollout.paused` holds.
pub const PAUSED: &str = "Paused";

/// Reason while most nodes are lost and something is not as wanted.
pub const NODES_LOST: &str = "NodesLost";

/// Reason while a rollout has not come on for its whole deadline, as a Deployment's.
pub const EXCEEDED: &str = "ProgressDeadlineExceeded";

/// Reason of WorkersHealthy while what a primary answers cannot be used.
pub const STATS_UNUSABLE: &str = "StatsUnusable";

/// Where no stats have come.
const NOT_ANSWERED: &str =
    "no primary has answered on port 9180 yet: pods that start, or a NetworkPolicy between operator and pods";

/// A condition without its times.
struct Draft {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

/// The conditions, given those of before.
pub fn conditions(facts: &Facts<'_>, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut drafts =
        vec![ready(facts), available(facts), progressing(facts), reconciling(facts), stalled(facts), workers(facts)];
    drafts.extend(settings(facts));
    if let Some((active, limited)) = facts.scaling {
        for (kind, data) in [("ScalingActive", active), ("ScalingLimited", limited)] {
            drafts.push(draft(kind, data.status, data.reason, data.message.clone()));
        }
    }
    drafts
        .into_iter()
        .map(|draft| {
            let old = before.iter().find(|condition| condition.type_ == draft.kind && condition.status == draft.status);
            Condition {
                type_: draft.kind.into(),
                status: draft.status.into(),
                reason: draft.reason,
                message: clip(&printable(&draft.message), 2000).to_owned(),
                observed_generation: Some(generation),
                last_transition_time: old.map_or(Time(whole_seconds(now)), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}

/// The conditions while another number of replicas has been decided and nothing has been done about it yet: whoever reads the new number must
/// not read beside it that all of them are ready.
pub fn unsettled(mut conditions: Vec<Condition>, wanted: i32, ready: i32, now: Timestamp) -> Vec<Condition> {
    for condition in &mut conditions {
        let (status, reason) = match (condition.type_.as_str(), condition.status.as_str()) {
            ("Ready", "True") => ("False", "ReplicasNotReady"),
            ("Progressing" | "Reconciling", "False") => ("True", "Scaling"),
            _ => continue,
        };
        condition.status = status.into();
        condition.reason = reason.into();
        condition.message = format!("{ready} of {wanted} replicas ready");
        condition.last_transition_time = Time(whole_seconds(now));
    }
    conditions
}

/// metav1.Time has whole seconds; without rounding a stored condition would differ from the one just made.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn draft(kind: &'static str, status: bool, reason: impl Into<String>, message: impl Into<String>) -> Draft {
    Draft { kind, status: if status { "True" } else { "False" }, reason: reason.into(), message: message.into() }
}

fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Draft {
    Draft { kind, status: "Unknown", reason: reason.into(), message: message.into() }
}

/// What keeps the WorkerCluster from getting on without somebody's help.
fn blocked(facts: &Facts<'_>) -> Option<(String, String)> {
    if let Some(first) = facts.problems.first() {
        let all: Vec<String> = facts.problems.iter().map(ToString::to_string).collect();
        return Some((first.category.as_str().into(), all.join("; ")));
    }
    if let Some(refused) = facts.refused {
        let message = format!("the spec's revision cannot be kept, so pods stay as they were: {refused}");
        return Some(("RevisionRefused".into(), message));
    }
    if !facts.foreign.is_empty() {
        let names = facts.foreign.join(", ");
        return Some((
            "NameTaken".into(),
            format!(
                "{names} already exists and belongs to somebody else: delete or rename it, or rename the WorkerCluster"
            ),
        ));
    }
    None
}

fn counts(facts: &Facts<'_>) -> String {
    format!("{} of {} replicas ready", facts.ready, facts.wanted)
}

fn settled(facts: &Facts<'_>) -> bool {
    facts.active == facts.wanted && facts.updated == facts.wanted && facts.available >= facts.wanted && !facts.rolling
}

fn ready(facts: &Facts<'_>) -> Draft {
    if let Some((reason, message)) = blocked(facts) {
        return draft("Ready", false, reason, message);
    }
    if let Some(rejection) = facts.rejection {
        return draft(
            "Ready",
            false,
            "PodRejected",
            format!(
                "{}; the API server refuses a pod, and it is tried again ever more slowly: {rejection}",
                counts(facts)
            ),
        );
    }
    if let Some(outage) = held_by_nodes(facts) {
        let message = format!(
            "{}; {outage}: until most are back nothing is removed, and a pod is created every {} s at the most",
            counts(facts),
            BETWEEN_CREATES.as_secs()
        );
        return draft("Ready", false, NODES_LOST, message);
    }
    if let Workers::Unwell { worst, .. } = facts.workers {
        // Replicas that are ready serve, whatever is the matter with some of their workers: that is said, and told apart.
        if settled(facts) {
            return draft("Ready", true, "WorkersUnhealthy", format!("{}; {worst}", counts(facts)));
        }
        let message = format!("{}; {worst}{}{}", counts(facts), trouble(facts), silence(facts));
        // What happened to workers a while ago is not why replicas are not ready now.
        return draft("Ready", false, if worst.blocks() { worst.reason } else { not_ready(facts) }, message);
    }
    if facts.wanted == 0 && facts.active == 0 {
        return draft("Ready", true, "ScaledToZero", "no replicas are wanted");
    }
    if settled(facts) {
        return draft("Ready", true, "AllReplicasReady", counts(facts));
    }
    let reason = not_ready(facts);
    let message =
        format!("{}, {} of the current revision{}{}", counts(facts), facts.updated, trouble(facts), silence(facts));
    draft("Ready", false, reason, message)
}

fn not_ready(facts: &Facts<'_>) -> &'static str {
    match facts.rolling {
        _ if facts.exceeded => EXCEEDED,
        true => "RollingOut",
        false => "ReplicasNotReady",
    }
}

fn trouble(facts: &Facts<'_>) -> String {
    facts.trouble.map(|(pod, trouble)| format!("; pod {pod}: {trouble}")).unwrap_or_default()
}

fn silence(facts: &Facts<'_>) -> String {
    facts.silence.map(|silence| format!("; {silence}")).unwrap_or_default()
}

/// Which nodes are lost, where something waits for them.
fn held_by_nodes<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    facts.outage.filter(|_| !settled(facts))
}

/// Without figures and without what a pod waits for, which changes all the time: it is told once.
fn late(facts: &Facts<'_>) -> String {
    format!(
        "the rollout has not come on for {} s (rollout.progressDeadlineSeconds); correct the template, or go back: kubectl wc rollout undo",
        facts.deadline_seconds
    )
}

fn available(facts: &Facts<'_>) -> Draft {
    let enough = facts.available >= facts.least;
    let reason = if enough { "EnoughReplicas" } else { "TooFewReplicas" };
    draft("Available", enough, reason, format!("{} of {} replicas available", facts.available, facts.wanted))
}

fn progress(facts: &Facts<'_>) -> (bool, &'static str) {
    if blocked(facts).is_some() {
        return (false, "Blocked");
    }
    if held_by_nodes(facts).is_some() {
        return (true, NODES_LOST);
    }
    if facts.exceeded {
        return (false, EXCEEDED);
    }
    if facts.paused {
        return (false, PAUSED);
    }
    match settled(facts) {
        true => (false, "Settled"),
        false if facts.rolling => (true, "RollingOut"),
        false if facts.active != facts.wanted => (true, "Scaling"),
        false => (true, "WaitingForReadiness"),
    }
}

fn progressing(facts: &Facts<'_>) -> Draft {
    let (moving, reason) = progress(facts);
    let mut message = format!("{}, {} of the current revision", counts(facts), facts.updated);
    if let Some(outage) = held_by_nodes(facts) {
        message.push_str("; ");
        message.push_str(outage);
    }
    if facts.paused {
        message.push_str("; rollout.paused: changes wait, and pods of older revisions stay");
    }
    if facts.awaiting > 0 {
        let awaiting = format!(
            "; {} more wait for pods that are ending (podReplacementPolicy: TerminationComplete)",
            facts.awaiting
        );
        message.push_str(&awaiting);
    }
    draft("Progressing", moving, reason, message)
}

/// kstatus: what Flux, Argo CD and `helm --wait` look at.
fn reconciling(facts: &Facts<'_>) -> Draft {
    let (moving, reason) = progress(facts);
    draft("Reconciling", moving, reason, counts(facts))
}

fn stalled(facts: &Facts<'_>) -> Draft {
    match blocked(facts) {
        Some((reason, message)) => draft("Stalled", true, reason, message),
        None if facts.exceeded => draft("Stalled", true, EXCEEDED, late(facts)),
        None => draft("Stalled", false, "NotStalled", "nothing stands in the way"),
    }
}

fn workers(facts: &Facts<'_>) -> Draft {
    match facts.workers {
        Workers::None => draft("WorkersHealthy", true, "NoReplicas", "no replica runs"),
        Workers::Unknown => unknown("WorkersHealthy", "NoStats", NOT_ANSWERED),
        Workers::Unusable { pod, message, others } => {
            let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
            let message = format!(
                "pod {pod}{others}: {message}; its figures are not used, and nothing is removed for want of them: look at what answers there on port 9180, or delete the pod"
            );
            unknown("WorkersHealthy", STATS_UNUSABLE, message)
        }
        Workers::Well { ready, total } => {
            draft("WorkersHealthy", true, "AllWell", format!("{ready} of {total} workers ready"))
        }
        Workers::Unwell { worst, all } => draft("WorkersHealthy", false, worst.reason, in_words(all)),
    }
}

/// Whether `workers.count` and the other live settings are in force in every pod.
fn settings(facts: &Facts<'_>) -> Option<Draft> {
    let kind = "SettingsApplied";
    match facts.settings {
        Settings::NoReplicas => None,
        Settings::NoKey => Some(unknown(
            kind,
            "NoKey",
            "this operator has no key to sign orders with, as its Secret is missing or cannot be read (see its log): what changes in workers.count, adaptive, restart, recycle and hang reaches new pods only",
        )),
        Settings::Unheard => Some(unknown(kind, "NoStats", NOT_ANSWERED)),
        Settings::Refused { pod, message } => Some(draft(
            kind,
            false,
            "Refused",
            format!(
                "pod {pod} goes by the settings of before: {message}; correct spec.workers, or replace the pods: kubectl wc rollout restart"
            ),
        )),
        Settings::Told { told, deaf, all } if told + deaf < all => {
            Some(draft(kind, false, "Applying", format!("{told} of {all} replicas go by the present settings")))
        }
        Settings::Told { deaf: 0, all, .. } => {
            Some(draft(kind, true, "Applied", format!("all {all} replicas go by the present settings")))
        }
        Settings::Told { deaf, all, .. } => Some(draft(
            kind,
            false,
            "OlderPrimaries",
            format!(
                "{deaf} of {all} replicas have a primary that takes no orders, and go by the settings that they began with until they are replaced: kubectl wc rollout restart"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::validate::Category;

    fn facts() -> Facts<'static> {
        Facts {
            problems: &[],
            wanted: 2,
            active: 2,
            ready: 2,
            available: 2,
            least: 2,
            updated: 2,
            rolling: false,
            awaiting: 0,
            paused: false,
            exceeded: false,
            deadline_seconds: 600,
            rejection: None,
            outage: None,
            silence: None,
            foreign: &[],
            refused: None,
            trouble: None,
            settings: Settings::NoReplicas,
            workers: Workers::Well { ready: 4, total: 4 },
            scaling: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn of(facts: &Facts<'_>, kind: &str) -> (String, String, String) {
        let all = conditions(facts, &[], 1, at(0));
        let condition = all.into_iter().find(|condition| condition.type_ == kind).unwrap();
        (condition.status, condition.reason, condition.message)
    }

    fn brief(facts: &Facts<'_>, kind: &str) -> (String, String) {
        let (status, reason, _) = of(facts, kind);
        (status, reason)
    }

    fn pair(status: &str, reason: &str) -> (String, String) {
        (status.into(), reason.into())
    }

    #[test]
    fn a_decided_number_that_nothing_was_done_about_yet_is_not_ready() {
        let before = conditions(&facts(), &[], 3, Timestamp::UNIX_EPOCH);
        let now = Timestamp::from_second(9).unwrap();
        let after = unsettled(before, 5, 2, now);
        let found = |kind: &str| after.iter().find(|condition| condition.type_ == kind).unwrap().clone();
        let ready = found("Ready");
        assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", "2 of 5 replicas ready"));
        assert_eq!((ready.last_transition_time.0, found("Reconciling").status.as_str()), (now, "True"));
        assert_eq!(found("Stalled").status, "False");
    }

    #[test]
    fn when_all_is_well_it_is_ready_and_at_rest() {
        assert_eq!(brief(&facts(), "Ready"), pair("True", "AllReplicasReady"));
        assert_eq!(brief(&facts(), "Reconciling"), pair("False", "Settled"));
    }

    #[test]
    fn a_problem_in_the_spec_stalls_and_names_the_field() {
        let problems =
            [Problem { path: "spec.x".into(), message: "is wrong".into(), category: Category::InvalidTemplate }];
        let facts = Facts { problems: &problems, ..facts() };
        assert_eq!(brief(&facts, "Stalled"), pair("True", "InvalidTemplate"));
        assert_eq!(of(&facts, "Ready").2, "spec.x: is wrong");
    }

    #[test]
    fn a_primary_that_lies_is_named_with_what_is_wrong_and_the_replicas_serve() {
        let workers = Workers::Unusable { pod: "web-1", message: "the stats document has version 7", others: 1 };
        let facts = Facts { workers, ..facts() };
        let (status, reason, message) = of(&facts, "WorkersHealthy");
        assert_eq!((status.as_str(), reason.as_str()), ("Unknown", STATS_UNUSABLE));
        assert!(message.starts_with("pod web-1 (and 1 more): the stats document has version 7;"), "{message}");
        assert_eq!(brief(&facts, "Ready"), pair("True", "AllReplicasReady"));
    }

    fn crash_loop(message: &str) -> Complaint {
        Complaint { reason: "CrashLoop", pod: "web-1".into(), message: message.into(), pods: 1 }
    }

    #[test]
    fn a_pods_words_are_printable() {
        let all = [crash_loop("\u{1b}[2J\nagain")];
        let workers = Workers::Unwell { worst: &all[0], all: &all };
        assert!(!of(&Facts { workers, ..facts() }, "WorkersHealthy").2.contains(char::is_control));
    }

    #[test]
    fn a_pod_in_trouble_is_named_in_ready() {
        let facts = Facts { ready: 1, available: 1, trouble: Some(("web-1", "ImagePullBackOff")), ..facts() };
        let (status, reason, message) = of(&facts, "Ready");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ReplicasNotReady"));
        assert!(message.contains("pod web-1: ImagePullBackOff"), "{message}");
    }

    #[test]
    fn lost_nodes_are_named_where_something_waits_for_them_and_only_there() {
        let outage = Some("2 of 3 nodes do not answer: b, c");
        let waiting = Facts { ready: 1, available: 1, exceeded: true, outage, ..facts() };
        let (status, reason, message) = of(&waiting, "Ready");
        assert_eq!((status.as_str(), reason.as_str()), ("False", NODES_LOST));
        assert!(message.starts_with("1 of 2 replicas ready; 2 of 3 nodes do not answer: b, c"), "{message}");
        assert_eq!(brief(&waiting, "Progressing"), pair("True", NODES_LOST));
        assert_eq!(brief(&Facts { outage, ..facts() }, "Ready"), pair("True", "AllReplicasReady"));
    }

    #[test]
    fn silent_nodes_are_told() {
        let facts = Facts {
            active: 1,
            ready: 1,
            available: 1,
            awaiting: 1,
            silence: Some("node x does not answer"),
            ..facts()
        };
        assert!(of(&facts, "Ready").2.ends_with("; node x does not answer"));
    }

    #[test]
    fn unhealthy_workers_are_told_and_do_not_take_ready_from_replicas_that_serve() {
        let mut all = vec![crash_loop("x.")];
        all.push(Complaint { reason: "ChannelSwallowed", pods: 2, ..all[0].clone() });
        let workers = Workers::Unwell { worst: &all[0], all: &all };
        let serving = Facts { workers, ..facts() };
        assert_eq!(
            (brief(&serving, "Ready"), brief(&serving, "WorkersHealthy")),
            (pair("True", "WorkersUnhealthy"), pair("False", "CrashLoop"))
        );
        assert_eq!(of(&serving, "WorkersHealthy").2, "pod web-1: x. Also: ChannelSwallowed (2 pods).");
        let down = Facts { workers, ready: 1, available: 1, ..facts() };
        assert_eq!(brief(&down, "Ready"), pair("False", "CrashLoop"));
    }

    #[test]
    fn a_rollout_is_progress() {
        let facts = Facts { rolling: true, updated: 1, active: 3, ..facts() };
        assert_eq!(
            (brief(&facts, "Progressing"), brief(&facts, "Ready")),
            (pair("True", "RollingOut"), pair("False", "RollingOut"))
        );
    }

    #[test]
    fn a_rollout_past_its_deadline_stalls_and_says_how_to_go_back() {
        let facts = Facts {
            rolling: true,
            updated: 1,
            exceeded: true,
            trouble: Some(("web-1", "ImagePullBackOff")),
            ..facts()
        };
        assert_eq!(
            (brief(&facts, "Progressing"), brief(&facts, "Ready")),
            (pair("False", "ProgressDeadlineExceeded"), pair("False", "ProgressDeadlineExceeded"))
        );
        let (status, _, message) = of(&facts, "Stalled");
        assert!(status == "True" && message.contains("undo"), "{message}");
        assert!(of(&facts, "Ready").2.contains("pod web-1: ImagePullBackOff"));
    }

    #[test]
    fn a_pause_is_no_progress_and_replicas_that_serve_stay_ready() {
        let facts = Facts { paused: true, ..facts() };
        assert_eq!(
            (brief(&facts, "Progressing"), brief(&facts, "Ready")),
            (pair("False", "Paused"), pair("True", "AllReplicasReady"))
        );
    }

    #[test]
    fn replicas_count_as_available_after_their_time_and_some_may_be_missing() {
        let young = Facts { available: 1, least: 1, ..facts() };
        assert_eq!(brief(&young, "Available"), pair("True", "EnoughReplicas"));
        assert_eq!(brief(&young, "Ready"), pair("False", "ReplicasNotReady"));
    }

    #[test]
    fn no_answer_is_unknown_and_not_unhealthy() {
        let facts = Facts { workers: Workers::Unknown, ..facts() };
        assert_eq!(brief(&facts, "WorkersHealthy"), pair("Unknown", "NoStats"));
    }

    #[test]
    fn zero_replicas_are_ready_when_zero_are_wanted() {
        let facts = Facts { wanted: 0, active: 0, ready: 0, updated: 0, workers: Workers::None, ..facts() };
        assert_eq!(brief(&facts, "Ready"), pair("True", "ScaledToZero"));
    }

    #[test]
    fn the_time_of_transition_stays_while_the_status_stays() {
        let first = conditions(&facts(), &[], 1, at(10));
        let second = conditions(&Facts { ready: 1, available: 1, ..facts() }, &first, 2, at(20));
        let time = |all: &[Condition], kind: &str| {
            all.iter().find(|condition| condition.type_ == kind).unwrap().last_transition_time.0
        };
        assert_eq!((time(&second, "Ready"), time(&second, "Stalled")), (at(20), at(10)));
    }
}
