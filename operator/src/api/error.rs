//! Why a call to the API server gave no answer that helps, and what may be done about it.

use std::time::Duration;

use kube::core::Status;

use super::{fenced, upstream};
use crate::{leader::fence::Closed, text};

/// Why a call gave no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{verb} {resource}: no answer within {} s", deadline.as_secs_f32())]
    Deadline { verb: &'static str, resource: &'static str, deadline: Duration, writes: bool },
    #[error(transparent)]
    Fenced(#[from] Closed),
    /// The API server answered with an error.
    #[error("{verb} {resource}: {}", status.message)]
    Answered { verb: &'static str, resource: &'static str, status: Box<Status>, writes: bool },
    /// `sent`: a byte of the request may have arrived.
    #[error("{verb} {resource}: {message}")]
    Transport { verb: &'static str, resource: &'static str, message: String, writes: bool, sent: bool },
}

/// What may be done about an error. Whatever it is, the next look at the cluster decides: nothing is repeated blindly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing was done; the same may work in a moment.
    Retryable,
    /// The object is not as it was thought to be.
    Conflict,
    /// A write whose outcome is not known: it may be done all the same.
    Doubtful,
    /// Refused for what it is: the same fails again until something else changes.
    Refused,
    /// Somebody else leads.
    Fenced,
}

// === impl ApiError ===

impl ApiError {
    /// What kube says, with what is known of the call.
    pub fn of(verb: &'static str, resource: &'static str, writes: bool, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Answered { verb, resource, status, writes },
            error if fenced::is_closed(&error) => Self::Fenced(Closed),
            error => {
                let sent = !upstream::never_sent(&error);
                let message = text::causes(&error);
                Self::Transport { verb, resource, message, writes, sent }
            }
        }
    }

    /// What may be done about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Fenced(_) => Class::Fenced,
            Self::Deadline { writes, .. } | Self::Transport { writes, sent: true, .. } if *writes => Class::Doubtful,
            Self::Deadline { .. } | Self::Transport { .. } => Class::Retryable,
            Self::Answered { status, writes, .. } => match status.code {
                409 => Class::Conflict,
                // etcd's own doubts (a change of its leader, a time-out after commit) come as 500, 503 or 504.
                500.. if *writes => Class::Doubtful,
                // Priority and fairness turns a call away before anything is done.
                429 | 500.. => Class::Retryable,
                _ => Class::Refused,
            },
        }
    }

    /// The HTTP code, where the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether the write may have been done all the same.
    pub fn is_doubtful(&self) -> bool {
        self.class() == Class::Doubtful
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
                // `api::answer` has put the header in. Without either, one second is what priority and fairness usually says.
                let least = u32::from(status.code == 429);
                let seconds = asked.clamp(least, 60);
                (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
            }
            _ => None,
        }
    }

    /// Label of metrics and word of logs.
    pub fn category(&self) -> &'static str {
        match self.class() {
            Class::Retryable => "retryable",
            Class::Conflict => "conflict",
            Class::Doubtful => "doubtful",
            Class::Refused => "refused",
            Class::Fenced => "fenced",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(code: u16, writes: bool) -> ApiError {
        let status = Status { code, ..Status::default() };
        ApiError::Answered { verb: "create", resource: "pods", status: Box::new(status), writes }
    }

    fn broken(writes: bool, sent: bool) -> ApiError {
        ApiError::Transport { verb: "create", resource: "pods", message: String::new(), writes, sent }
    }

    #[test]
    fn only_a_write_that_may_have_arrived_is_doubtful() {
        assert_eq!(broken(true, true).class(), Class::Doubtful);
        assert_eq!(broken(true, false).class(), Class::Retryable);
        assert_eq!(broken(false, true).class(), Class::Retryable);
        let late = |writes| ApiError::Deadline { verb: "get", resource: "pods", deadline: Duration::ZERO, writes };
        assert_eq!(late(true).class(), Class::Doubtful);
        assert_eq!(late(false).class(), Class::Retryable);
    }

    #[test]
    fn answers_are_classed_by_their_code() {
        let class = |code, writes| answered(code, writes).class();
        for code in [500, 503, 504] {
            assert_eq!((class(code, true), class(code, false)), (Class::Doubtful, Class::Retryable));
        }
        assert_eq!((class(409, true), class(429, true)), (Class::Conflict, Class::Retryable));
        for code in [400, 403, 404, 422] {
            assert_eq!(class(code, true), Class::Refused);
        }
        assert_eq!(ApiError::Fenced(Closed).class(), Class::Fenced);
    }

    #[test]
    fn what_the_api_server_asked_for_is_waited_for_up_to_a_minute() {
        assert_eq!(answered(429, true).retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(answered(503, true).retry_after(), None);
        for (asked, waited) in [(7, 7), (3600, 60)] {
            let status = json!({"status": "Failure", "code": 503, "details": {"retryAfterSeconds": asked}});
            let status = Box::new(serde_json::from_value(status).unwrap());
            let error = ApiError::Answered { verb: "create", resource: "pods", status, writes: true };
            assert_eq!(error.retry_after(), Some(Duration::from_secs(waited)));
        }
    }
}
