//! The operator's settings, read once from flags and environment before anything is started.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Parser, ValueEnum, builder::NonEmptyStringValueParser};

use crate::{
    api::{Limit, Limits},
    leader::Timing,
};

/// A name or image that is there: an empty variable is a mistake of a manifest, and would be found out much later.
fn filled() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}

/// Operator for WorkerCluster: turns each one into pods, replaces what fails and chooses the number of replicas.
#[derive(Clone, Debug, Parser)]
#[command(name = "operator", version, about, max_term_width = 120)]
pub struct Config {
    /// Image of the primary that is put into each new pod
    #[arg(long, env = "WORKERCLUSTER_PRIMARY_IMAGE", value_name = "IMAGE", value_parser = filled())]
    pub primary_image: String,

    /// When the kubelet pulls that image
    #[arg(
        long,
        env = "WORKERCLUSTER_PRIMARY_IMAGE_PULL_POLICY",
        value_name = "POLICY",
        default_value = "IfNotPresent"
    )]
    pub primary_image_pull_policy: PullPolicy,

    /// Namespaces to work in, separated by commas; without it all of them
    #[arg(long, env = "WORKERCLUSTER_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Where /livez, /readyz and /metrics answer
    #[arg(long, env = "WORKERCLUSTER_LISTEN", value_name = "ADDRESS:PORT", default_value = "[::]:8080")]
    pub listen: SocketAddr,

    /// Name of the Lease that lets one operator work at a time
    #[arg(long, env = "WORKERCLUSTER_LEASE_NAME", value_name = "NAME", default_value = "workercluster-operator", value_parser = filled())]
    pub lease_name: String,

    /// Namespace of that Lease
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "default", value_parser = filled())]
    pub pod_namespace: String,

    /// Name of the Secret beside it with the key that orders to primaries are signed with; without such a Secret none are given
    #[arg(long, env = "WORKERCLUSTER_CONTROL_KEY_NAME", value_name = "NAME", default_value = "workercluster-operator-control-key", value_parser = filled())]
    pub control_key_name: String,

    /// Name under which this operator holds the Lease; without it one that nobody else has
    #[arg(long, env = "POD_NAME", value_name = "NAME", value_parser = filled())]
    pub pod_name: Option<String>,

    /// Seconds for which another operator respects this one's Lease without a renewal
    #[arg(long, env = "WORKERCLUSTER_LEASE_DURATION_SECONDS", value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub lease_duration_seconds: u64,

    /// Milliseconds after the last renewal at which this operator stops writing; shorter than the Lease's duration
    #[arg(long, env = "WORKERCLUSTER_LEASE_RENEW_DEADLINE_MILLISECONDS", value_name = "MILLISECONDS",
          default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    pub lease_renew_deadline_milliseconds: u64,

    /// Milliseconds from one attempt to hold or renew the Lease to the next
    #[arg(long, env = "WORKERCLUSTER_LEASE_RETRY_MILLISECONDS", value_name = "MILLISECONDS", default_value_t = 2000,
          value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub lease_retry_milliseconds: u64,

    /// Writes a second to the API server, in the long run
    #[arg(long, env = "WORKERCLUSTER_WRITE_QPS", value_name = "NUMBER", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub write_qps: u32,

    /// Writes to the API server at once
    #[arg(long, env = "WORKERCLUSTER_WRITE_BURST", value_name = "NUMBER", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub write_burst: u32,

    /// Reads a second from the API server, in the long run; watches are not counted
    #[arg(long, env = "WORKERCLUSTER_READ_QPS", value_name = "NUMBER", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub read_qps: u32,

    /// Reads from the API server at once
    #[arg(long, env = "WORKERCLUSTER_READ_BURST", value_name = "NUMBER", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub read_burst: u32,

    /// Seconds for which the highest recommendation counts before replicas are taken away
    #[arg(long, env = "WORKERCLUSTER_DOWNSCALE_STABILIZATION_SECONDS", value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub downscale_stabilization_seconds: u64,

    /// What to log, as `info` or `operator=debug,kube=warn`
    #[arg(long, env = "WORKERCLUSTER_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// How to log
    #[arg(long, env = "WORKERCLUSTER_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// When the kubelet pulls an image, as in core/v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

// === impl Config ===

impl Config {
    /// For how long the highest recommendation counts.
    pub fn downscale_stabilization(&self) -> Duration {
        Duration::from_secs(self.downscale_stabilization_seconds)
    }

    /// How the Lease is held.
    pub fn timing(&self) -> Timing {
        Timing {
            duration: Duration::from_secs(self.lease_duration_seconds),
            renew_deadline: Duration::from_millis(self.lease_renew_deadline_milliseconds),
            retry: Duration::from_millis(self.lease_retry_milliseconds),
        }
    }

    /// The limits on calls to the API server.
    pub fn limits(&self) -> Limits {
        Limits {
            reads: Limit::new(self.read_qps, self.read_burst),
            writes: Limit::new(self.write_qps, self.write_burst),
        }
    }

    /// The name under which this operator holds the Lease: two that shared one would both lead.
    pub fn identity(&self) -> String {
        self.pod_name.clone().unwrap_or_else(|| {
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            format!("operator-{}-{started:x}", std::process::id())
        })
    }

    /// The namespaces to watch; `None` is all of them.
    pub fn watched(&self) -> Vec<Option<String>> {
        let mut namespaces: Vec<_> =
            self.namespaces.iter().filter(|name| !name.is_empty()).cloned().map(Some).collect();
        if namespaces.is_empty() {
            namespaces.push(None);
        }
        namespaces
    }
}

// === impl PullPolicy ===

impl PullPolicy {
    /// The word of core/v1.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_empty_is_refused_with_its_flag() {
        let good = ["operator", "--primary-image", "a/b:1"];
        assert!(!Config::try_parse_from(good).unwrap().identity().is_empty());
        for flag in ["--primary-image", "--lease-name", "--pod-namespace", "--pod-name"] {
            let first = if flag == "--primary-image" { &good[..1] } else { &good };
            let words = first.iter().copied().chain([flag, ""]);
            let message = Config::try_parse_from(words).unwrap_err().to_string();
            assert!(message.contains(flag), "{flag}: {message}");
        }
    }
}
