//! Refusals of a pod in any words.

use super::{Origin, problems};
use crate::api::{ApiError, fuzzing::answer};

/// Whatever the API server answers, it is understood or an error; what it refuses is told with a path in the template.
pub fn answers(data: &[u8]) {
    let Err(ApiError::Answered { status, .. }) = answer(data) else { return };
    for origin in [Origin { worker: 0, variables: 10 }, Origin { worker: 3, variables: 0 }] {
        let problems = problems(&status, &origin);
        assert!((1..=8).contains(&problems.len()));
        assert!(problems.iter().all(|problem| problem.path.starts_with("spec.template")), "{problems:?}");
    }
}
