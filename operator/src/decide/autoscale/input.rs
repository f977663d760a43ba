//! What a decision is made from. No data is a variant, never zero.

use std::time::Duration;

use crds::{Metric as MetricSpec, QueueMetric};
use jiff::Timestamp;

/// The moment of a decision, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since the operator started, from a monotonic clock. Windows, rates and ages are reckoned with it, so that a changed
    /// wall clock scales nothing.
    pub elapsed: Duration,
    /// The wall clock, only to compare with what the API server wrote (a pod's start, a change of its readiness).
    pub wall: Timestamp,
}

/// What one decision is made from.
#[derive(Clone, Debug)]
pub struct Input {
    /// The number of replicas that is wanted now (`status.autoscaling.desiredReplicas`, else `spec.replicas`); never the number of
    /// pods, so that the surge of a rollout does not count.
    pub current: i32,
    /// `spec.autoscaling.minReplicas`.
    pub min: i32,
    /// `spec.autoscaling.maxReplicas`.
    pub max: i32,
    /// In the order of the spec.
    pub metrics: Vec<Metric>,
    /// Every pod of the WorkerCluster, also those that are ending or failed: the classes are told apart here.
    pub pods: Vec<Pod>,
    /// How fast the number may change.
    pub policy: Policy,
}

/// One metric of the spec with what is known of it.
#[derive(Clone, Debug)]
pub enum Metric {
    /// Processor time of the pods in [`Input::pods`].
    Cpu {
        /// Percent of the request.
        target_utilization: i32,
    },
    /// Requests that the pods in [`Input::pods`] have.
    Requests {
        /// Percent of the requests that a replica may have at a time.
        target_in_flight: i32,
    },
    /// The length of a queue.
    Queue {
        /// Source and key, for people.
        name: String,
        /// Items for each replica.
        target_per_replica: i64,
        /// The last reading.
        reading: Reading,
    },
}

/// The length of a queue, as last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It was read.
    Known {
        /// Items that wait, and those in flight where the source tells them.
        items: u64,
        /// Time since it was read. Beyond [`Policy::sample_max_age`] it counts as unknown.
        age: Duration,
    },
    /// It could not be read.
    Unknown {
        /// Why, and what to do, in words for the user and without figures that change by themselves.
        error: String,
    },
}

/// One pod, as far as its processor time is concerned.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, for messages.
    pub name: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The condition `Ready`; `None` while there is none.
    pub ready: Option<Ready>,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// What its worker container requests.
    pub request: CpuRequest,
    /// What its worker container uses.
    pub sample: Sample,
    /// The requests that it has.
    pub requests: Demand,
    /// What is wrong with its primary's answers, for messages.
    pub trouble: Option<String>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// The node does not answer, or the phase is not known to us.
    Unknown,
}

/// The condition `Ready` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its status.
    pub status: ReadyStatus,
    /// Its `lastTransitionTime`.
    pub last_transition: Timestamp,
}

/// Status of the condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyStatus {
    /// `"True"`.
    True,
    /// `"False"`.
    False,
    /// `"Unknown"`: counts as ready for processor time, as a HorizontalPodAutoscaler has it.
    Unknown,
}

/// Processor time that a container requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuRequest {
    /// Thousandths of a processor.
    Millicores(i64),
    /// It requests none, so that there is nothing to reckon a percentage of.
    Missing {
        /// The container's name.
        container: String,
        /// Where the user sets it, as `spec.template.spec.containers[0].resources.requests.cpu`.
        field: String,
    },
}

/// Processor time that a pod uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// It was measured.
    Known {
        /// Thousandths of a processor.
        millicores: i64,
        /// Time since its end. Beyond [`Policy::sample_max_age`] it counts as missing.
        age: Duration,
        /// How long it was measured.
        window: Duration,
    },
    /// There is none.
    Missing,
}

/// Requests that a pod has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// It tells them.
    Known {
        /// Those that wait and those that workers have, as a mean since it told them before.
        requests: f64,
        /// So many its workers may have at a time when all of them are ready.
        places: u32,
        /// One of them is ready at the moment.
        serves: bool,
        /// Time since it told. Beyond [`Policy::sample_max_age`] it counts as missing.
        age: Duration,
    },
    /// It does not.
    Missing,
}

/// How fast the number of replicas may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The number goes down only to the highest recommendation of this time.
    pub down_window: Duration,
    /// How much of the replicas may be removed in [`Policy::down_period`], in percent.
    pub down_percent: u32,
    /// See [`Policy::down_percent`].
    pub down_period: Duration,
    /// Older samples and readings count as missing.
    pub sample_max_age: Duration,
    /// Whether most nodes are lost: then the number does not go down, and what was asked for meanwhile is forgotten.
    pub nodes_lost: bool,
}

// === impl Policy ===

impl Policy {
    /// Profile `Fast`: up at once; down after a window (an operator-wide setting, 300 s by default), then 100 % in 15 s.
    #[must_use]
    pub fn fast(down_window: Duration) -> Self {
        Self {
            down_window,
            down_percent: 100,
            down_period: Duration::from_secs(15),
            // Five scrapes: one or two lost ones are ordinary, five are not. A HorizontalPodAutoscaler never looks at the age.
            sample_max_age: Duration::from_secs(5),
            nodes_lost: false,
        }
    }
}

// === impl Metric ===

impl Metric {
    /// A metric of the spec with the reading of its queue (`None` for processor time). `None` for a metric that names no source,
    /// which the schema does not admit.
    #[must_use]
    pub fn from_spec(spec: &MetricSpec, reading: Option<Reading>) -> Option<Self> {
        if let Some(requests) = &spec.requests {
            return Some(Self::Requests { target_in_flight: requests.target_in_flight_percent });
        }
        match (&spec.cpu, &spec.queue) {
            (Some(cpu), _) => Some(Self::Cpu { target_utilization: cpu.target_utilization }),
            (None, Some(queue)) => Some(Self::Queue {
                name: queue_name(queue)?,
                target_per_replica: queue.target_per_replica,
                reading: reading.unwrap_or_else(|| Reading::Unknown { error: "not read yet".into() }),
            }),
            (None, None) => None,
        }
    }
}

fn queue_name(queue: &QueueMetric) -> Option<String> {
    match (&queue.redis_list, &queue.redis_stream) {
        (Some(list), _) => Some(format!("redisList {}", list.key)),
        (None, Some(stream)) => Some(format!("redisStream {} group {}", stream.key, stream.group)),
        (None, None) => None,
    }
}
