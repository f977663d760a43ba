//! Processor time as a HorizontalPodAutoscaler reckons it (`GetResourceReplicas` in its replica calculator, 1.36): the same
//! answers, in the same order of floating point operations. Sums are wider than its `int64` and results saturate, so that an
//! absurd figure asks for the most, never for a negative number.

use std::time::Duration;

use thiserror::Error;

use super::{
    input::{CpuRequest, Now, Pod},
    pods::{Class, classify},
};

/// `--horizontal-pod-autoscaler-tolerance`: a ratio of usage to target this close to 1 changes nothing. Both ends included.
const TOLERANCE: f64 = 0.1;

/// What processor time asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// Replicas that it asks for.
    pub(super) replicas: i32,
    /// Usage of the usable pods in percent of their requests, truncated.
    pub(super) utilization: i32,
    /// [`Figure::utilization`] by the target.
    pub(super) ratio: f64,
    /// Pods that it was measured on.
    pub(super) usable: usize,
    /// Age of the oldest sample in it.
    pub(super) age: Duration,
}

/// Why processor time asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum CpuError {
    #[error("no replica exists yet")]
    NoPods,
    #[error(
        "no replica has a usable sample: {unready} not ready or still starting, {missing} without a usable answer from the primary{}",
        why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    NoUsableSample { unready: usize, missing: usize, why: Option<String> },
    #[error(
        "container {container} of pod {pod} requests no processor time, so that there is no percentage of it: set {field}"
    )]
    NoRequest { pod: String, container: String, field: String },
    #[error(
        "the containers request 0 processors, so that there is no percentage of it: set spec.template.spec.containers[*].resources.requests.cpu"
    )]
    ZeroRequest,
}

/// Usage and request of one pod, in thousandths of a processor.
#[derive(Clone, Copy)]
struct Entry {
    usage: i64,
    request: i64,
}

/// The number of replicas that brings the mean utilisation to the target.
pub(super) fn recommend(
    current: i32,
    target: i32,
    pods: &[Pod],
    sample_max_age: Duration,
    now: Now,
) -> Result<Figure, CpuError> {
    if pods.is_empty() {
        return Err(CpuError::NoPods);
    }
    let mut used = Vec::with_capacity(pods.len());
    let (mut unready, mut missing) = (Vec::new(), Vec::new());
    let (mut oldest, mut why) = (Duration::ZERO, None);
    for pod in pods {
        let request = request(pod)?;
        match classify(pod, sample_max_age, now) {
            Class::Dropped => {}
            Class::Unready => unready.push(request),
            Class::Missing => {
                missing.push(request);
                why = why.or_else(|| Some(format!("pod {}: {}", pod.name, pod.trouble.as_ref()?)));
            }
            Class::Usable { millicores, age } => {
                used.push(Entry { usage: millicores, request });
                oldest = oldest.max(age);
            }
        }
    }
    if used.is_empty() {
        return Err(CpuError::NoUsableSample { unready: unready.len(), missing: missing.len(), why });
    }
    let usable = used.len();
    let (ratio, utilization) = usage_ratio(&used, target)?;
    let replicas = replicas(current, target, ratio, used, &unready, &missing)?;
    Ok(Figure { replicas, utilization, ratio, usable, age: oldest })
}

fn replicas(
    current: i32,
    target: i32,
    ratio: f64,
    mut used: Vec<Entry>,
    unready: &[i64],
    missing: &[i64],
) -> Result<i32, CpuError> {
    let up_with_unready = !unready.is_empty() && ratio > 1.0;
    if !up_with_unready && missing.is_empty() {
        return Ok(if within_tolerance(ratio) { current } else { times(ratio, used.len()) });
    }
    if ratio < 1.0 {
        let fallback = i64::from(target.max(100));
        used.extend(missing.iter().map(|&request| Entry { usage: request.saturating_mul(fallback) / 100, request }));
    } else if ratio > 1.0 {
        used.extend(missing.iter().map(|&request| Entry { usage: 0, request }));
    }
    if up_with_unready {
        used.extend(unready.iter().map(|&request| Entry { usage: 0, request }));
    }
    let (again, _) = usage_ratio(&used, target)?;
    let flips = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    if within_tolerance(again) || flips {
        return Ok(current);
    }
    let replicas = times(again, used.len());
    let against = (again < 1.0 && replicas > current) || (again > 1.0 && replicas < current);
    Ok(if against { current } else { replicas })
}

fn request(pod: &Pod) -> Result<i64, CpuError> {
    match &pod.request {
        CpuRequest::Millicores(millicores) => Ok(*millicores),
        CpuRequest::Missing { container, field } => {
            Err(CpuError::NoRequest { pod: pod.name.clone(), container: container.clone(), field: field.clone() })
        }
    }
}

/// Ratio of the mean utilisation to the target, and the mean utilisation in percent, truncated before the division.
fn usage_ratio(entries: &[Entry], target: i32) -> Result<(f64, i32), CpuError> {
    let usage: i128 = entries.iter().map(|entry| i128::from(entry.usage)).sum();
    let request: i128 = entries.iter().map(|entry| i128::from(entry.request)).sum();
    if request <= 0 {
        return Err(CpuError::ZeroRequest);
    }
    let utilization = i32::try_from((usage.max(0) * 100) / request).unwrap_or(i32::MAX);
    Ok((f64::from(utilization) / f64::from(target.max(1)), utilization))
}

pub(super) fn within_tolerance(ratio: f64) -> bool {
    (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio)
}

/// `ceil(ratio * count)`, at most what an `i32` holds.
fn times(ratio: f64, count: usize) -> i32 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    saturate((ratio * count).ceil())
}

#[allow(clippy::cast_possible_truncation)] // saturates, and turns what is not a number into 0, which `ratio >= 0` excludes
fn saturate(value: f64) -> i32 {
    value as i32
}

// === impl Figure ===

impl Figure {
    /// The figure without a turn against its own direction: above the target never fewer than now, below it never more.
    ///
    /// A HorizontalPodAutoscaler multiplies with the pods that there are, so that a rollout's surge can ask for more at constant load
    /// and pods that are yet to come for fewer under overload. On purpose it is different here.
    pub(super) fn keep_direction(mut self, current: i32) -> Self {
        if self.ratio > 1.0 {
            self.replicas = self.replicas.max(current);
        } else if self.ratio < 1.0 {
            self.replicas = self.replicas.min(current);
        }
        self
    }
}

// === impl CpuError ===

impl CpuError {
    /// Reason for a condition or an event.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::NoPods | Self::NoUsableSample { .. } => "NoUsableSample",
            Self::NoRequest { .. } | Self::ZeroRequest => "NoCpuRequest",
        }
    }
}
