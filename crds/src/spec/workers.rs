//! `spec.workers`: the processes in each pod and how they are kept.

#![allow(missing_docs)] // variants are told in the field that has them: text on a variant would turn the schema's enum into a oneOf

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::upkeep::{Adaptive, Hang, Recycle};

/// The workers (processes) in each pod.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workers {
    /// Workers in each pod: a number from 1 to 1024, or `Auto`: the container's processor limit as the kernel enforces it,
    /// rounded up, else its processor request, else 1. Live: a change reaches the pods that run, and restarts none. Default Auto.
    pub count: WorkerCount,
    /// What shows that a worker is ready. `Auto`: Node's `listening` message, or `READY=1` (`sd_notify`), or, where neither comes,
    /// being alive for `startupSeconds`. `Listening`: only a listening socket. `Notify`: only `READY=1` or `process.send('ready')`.
    /// `Http`: a good answer to a request for `http.readyPath`; needs `http.balancing: Queue`. `Immediate`: being forked. Default Auto.
    pub ready: Ready,
    /// Seconds, from 0 to 86400, after which a worker that is alive counts as ready, where `ready: Auto` finds nothing better. For a program that takes
    /// its time: a fresh worker that is to take another's place has ten times as long to get ready, and 30 at the least. Default 1.
    #[schemars(range(min = 0, max = 86400))]
    pub startup_seconds: i64,
    /// Bounds between which the number of workers follows the load: more while connections or requests wait or the workers that are there are busy,
    /// fewer after a while in which that was not so. In place of `count`. Live. Default: none, `count` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// How a worker that ended is replaced. Live.
    pub restart: Restart,
    /// When a worker gives way to a fresh one, which is ready before the old one is asked to leave. Live. Default: only where the container's
    /// memory is nearly used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recycle: Option<Recycle>,
    /// When a worker counts as hung, and is killed and replaced. Live. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang: Option<Hang>,
    /// Seconds that a worker may take to finish its work when it is asked to stop; then it is killed. Also the greater part of the pod's
    /// termination grace period. Default 30.
    #[schemars(range(min = 0, max = 86400))]
    pub drain_seconds: i64,
    /// Send a Node worker the message `shutdown` before it is asked to stop, as PM2 does with `shutdown_with_message`; not with `ipc: None`.
    /// Default false.
    pub shutdown_message: bool,
    /// The channel between primary and workers. `Auto`: Node's own where the command is Node. `Node`: always. `None`: never. Default Auto.
    pub ipc: Ipc,
    /// What Node workers measure themselves and `/metrics` on port 9180 gives as one, as Node's cluster aggregation does. `PromClient`: what they
    /// register with prom-client, in a program that makes an `AggregatorRegistry`; not with `ipc: None`. `None`: nothing. Default None.
    pub metrics: WorkerMetrics,
}

// === impl Workers ===

impl Default for Workers {
    fn default() -> Self {
        Self {
            count: WorkerCount::Auto,
            adaptive: None,
            ready: Ready::Auto,
            // Enough for a program that ends at once because of a mistake to have ended.
            startup_seconds: 1,
            restart: Restart::default(),
            recycle: None,
            hang: None,
            // Kubernetes' own grace period and gunicorn's graceful timeout.
            drain_seconds: 30,
            shutdown_message: false,
            ipc: Ipc::Auto,
            metrics: WorkerMetrics::None,
        }
    }
}

/// The fields of `spec.workers` that reach pods that run. They are no part of a revision: their change replaces no pod, and a revision that comes
/// back leaves them as they are.
pub const LIVE_FIELDS: [&str; 5] = ["count", "adaptive", "restart", "recycle", "hang"];

/// How many workers each pod has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerCount {
    /// As many as the container has processors.
    #[default]
    Auto,
    /// This many.
    Fixed(u16),
}

/// The most workers that one pod can have; bounds the primary's memory.
pub const MAX_WORKERS: u16 = 1024;

// === impl WorkerCount ===

impl Serialize for WorkerCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("Auto"),
            Self::Fixed(count) => serializer.serialize_u16(*count),
        }
    }
}

impl<'de> Deserialize<'de> for WorkerCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum IntOrString {
            Int(i64),
            String(String),
        }
        match IntOrString::deserialize(deserializer)? {
            IntOrString::String(auto) if auto == "Auto" => Ok(Self::Auto),
            IntOrString::Int(count) => match u16::try_from(count) {
                Ok(count @ 1..=MAX_WORKERS) => Ok(Self::Fixed(count)),
                _ => Err(D::Error::custom(format!(
                    "workers.count is {count}; it must be from 1 to {MAX_WORKERS}, or Auto"
                ))),
            },
            IntOrString::String(other) => Err(D::Error::custom(format!(
                "workers.count is \"{other}\"; it must be from 1 to {MAX_WORKERS}, or Auto"
            ))),
        }
    }
}

impl JsonSchema for WorkerCount {
    fn schema_name() -> Cow<'static, str> {
        "WorkerCount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 1 && self <= 1024 : self == 'Auto'",
                "message": "must be a number of workers from 1 to 1024, or Auto"
            }]
        })
    }
}

/// What shows that a worker is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Ready {
    #[default]
    Auto,
    Listening,
    Notify,
    Immediate,
    Http,
}

/// The channel between primary and workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Ipc {
    #[default]
    Auto,
    Node,
    None,
}

/// What Node workers measure themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum WorkerMetrics {
    #[default]
    None,
    PromClient,
}

/// How a worker that ended is replaced. One that was ready for a second or more is replaced at once; the delay counts only deaths before that.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
// Here and not at the root: what is stored already, and breaks it, can still have its status written (a rule is forgiven where its own part is unchanged).
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.initialMilliseconds <= self.maxSeconds * 1000",
    "message": "initialMilliseconds must not be more than maxSeconds: lower the first or raise the second"
}]))]
pub struct Restart {
    /// Milliseconds before the first repeated fork; each further one waits 1.5 times as long. Default 100.
    #[schemars(range(min = 1, max = 60000))]
    pub initial_milliseconds: i64,
    /// Seconds that a repeated fork waits at the most. Default 15.
    #[schemars(range(min = 1, max = 3600))]
    pub max_seconds: i64,
    /// Seconds that a worker must live for the delay to begin again at `initialMilliseconds`. Default 30.
    #[schemars(range(min = 1, max = 86400))]
    pub reset_after_seconds: i64,
}

// === impl Restart ===

impl Default for Restart {
    /// PM2's figures: 100 ms, times 1.5 up to 15 s, again from the start after 30 s.
    fn default() -> Self {
        Self { initial_milliseconds: 100, max_seconds: 15, reset_after_seconds: 30 }
    }
}
