//! Whether a pod can be built from the spec: our own rules first, then the API server's, asked once for each revision by a strict dry run.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kube::core::Status;
use serde_json::Value;

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
    /// The API server would take the pod: nothing is left to ask.
    pub accepted: bool,
}

/// A refused revision is asked about again after this time: an admission policy may have changed.
pub const RECHECK: Duration = Duration::from_secs(60);
/// The name under which a dry run asks; nothing is stored.
const PROBE: &str = "dry-run";

/// What came of the check.
#[derive(Debug)]
pub struct Checked {
    /// What pods can be built from, or what stands in the way.
    pub spec: Result<Valid, Vec<Problem>>,
    /// The API server could not be asked: whether it takes the pod is not known.
    pub unasked: Option<ApiError>,
}

/// Reads the spec and, where it is new, asks the API server about its pod.
pub async fn check(context: &Context, seen: &Seen) -> Checked {
    let mut unasked = None;
    let spec = problems_of(context, seen, &mut unasked).await;
    Checked { spec, unasked }
}

async fn problems_of(context: &Context, seen: &Seen, unasked: &mut Option<ApiError>) -> Result<Valid, Vec<Problem>> {
    let spec = &seen.cluster.spec;
    let valid = build::validate(spec)?;
    let revision = build::revision(spec);
    let known = context.memory(&seen.key, |memory| memory.verdict.clone());
    let problems = match known {
        Some(known) if known.revision == revision && (known.accepted || known.at.elapsed() < RECHECK) => known.problems,
        _ => {
            let pod = build::pod::build(
                spec,
                &valid,
                &pod_context(context, seen, &revision, &context.settings.primary_image),
                &format!("{}-{PROBE}", seen.name),
                0,
            );
            match context.api.create_pod(&seen.namespace, &pod, true).await {
                Ok(_) => remember(context, seen, &revision, Vec::new(), true),
                Err(ApiError::Answered { status, .. }) if matches!(status.code, 400 | 422) => {
                    remember(context, seen, &revision, problems(&status, &Origin::of(&pod, &valid)), false)
                }
                // Quota and policies say nothing about the spec. The create itself will tell; two questions for each attempt are too many.
                Err(ApiError::Answered { status, .. }) if status.code == 403 => {
                    remember(context, seen, &revision, Vec::new(), false)
                }
                // Neither does an API server that is busy: then nothing is known.
                Err(error) => {
                    *unasked = Some(error);
                    Vec::new()
                }
            }
        }
    };
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

/// What building a pod needs beside the spec.
pub fn pod_context<'a>(
    context: &'a Context,
    seen: &'a Seen,
    revision: &'a str,
    primary_image: &'a str,
) -> build::pod::Context<'a> {
    build::pod::Context {
        namespace: &seen.namespace,
        cluster: &seen.name,
        cluster_uid: &seen.uid,
        revision,
        primary_image,
        pull_policy: context.settings.pull_policy,
        control: seen.orders.public_key.as_deref().map(|public_key| build::pod::Control {
            public_key,
            revision: &seen.orders.fresh,
            reload: seen.orders.reload.as_ref().map(|reload| reload.id.as_str()),
        }),
    }
}

fn remember(context: &Context, seen: &Seen, revision: &str, problems: Vec<Problem>, accepted: bool) -> Vec<Problem> {
    let verdict = Verdict { revision: revision.into(), at: Instant::now(), problems: problems.clone(), accepted };
    context.memory(&seen.key, |memory| memory.verdict = Some(verdict));
    problems
}

/// Where in a built pod the user's fields have come to stand.
struct Origin {
    /// Index of the worker container.
    worker: usize,
    /// Variables of ours that stand before the user's.
    variables: usize,
}

impl Origin {
    fn of(pod: &Value, valid: &Valid) -> Self {
        let variables = |container: &Value| container["env"].as_array().map_or(0, Vec::len);
        let built = variables(&pod["spec"]["containers"][valid.worker]);
        let users = valid.pod.get("containers").map_or(0, |containers| variables(&containers[valid.worker]));
        Self { worker: valid.worker, variables: built - users }
    }

    /// A path in the pod as a path in the WorkerCluster.
    fn path(&self, field: &str) -> String {
        let env = format!("spec.containers[{}].env", self.worker);
        if let Some((0, rest)) = indexed(field, "spec.initContainers") {
            // Ours, and all that it has of the user's are the worker's resources.
            return format!("spec.template.spec.containers[{}]{rest}", self.worker);
        }
        if let Some((index, rest)) = indexed(field, "spec.initContainers") {
            return format!("spec.template.spec.initContainers[{}]{rest}", index - 1);
        }
        match indexed(field, &env) {
            Some((index, rest)) if index >= self.variables => {
                format!("spec.template.{env}[{}]{rest}", index - self.variables)
            }
            _ => format!("spec.template.{field}"),
        }
    }
}

/// The index and what follows it, of a path into `list`.
fn indexed<'a>(field: &'a str, list: &str) -> Option<(usize, &'a str)> {
    let (index, rest) = field.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

/// The API server's refusal of a pod, in terms of the template; each field once.
fn problems(status: &Status, origin: &Origin) -> Vec<Problem> {
    let problem = |path: String, message: String| Problem { path, message, category: Category::PodRejected };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes = causes
        .filter(|cause| !cause.field.is_empty())
        .map(|cause| problem(origin.path(&cause.field), cause.message.clone()));
    // A strict decoding error has no causes and names its fields in quotes: unknown field "spec.containers[0].imagee"
    let unknown = status.message.split("field \"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(field, _)| {
        problem(origin.path(field), "is no field of a pod: check the spelling and the indentation".into())
    });
    let mut found: Vec<Problem> = causes.collect();
    if found.is_empty() {
        found = unknown.collect();
    }
    let mut told = BTreeSet::new();
    found.retain(|problem| told.insert(problem.path.clone()));
    found.truncate(8);
    if found.is_empty() { vec![problem("spec.template".into(), status.message.clone())] } else { found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: serde_json::Value) -> Vec<(String, String)> {
        let status: Status = serde_json::from_value(status).unwrap();
        problems(&status, &Origin { worker: 0, variables: 10 })
            .into_iter()
            .map(|problem| (problem.path, problem.message))
            .collect()
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
    fn a_field_that_the_pod_has_elsewhere_or_twice_is_named_once_as_the_user_wrote_it() {
        let message = r#"strict decoding error: unknown field "spec.containers[0].resources.limts", unknown field "spec.initContainers[0].resources.limts""#;
        let found = refused(json!({"code": 400, "message": message}));
        assert_eq!(
            found.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            ["spec.template.spec.containers[0].resources.limts"]
        );
        let found = refused(json!({"code": 422, "message": "x", "details": {"causes": [
            {"message": "is wrong", "field": "spec.containers[0].env[11].name"}]}}));
        assert_eq!(found[0].0, "spec.template.spec.containers[0].env[1].name");
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
