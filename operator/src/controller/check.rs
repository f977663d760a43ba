//! Whether a pod can be built from the spec: our own rules first, then the API server's, asked once for each revision by a strict dry run.

use std::time::{Duration, Instant};

use kube::core::Status;

use super::{context::Context, observe::Seen};
use crate::{
    api::ApiError,
    build::{self, Problem, Valid, validate::Category},
};

/// What the API server said about a revision.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub revision: String,
    pub at: Instant,
    pub problems: Vec<Problem>,
}

/// A refused revision is asked about again after this time: an admission policy may have changed.
pub const RECHECK: Duration = Duration::from_secs(60);
/// The name under which a dry run asks; nothing is stored.
const PROBE: &str = "dry-run";

/// Reads the spec and, where it is new, asks the API server about its pod.
pub async fn check(context: &Context, seen: &Seen) -> Result<Valid, Vec<Problem>> {
    let spec = &seen.cluster.spec;
    let valid = build::validate(spec)?;
    let revision = build::revision(spec);
    let known = context.memory(&seen.key, |memory| memory.verdict.clone());
    let problems = match known {
        Some(known) if known.revision == revision && (known.problems.is_empty() || known.at.elapsed() < RECHECK) => {
            known.problems
        }
        _ => {
            let pod = build::pod::build(
                spec,
                &valid,
                &pod_context(context, seen, &revision),
                &format!("{}-{PROBE}", seen.name),
                0,
            );
            match context.api.create_pod(&seen.namespace, &pod, true).await {
                Ok(_) => remember(context, seen, &revision, Vec::new()),
                Err(ApiError::Answered { status, .. }) if matches!(status.code, 400 | 422) => {
                    remember(context, seen, &revision, problems(&status))
                }
                // Quota, policies and an API server that is busy say nothing about the spec: the create itself will tell.
                Err(_) => Vec::new(),
            }
        }
    };
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

/// What building a pod needs beside the spec.
pub fn pod_context<'a>(context: &'a Context, seen: &'a Seen, revision: &'a str) -> build::pod::Context<'a> {
    build::pod::Context {
        namespace: &seen.namespace,
        cluster: &seen.name,
        cluster_uid: &seen.uid,
        revision,
        primary_image: &context.settings.primary_image,
        pull_policy: context.settings.pull_policy,
    }
}

fn remember(context: &Context, seen: &Seen, revision: &str, problems: Vec<Problem>) -> Vec<Problem> {
    let verdict = Verdict { revision: revision.into(), at: Instant::now(), problems: problems.clone() };
    context.memory(&seen.key, |memory| memory.verdict = Some(verdict));
    problems
}

/// The API server's refusal of a pod, in terms of the template.
fn problems(status: &Status) -> Vec<Problem> {
    let problem = |path: String, message: String| Problem { path, message, category: Category::PodRejected };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let found: Vec<Problem> = causes
        .filter(|cause| !cause.field.is_empty())
        .take(8)
        .map(|cause| problem(template_path(&cause.field), cause.message.clone()))
        .collect();
    if !found.is_empty() {
        return found;
    }
    // A strict decoding error names its fields in quotes: unknown field "spec.containers[0].imagee"
    let unknown: Vec<Problem> = status
        .message
        .split("field \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .take(8)
        .map(|(field, _)| {
            problem(template_path(field), "is no field of a pod: check the spelling and the indentation".into())
        })
        .collect();
    if unknown.is_empty() { vec![problem("spec.template".into(), status.message.clone())] } else { unknown }
}

/// A path in the pod as a path in the WorkerCluster. Our init container stands before the user's, so that theirs count from one there.
fn template_path(field: &str) -> String {
    const INIT: &str = "spec.initContainers[";
    if let Some((index, rest)) = field.strip_prefix(INIT).and_then(|rest| rest.split_once(']'))
        && let Ok(index @ 1..) = index.parse::<usize>()
    {
        return format!("spec.template.{INIT}{}]{rest}", index - 1);
    }
    format!("spec.template.{field}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: serde_json::Value) -> Vec<(String, String)> {
        let status: Status = serde_json::from_value(status).unwrap();
        problems(&status).into_iter().map(|problem| (problem.path, problem.message)).collect()
    }

    #[test]
    fn a_refusal_with_causes_names_each_field_of_the_template() {
        let found = refused(json!({"code": 422, "message": "x", "details": {"causes": [
            {"reason": "FieldValueInvalid", "message": "must be positive", "field": "spec.containers[0].ports[0].containerPort"},
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.initContainers[1].image"}]}}));
        assert_eq!(
            found,
            [
                ("spec.template.spec.containers[0].ports[0].containerPort".into(), "must be positive".into()),
                ("spec.template.spec.initContainers[0].image".into(), "Required value".into())
            ]
        );
    }

    #[test]
    fn a_typo_is_named_with_its_path() {
        let message = r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].livenesProbe""#;
        let found = refused(json!({"code": 400, "message": message}));
        assert_eq!(found[0].0, "spec.template.spec.containers[0].livenesProbe");
    }

    #[test]
    fn a_refusal_without_a_field_keeps_its_words() {
        assert_eq!(refused(json!({"code": 400, "message": "odd"})), [("spec.template".to_owned(), "odd".to_owned())]);
    }
}
