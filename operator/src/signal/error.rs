//! Why something could not be read. Categories are few and fixed: they are labels of a metric and reasons of a condition.

use thiserror::Error;

/// Why a primary's stats could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScrapeError {
    /// A connection, and no whole answer in time.
    #[error("the primary did not answer in time")]
    Timeout,
    /// No connection.
    #[error("the primary cannot be reached: {0}")]
    Unreachable(std::io::ErrorKind),
    /// An address at which no pod can be.
    #[error("the pod's address is a loopback, link-local, multicast or unspecified address, and is not dialled")]
    ForbiddenAddress,
    /// What came back is not HTTP, or ended too soon.
    #[error("the answer broke off or is not HTTP")]
    Broken,
    /// A status other than 200. Redirects are not followed.
    #[error("the primary answered with HTTP status {0}")]
    Status(u16),
    /// A body beyond the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that is not what it should be.
    #[error("the answer is not a stats document: {0}")]
    Malformed(String),
    /// A version that this operator does not know.
    #[error("the stats document has version {0}, and this operator reads version 1")]
    Version(u32),
    /// Figures that cannot be true.
    #[error("the stats document cannot be true: {0}")]
    Implausible(&'static str),
    /// The same document again and again.
    #[error("the primary's clock stands still: it repeats an old answer")]
    Stale,
    /// Counters that go back.
    #[error("the primary's clock or counters go back or jump, as if it were another one each time")]
    Unsteady,
}

/// Why the length of a queue is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// No whole answer in time.
    #[error("Redis at {address} did not answer in time")]
    Timeout {
        /// `host:port`.
        address: String,
    },
    /// No connection.
    #[error("Redis at {address} does not answer: {cause}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the network says.
        cause: String,
    },
    /// Wrong or missing credentials, or no right to the key.
    #[error("Redis at {address} refuses the credentials ({cause}): check secretRef and the user's rights")]
    Denied {
        /// `host:port`.
        address: String,
        /// What Redis says.
        cause: String,
    },
    /// The key is of another type.
    #[error("key {key} is not a {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// There is no such stream.
    #[error("stream {key} does not exist: create it with XGROUP CREATE {key} {group} $ MKSTREAM")]
    NoStream {
        /// The stream's key.
        key: String,
        /// The group's name.
        group: String,
    },
    /// There is no such group.
    #[error("stream {key} has no consumer group {group}: create it with XGROUP CREATE {key} {group} $")]
    NoGroup {
        /// The stream's key.
        key: String,
        /// The group's name.
        group: String,
    },
    /// Redis cannot tell the lag.
    #[error(
        "Redis does not know the lag of group {group} on stream {key}, because entries were deleted or the group began in their midst; it knows again once the group has read up to the end"
    )]
    LagUnknown {
        /// The stream's key.
        key: String,
        /// The group's name.
        group: String,
    },
    /// Redis does not tell lags.
    #[error("Redis at {address} does not tell a group's lag: version 7 or later is needed")]
    TooOld {
        /// `host:port`.
        address: String,
    },
    /// Any other error of the server.
    #[error("Redis at {address} answers with an error: {cause}")]
    Refused {
        /// `host:port`.
        address: String,
        /// What Redis says.
        cause: String,
    },
    /// What came back is not what was asked for.
    #[error("Redis at {address} answers with something else than what was asked for")]
    Malformed {
        /// `host:port`.
        address: String,
    },
    /// More servers than the operator connects to.
    #[error("the operator reads from at most {limit} Redis databases at once, and there are more")]
    TooManyServers {
        /// The limit.
        limit: usize,
    },
}

// === impl ScrapeError ===

impl ScrapeError {
    /// Label of a metric, one of [`ScrapeError::CATEGORIES`].
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Broken => "broken",
            Self::Status(_) => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Version(_) => "version",
            Self::Implausible(_) => "implausible",
            Self::Stale => "stale",
            Self::Unsteady => "unsteady",
        }
    }

    /// Whether it took the whole time there was.
    #[must_use]
    pub fn hung(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable(std::io::ErrorKind::TimedOut))
    }

    /// Every category.
    pub const CATEGORIES: [&'static str; 11] = [
        "timeout",
        "unreachable",
        "forbidden_address",
        "broken",
        "status",
        "too_large",
        "malformed",
        "version",
        "implausible",
        "stale",
        "unsteady",
    ];
}

// === impl QueueError ===

impl QueueError {
    /// Label of a metric, one of [`QueueError::CATEGORIES`].
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Denied { .. } => "denied",
            Self::WrongType { .. } => "wrong_type",
            Self::NoStream { .. } => "no_stream",
            Self::NoGroup { .. } => "no_group",
            Self::LagUnknown { .. } => "lag_unknown",
            Self::TooOld { .. } => "too_old",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "malformed",
            Self::TooManyServers { .. } => "too_many_servers",
        }
    }

    /// Every category.
    pub const CATEGORIES: [&'static str; 11] = [
        "timeout",
        "unreachable",
        "denied",
        "wrong_type",
        "no_stream",
        "no_group",
        "lag_unknown",
        "too_old",
        "refused",
        "malformed",
        "too_many_servers",
    ];

    /// Whether the server did not answer at all, so that what it said a moment ago may still stand.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unreachable { .. })
    }
}
