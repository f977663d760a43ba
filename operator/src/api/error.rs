//! Why a call to the API server gave no answer that helps, and what may be done about it.

use std::time::Duration;

use kube::core::Status;

use crate::leader::fence::Closed;

/// Why a call gave no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{verb} {resource}: no answer within {} s", deadline.as_secs_f32())]
    Deadline { verb: &'static str, resource: &'static str, deadline: Duration },
    #[error(transparent)]
    Fenced(#[from] Closed),
    /// The API server answered with an error.
    #[error("{verb} {resource}: {}", status.message)]
    Answered { verb: &'static str, resource: &'static str, status: Box<Status> },
    #[error("{verb} {resource}: {message}")]
    Transport { verb: &'static str, resource: &'static str, message: String },
}

// === impl ApiError ===

impl ApiError {
    /// The HTTP code, where the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether the write may have been done all the same.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::Transport { .. } => true,
            Self::Answered { status, .. } => status.code >= 500,
            Self::Fenced(_) => false,
        }
    }

    /// Whether the API server has refused what was written, and will do so again.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 422))
    }

    /// Whether nothing can be created because the namespace is being deleted.
    pub fn is_namespace_ending(&self) -> bool {
        let Self::Answered { status, .. } = self else { return false };
        status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// How long the API server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { status, .. } => {
                let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                // Priority and fairness says it in a header only, which kube drops: its usual word is one second.
                let least = u32::from(status.code == 429);
                let seconds = asked.clamp(least, 60);
                (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
            }
            _ => None,
        }
    }

    /// Label of metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Fenced(_) => "fenced",
            Self::Answered { .. } => "answered",
            Self::Transport { .. } => "transport",
        }
    }
}
