//! The operator's settings, read once from flags and environment before anything is started.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Parser, ValueEnum};

/// Operator for WorkerCluster: turns each one into pods, replaces what fails and chooses the number of replicas.
#[derive(Clone, Debug, Parser)]
#[command(name = "operator", version, about, max_term_width = 120)]
pub struct Config {
    /// Image of the primary that is put into each new pod
    #[arg(long, env = "WORKERCLUSTER_PRIMARY_IMAGE", value_name = "IMAGE")]
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
    #[arg(long, env = "WORKERCLUSTER_LEASE_NAME", value_name = "NAME", default_value = "workercluster-operator")]
    pub lease_name: String,

    /// Namespace of that Lease
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    pub pod_namespace: String,

    /// Name under which this operator holds the Lease; without it one that nobody else has
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

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
