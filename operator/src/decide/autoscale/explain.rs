//! A decision in words, for status, conditions and events.

use crds::MetricStatus;
use jiff::{SignedDuration, Timestamp};

use super::{
    combine::{Finding, Verdict},
    decision::{ConditionData, Decision, Reason},
    history::History,
    input::{Input, Now},
    limit::Stages,
};

/// The whole decision from what the stages said.
pub(super) fn decision(input: &Input, findings: &[Finding], stages: &Stages, history: History, now: Now) -> Decision {
    let held_for = (stages.limit() == Some(Reason::ScaleDownStabilized))
        .then(|| history.held_for(input.current, now.elapsed, &input.policy))
        .flatten();
    let held_until = held_for.and_then(|duration| after(now.wall, SignedDuration::try_from(duration).ok()?));
    Decision {
        desired: stages.value(),
        reason: stages.reason(),
        message: message(input, findings, stages, held_until),
        metrics: findings.iter().map(metric_status).collect(),
        sampled_at: sampled_at(findings, now),
        held_until,
        scaling_active: scaling_active(findings),
        scaling_limited: scaling_limited(input, stages),
        history,
    }
}

/// To the whole second, as Kubernetes writes times: what is told again each second should not differ by milliseconds.
fn after(wall: Timestamp, by: SignedDuration) -> Option<Timestamp> {
    let time = wall.checked_add(by).ok()?;
    Timestamp::from_second(time.as_second()).ok()
}

fn message(input: &Input, findings: &[Finding], stages: &Stages, held_until: Option<Timestamp>) -> String {
    let mut parts = vec![format!("{} replicas", stages.value())];
    if stages.value() != input.current {
        parts[0] = format!("{} -> {} replicas", input.current, stages.value());
    }
    parts.extend(findings.iter().map(one_metric));
    parts.extend(limit(input, stages, held_until));
    parts.join("; ")
}

fn one_metric(finding: &Finding) -> String {
    let Finding { name, current, target, verdict } = finding;
    match verdict {
        Verdict::Asks { replicas, .. } => {
            let current = current.as_deref().unwrap_or("known");
            format!("{name}: {current}, target {target}, asks for {replicas}")
        }
        Verdict::NotApplicable { why } => format!("{name}: {why}"),
        Verdict::Unknown { error, .. } => format!("{name} is unknown: {error}"),
    }
}

fn limit(input: &Input, stages: &Stages, held_until: Option<Timestamp>) -> Option<String> {
    let asked = stages.asked();
    let seconds = input.policy.down_window.as_secs();
    Some(match stages.reason() {
        Reason::CpuUtilization | Reason::QueueLength | Reason::RequestsInFlight => return None,
        Reason::RequestsSurge => "they rose to twice what is ready, and a few seconds of them count alone".into(),
        Reason::ScaleDownStabilized => {
            let until = held_until.map(|until| format!(", until {until} at the earliest")).unwrap_or_default();
            format!("more than {asked} were asked for in the last {seconds} s{until}")
        }
        Reason::ScaleDownRateLimited => format!("no more than {} are removed at once", rate(input)),
        Reason::NodesLost => "nothing scales down while most nodes are lost".into(),
        Reason::AtMaxReplicas => format!("maxReplicas is {}", input.max),
        Reason::AtMinReplicas => format!("minReplicas is {}", input.min),
        Reason::MetricsPartlyUnknown => "nothing scales down while a metric is unknown".into(),
        Reason::MetricsUnknown => "the number stays while no metric is known".into(),
    })
}

fn rate(input: &Input) -> String {
    format!("{} % in {} s", input.policy.down_percent, input.policy.down_period.as_secs())
}

fn metric_status(finding: &Finding) -> MetricStatus {
    let (recommended_replicas, error) = match &finding.verdict {
        Verdict::Asks { replicas, .. } => (Some(*replicas), None),
        Verdict::NotApplicable { why } => (None, Some((*why).to_owned())),
        Verdict::Unknown { error, .. } => (None, Some(error.clone())),
    };
    MetricStatus {
        name: finding.name.clone(),
        current: finding.current.clone(),
        target: finding.target.clone(),
        recommended_replicas,
        error,
    }
}

fn sampled_at(findings: &[Finding], now: Now) -> Option<Timestamp> {
    let ages = findings.iter().filter_map(|finding| match finding.verdict {
        Verdict::Asks { age, .. } => Some(age),
        Verdict::NotApplicable { .. } | Verdict::Unknown { .. } => None,
    });
    after(now.wall, -SignedDuration::try_from(ages.max()?).ok()?)
}

fn scaling_active(findings: &[Finding]) -> ConditionData {
    let unknown: Vec<_> = findings
        .iter()
        .filter_map(|finding| match &finding.verdict {
            Verdict::Unknown { category, error } => Some((*category, format!("{}: {error}", finding.name))),
            Verdict::Asks { .. } | Verdict::NotApplicable { .. } => None,
        })
        .collect();
    match unknown.first() {
        None => ConditionData { status: true, reason: "MetricsKnown", message: "Every metric is known.".into() },
        Some((category, _)) => {
            let errors: Vec<_> = unknown.iter().map(|(_, error)| error.as_str()).collect();
            let message = format!("Nothing scales down while a metric is unknown. {}", errors.join("; "));
            ConditionData { status: false, reason: category, message }
        }
    }
}

fn scaling_limited(input: &Input, stages: &Stages) -> ConditionData {
    let message = match stages.limit() {
        Some(Reason::AtMaxReplicas) => format!("The metrics ask for more than maxReplicas, which is {}.", input.max),
        Some(Reason::AtMinReplicas) => format!("The metrics ask for fewer than minReplicas, which is {}.", input.min),
        Some(Reason::ScaleDownStabilized) => {
            let seconds = input.policy.down_window.as_secs();
            format!("The metrics ask for fewer replicas, and asked for more in the last {seconds} s.")
        }
        Some(Reason::ScaleDownRateLimited) => {
            format!("The metrics ask for fewer replicas, and no more than {} are removed at once.", rate(input))
        }
        Some(Reason::NodesLost) => {
            "The metrics ask for fewer replicas, by what can be seen while most nodes are lost.".into()
        }
        _ => "The number is what the metrics ask for.".into(),
    };
    match stages.limit() {
        Some(reason) => ConditionData { status: true, reason: reason.as_str(), message },
        None => ConditionData { status: false, reason: "WithinLimits", message },
    }
}
