//! Why a worker leaves.

use primary_protocol::Replaced;

/// Why a worker leaves although it has not died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All workers are replaced, as ordered.
    Reload,
    /// It uses more memory than it may.
    OverMemory,
    /// It has lived for as long as it may.
    OverAge,
    /// It has answered as many requests as it may.
    OverRequests,
    /// It makes no progress.
    Hung,
    /// Fewer workers are wanted.
    Surplus,
    /// Drained, as ordered.
    Drained,
    /// It was to show whether it binds the port, and did not.
    Trial,
    /// Nobody asked it: a Node worker left its cluster.
    ByItself,
    /// The replica ends.
    Stop,
}

impl Reason {
    /// Whether processes that the worker leaves behind may finish as well, until its deadline.
    pub(super) fn spares_group(self) -> bool {
        !matches!(self, Self::Hung | Self::Trial | Self::ByItself)
    }

    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::OverMemory => "over its memory limit",
            Self::OverAge => "over its age limit",
            Self::OverRequests => "over its number of requests",
            Self::Hung => "hung",
            Self::Surplus => "fewer workers are wanted",
            Self::Drained => "drained by order",
            Self::Trial => "it was to bind the port, and did not",
            Self::ByItself => "it left its cluster",
            Self::Stop => "the replica stops",
        }
    }
}

/// Counts a worker that was replaced.
pub(super) fn count(reason: Reason, replaced: &mut Replaced) {
    match reason {
        Reason::Reload => replaced.reloaded += 1,
        Reason::OverMemory => replaced.over_memory += 1,
        Reason::OverAge => replaced.over_age += 1,
        Reason::OverRequests => replaced.over_requests += 1,
        Reason::Hung => replaced.hung += 1,
        Reason::Surplus | Reason::Drained | Reason::Trial | Reason::ByItself | Reason::Stop => {}
    }
}
