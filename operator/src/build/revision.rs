//! The revision of a spec: the same for the same wishes, whatever defaults a later version adds.

use crds::{Http, WorkerClusterSpec, Workers};
use serde::Serialize;
use serde_json::{Value, json};

use crate::text::short_hash;

/// A hash of what the user wrote about pods: the template, and what in `workers` and `http` differs from the defaults. Not of the
/// primary's image: an upgrade of the operator replaces no pod.
pub fn revision(spec: &WorkerClusterSpec) -> String {
    let workers = differing(&spec.workers, &Workers::default());
    let http = spec.http.as_ref().map(|http| differing(http, &Http { port: 0, balancing: crds::Balancing::default() }));
    let wishes = json!({"template": spec.template, "workers": workers, "http": http});
    // serde_json's maps are sorted, so the text is canonical
    short_hash(&[&wishes.to_string()])
}

/// The fields of `value` that are not as in `standard`, so that a field added later with a default changes no revision.
fn differing<T: Serialize>(value: &T, standard: &T) -> Value {
    let (Ok(Value::Object(mut value)), Ok(Value::Object(standard))) =
        (serde_json::to_value(value), serde_json::to_value(standard))
    else {
        return Value::Null;
    };
    value.retain(|key, field| standard.get(key) != Some(field));
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::validate::tests::spec;

    #[test]
    fn replicas_and_autoscaling_are_no_part_of_it() {
        let mut scaled = spec();
        scaled.replicas = 7;
        assert_eq!(revision(&spec()), revision(&scaled));
    }

    #[test]
    fn the_template_the_workers_and_the_port_are() {
        let mut template = spec();
        template.template.0.insert("metadata".into(), json!({"labels": {"a": "b"}}));
        let mut workers = spec();
        workers.workers.drain_seconds = 5;
        let mut port = spec();
        port.http = Some(Http { port: 9000, balancing: crds::Balancing::Shared });
        let all = [revision(&spec()), revision(&template), revision(&workers), revision(&port)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn it_is_the_same_in_every_version_of_this_program() {
        assert_eq!(revision(&spec()), "46v4h8gfrj");
    }
}
