//! One recommendation for each metric, and the highest of the known.

use std::time::Duration;

use super::{
    cpu,
    decision::Reason,
    history::Demands,
    input::{Input, Metric, Now, Reading},
    queue,
    requests::{self, Figure, RequestsError, Total},
};

/// What one metric asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// `cpu`, or the queue's source and key.
    pub(super) name: String,
    /// The figure with its unit, where it is known.
    pub(super) current: Option<String>,
    /// The target with its unit.
    pub(super) target: String,
    /// What it asks for.
    pub(super) verdict: Verdict,
}

/// What a metric asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// So many replicas.
    Asks { replicas: i32, reason: Reason, age: Duration },
    /// It has nothing to say while no replica runs.
    NotApplicable { why: &'static str },
    /// It is unknown, which is never 0.
    Unknown { category: &'static str, error: String },
}

/// What all metrics together ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combined {
    /// So many replicas, before windows, rates and bounds.
    Asks { replicas: i32, reason: Reason },
    /// Too little is known: no change.
    Hold { reason: Reason },
}

impl Finding {
    /// Whether a sudden rise counts alone.
    pub(super) fn is_surge(&self) -> bool {
        matches!(self.verdict, Verdict::Asks { reason: Reason::RequestsSurge, .. })
    }
}

/// Stage 1: what a metric asks for.
pub(super) fn assess(
    metric: &Metric,
    input: &Input,
    total: &Result<Total, RequestsError>,
    demands: &Demands,
    now: Now,
) -> Finding {
    match metric {
        Metric::Cpu { target_utilization } => assess_cpu(*target_utilization, input, now),
        Metric::Requests { target_in_flight } => assess_requests(*target_in_flight, input, total, demands, now),
        Metric::Queue { name, target_per_replica, reading } => {
            assess_queue(name, *target_per_replica, reading, input.policy.sample_max_age)
        }
    }
}

fn assess_cpu(target: i32, input: &Input, now: Now) -> Finding {
    let mut finding = Finding {
        name: "cpu".into(),
        current: None,
        target: format!("{target}% of the request"),
        verdict: Verdict::NotApplicable { why: "no replica is wanted, so that none uses processor time" },
    };
    if input.current == 0 {
        return finding;
    }
    finding.verdict = match cpu::recommend(input.current, target, &input.pods, input.policy.sample_max_age, now) {
        Ok(figure) => {
            let figure = figure.keep_direction(input.current);
            finding.current = Some(format!("{}% of the request on {}", figure.utilization, pods(figure.usable)));
            Verdict::Asks { replicas: figure.replicas, reason: Reason::CpuUtilization, age: figure.age }
        }
        Err(error) => Verdict::Unknown { category: error.category(), error: error.to_string() },
    };
    finding
}

fn assess_requests(
    target: i32,
    input: &Input,
    total: &Result<Total, RequestsError>,
    demands: &Demands,
    now: Now,
) -> Finding {
    let mut finding = Finding {
        name: "requests".into(),
        current: None,
        target: format!("{target}% of the places"),
        verdict: Verdict::NotApplicable { why: "no replica is wanted, so that none has requests" },
    };
    if input.current == 0 {
        return finding;
    }
    finding.verdict = match total {
        Ok(total) => {
            let figure = requests::recommend(input.current, target, *total, demands, now.elapsed);
            let window = if figure.panic { requests::PANIC } else { requests::STABLE };
            finding.current = Some(format!(
                "{:.1} requests at a time in {} s, {:.0} places in a replica",
                figure.requests,
                window.as_secs(),
                figure.places
            ));
            // What is guessed may ask for more, and not for fewer. How many are silent changes too often for a condition.
            let guess = match figure {
                _ if figure.replicas >= input.current => None,
                Figure { silent: 1.., .. } => Some("some replicas that are ready do not tell their requests"),
                Figure { none_ready: true, .. } => Some("no replica is ready"),
                _ => None,
            };
            if let Some(error) = guess {
                Verdict::Unknown { category: requests::UNKNOWN, error: error.into() }
            } else {
                let reason = if figure.panic { Reason::RequestsSurge } else { Reason::RequestsInFlight };
                Verdict::Asks { replicas: figure.replicas, reason, age: figure.age }
            }
        }
        Err(error) => Verdict::Unknown { category: requests::UNKNOWN, error: error.to_string() },
    };
    finding
}

fn pods(count: usize) -> String {
    if count == 1 { "1 replica".into() } else { format!("{count} replicas") }
}

fn assess_queue(name: &str, target: i64, reading: &Reading, max_age: Duration) -> Finding {
    let (current, verdict) = match reading {
        Reading::Known { age, .. } if queue::is_stale(*age, max_age) => {
            let error = format!("the last reading is older than {} s", max_age.as_secs());
            (None, Verdict::Unknown { category: "QueueUnknown", error })
        }
        Reading::Known { items, age } => {
            let replicas = queue::recommend(*items, target);
            (Some(format!("{items} items")), Verdict::Asks { replicas, reason: Reason::QueueLength, age: *age })
        }
        Reading::Unknown { error } => (None, Verdict::Unknown { category: "QueueUnknown", error: error.clone() }),
    };
    Finding { name: name.into(), current, target: format!("{target} items per replica"), verdict }
}

/// Stage 2: the highest of the known. With one unknown they may ask for more, not for fewer.
pub(super) fn combine(findings: &[Finding], current: i32) -> Combined {
    let unknown = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Unknown { .. }));
    let mut highest: Option<(i32, Reason)> = None;
    for finding in findings {
        if let Verdict::Asks { replicas, reason, .. } = finding.verdict
            && highest.is_none_or(|(most, _)| replicas > most)
        {
            highest = Some((replicas, reason));
        }
    }
    match highest {
        Some((replicas, _)) if unknown && replicas < current => Combined::Hold { reason: Reason::MetricsPartlyUnknown },
        Some((replicas, reason)) => Combined::Asks { replicas, reason },
        None => Combined::Hold { reason: Reason::MetricsUnknown },
    }
}
