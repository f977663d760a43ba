//! The CustomResourceDefinition, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::WorkerCluster;

/// The CustomResourceDefinition of WorkerCluster.
///
/// # Errors
/// Where the types give a schema that is none, which the tests of this crate rule out.
pub fn definition() -> Result<Value, serde_json::Error> {
    let definition: CustomResourceDefinition = WorkerCluster::crd();
    let mut definition = serde_json::to_value(definition)?;
    drop_nullable(&mut definition);
    fold_lines(&mut definition);
    // Declared only so that the rule on the name can point at it; the API server knows the rest of metadata itself.
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"] =
        json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}});
    definition["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "workercluster"});
    Ok(definition)
}

/// Without `nullable` the API server drops an explicit null before it fills defaults; with it a null would reach the operator.
fn drop_nullable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
            }
            map.values_mut().for_each(drop_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        _ => {}
    }
}

/// One description, one line: the source's line breaks mean nothing to `kubectl explain`.
fn fold_lines(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace("\n\n", "\u{0}").replace('\n', " ").replace('\u{0}', "\n\n");
            }
            map.values_mut().for_each(fold_lines);
        }
        Value::Array(items) => items.iter_mut().for_each(fold_lines),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_schema() -> Value {
        definition().unwrap().pointer("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap().clone()
    }

    /// Every property of ours below `schema`, with its path; the template's are core/v1's.
    fn properties(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
        if let Some(Value::Object(map)) = schema.get("properties") {
            for (name, inner) in map {
                let path = format!("{path}.{name}");
                found.push((path.clone(), inner.clone()));
                if path != ".spec.template" {
                    properties(&path, inner, found);
                }
            }
        }
        if let Some(items) = schema.get("items") {
            properties(&format!("{path}[]"), items, found);
        }
    }

    fn ours(part: &str) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        properties(&format!(".{part}"), &spec_schema()[part], &mut found);
        found
    }

    #[test]
    fn every_property_of_ours_is_described() {
        for (path, schema) in ours("spec").into_iter().chain(ours("status")) {
            if path.starts_with(".status.conditions[]") {
                continue; // metav1.Condition, described upstream
            }
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.len() > 10, "{path} has no description");
        }
    }

    #[test]
    fn every_leaf_of_the_spec_tells_its_default() {
        for (path, schema) in ours("spec") {
            if schema.get("properties").is_some() && path != ".spec.http" {
                continue; // its fields tell theirs
            }
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.contains("efault"), "{path} does not say its default: {text}");
        }
    }

    #[test]
    fn every_number_and_list_of_the_spec_is_bounded() {
        for (path, schema) in ours("spec") {
            match schema["type"].as_str() {
                Some("integer") => {
                    assert!(schema.get("minimum").is_some() && schema.get("maximum").is_some(), "{path} has no bounds");
                }
                Some("array") => assert!(schema.get("maxItems").is_some(), "{path} has no maxItems"),
                Some("string") if schema.get("enum").is_none() => {
                    assert!(schema.get("maxLength").is_some(), "{path} has no maxLength");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_definition_fits_plain_apply() {
        let size = serde_json::to_string(&definition().unwrap()).unwrap().len();
        assert!(
            size < 200_000,
            "plain apply keeps a copy of at most 256 KiB in an annotation; the CRD has {size} bytes"
        );
    }

    #[test]
    fn quantities_of_the_template_and_nothing_else_have_their_form() {
        let schema = spec_schema();
        let container = "/spec/properties/template/properties/spec/properties/containers/items/properties";
        let at = |path: &str| schema.pointer(&format!("{container}/{path}")).unwrap().clone();
        for path in [
            "resources/properties/limits/additionalProperties",
            "env/items/properties/valueFrom/properties/resourceFieldRef/properties/divisor",
        ] {
            assert!(at(path)["pattern"].is_string(), "{path}");
        }
        let port = at("livenessProbe/properties/httpGet/properties/port");
        assert!(port.get("pattern").is_none() && port["x-kubernetes-int-or-string"] == true, "{port}");
    }

    #[test]
    fn paths_and_cookies_are_of_letters_that_a_list_and_a_header_can_have() {
        let http = spec_schema().pointer("/spec/properties/http/properties").unwrap().clone();
        let paths = http.pointer("/singleFlight/properties/paths").unwrap();
        assert_eq!((&paths["minItems"], &paths["maxItems"]), (&json!(1), &json!(32)));
        let path = &paths["items"];
        assert_eq!((&path["pattern"], &path["maxLength"]), (&json!(r"^/[!-+\--~]*$"), &json!(1024)));
        let cookie = http.pointer("/affinity/properties/cookie").unwrap();
        assert_eq!((&cookie["pattern"], &cookie["maxLength"]), (&json!("^[A-Za-z0-9_.-]{1,64}$"), &json!(64)));
        for (field, required) in [("singleFlight", "paths"), ("affinity", "cookie")] {
            assert_eq!(http[field]["required"], json!([required]));
        }
    }

    #[test]
    fn what_only_a_primary_that_takes_requests_can_do_needs_it() {
        let rules = definition().unwrap();
        let rules =
            rules.pointer("/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations").unwrap().to_string();
        for field in ["maxInFlightPerWorker", "queue", "trustForwarded", "readyPath", "singleFlight", "affinity"] {
            assert!(rules.contains(&format!("has(self.spec.http.{field})")), "{field}");
        }
    }

    #[test]
    fn the_template_keeps_unknown_fields() {
        let schema = spec_schema();
        let containers = schema.pointer("/spec/properties/template/properties/spec/properties/containers").unwrap();
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers.pointer("/items/x-kubernetes-preserve-unknown-fields"), Some(&json!(true)));
    }
}
