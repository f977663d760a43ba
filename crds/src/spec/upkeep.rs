//! The parts of `spec.workers` about workers that run: how many, and which of them give way to fresh ones.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds of a number of workers that follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.min <= self.max").message("min must not be more than max"))]
pub struct Adaptive {
    /// Never fewer workers. No default.
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    // the API server knows no format of 16 bits, and warns of it
    pub min: u16,
    /// Never more workers. No default.
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    // the API server knows no format of 16 bits, and warns of it
    pub max: u16,
}

/// When a worker gives way to a fresh one. Several limits may be set; the first that is reached counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recycle {
    /// Above so much memory of its own (PSS: what it shares with others counts by its part), as in `256Mi`, at least 1Mi. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = "^[1-9][0-9]{0,14}(k|M|G|Ki|Mi|Gi)?$"))]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('1Mi')) >= 0").message("must be at least 1Mi"))]
    pub memory: Option<String>,
    /// At this age in seconds, less up to a tenth of it, so that workers of one age do not all go at once. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub age_seconds: Option<i64>,
    /// After so many requests, less up to a tenth of them; needs `http.balancing: Queue`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: Option<i64>,
}

/// When a worker counts as hung. It is killed then, with the work that it has.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hang {
    /// After so many seconds without `WATCHDOG=1` (`sd_notify`) of a worker that has begun to send it, or, of any other, without using the
    /// processor and without reading or writing a byte while work waits for it: unread bytes, a connection, and with `balancing: Queue` any request
    /// that it has. No default.
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: i64,
    /// The signal that it gets first, so that it can leave a trace of where it hangs; SIGKILL follows after 5 seconds. Default SIGABRT.
    #[serde(default)]
    pub signal: HangSignal,
}

/// A signal that ends a program, and lets it leave a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema, Serialize, Deserialize)]
#[allow(missing_docs)] // told in the field that has it
pub enum HangSignal {
    #[default]
    SIGABRT,
    SIGQUIT,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
}

// === impl HangSignal ===

impl HangSignal {
    /// As `kill -l` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SIGABRT => "SIGABRT",
            Self::SIGQUIT => "SIGQUIT",
            Self::SIGTERM => "SIGTERM",
            Self::SIGUSR1 => "SIGUSR1",
            Self::SIGUSR2 => "SIGUSR2",
        }
    }
}
