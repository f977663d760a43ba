//! The pod template: typed in the schema, raw JSON in the operator.
//!
//! The schema is the typed one of core/v1 without descriptions (with them plain `kubectl apply` refuses the CRD for its size) and keeps unknown
//! fields everywhere: a newer cluster's fields pass through, and a typo is not pruned in silence but found by the dry run of the built pod.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A core/v1 `PodTemplateSpec` as the user wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplate(pub Map<String, Value>);

/// Lists of the pod spec that merge by key under server-side apply, as in core/v1. Only those whose key is required and unique there.
const LISTS_BY_KEY: [(&str, &str); 3] = [("containers", "name"), ("initContainers", "name"), ("volumes", "name")];

/// What Kubernetes takes for a quantity (apimachinery's `ParseQuantity`), so that `memory: 256MB` is refused with its path. The API server says
/// of a pod with such a thing only that it cannot be handled.
const QUANTITY: &str = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// The only fields of a pod that are a name or a number; what else may be a number or text is a quantity.
const PORT: &str = "port";

// === impl PodTemplate ===

impl PodTemplate {
    /// The value at `path` below the template, where every step exists.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(key))
    }
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<PodTemplateSpec>().to_value();
        loosen("", &mut schema);
        if let Some(metadata) = schema.pointer_mut("/properties/metadata") {
            // What a template's metadata is for; the rest of ObjectMeta means nothing there.
            *metadata = json!({
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}}
                }
            });
        }
        if let Some(spec) = schema.pointer_mut("/properties/spec/properties") {
            for (list, key) in LISTS_BY_KEY {
                if let Some(Value::Object(list)) = spec.get_mut(list) {
                    list.insert("x-kubernetes-list-type".into(), json!("map"));
                    list.insert("x-kubernetes-list-map-keys".into(), json!([key]));
                }
            }
        }
        if let Value::Object(root) = &mut schema {
            root.insert("required".into(), json!(["spec"]));
        }
        Schema::try_from(schema).unwrap_or_default()
    }
}

/// Makes the generated schema of a field structural and small: no descriptions, titles or references, open objects, int-or-string where core/v1
/// has it.
fn loosen(field: &str, schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for key in ["description", "title", "$schema", "nullable", "default", "components", "definitions", "$defs"] {
        map.remove(key);
    }
    // core/v1's format int-or-string is its Quantity and IntOrString.
    if map.get("format").and_then(Value::as_str) == Some("int-or-string")
        || map.contains_key("x-kubernetes-int-or-string")
    {
        map.retain(|_, _| false);
        map.insert("x-kubernetes-int-or-string".into(), json!(true));
        if field != PORT {
            map.insert("pattern".into(), json!(QUANTITY));
        }
        return;
    }
    if map.contains_key("properties") {
        map.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
        if let Some(Value::Object(properties)) = map.get_mut("properties") {
            properties.iter_mut().for_each(|(name, inner)| loosen(name, inner));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            loosen(field, inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the fields below `schema`, a field's own, that refer to the type `name`.
    fn referring<'a>(field: &'a str, schema: &'a Value, name: &str, found: &mut Vec<&'a str>) {
        match schema {
            Value::Object(map) => {
                for (key, inner) in map {
                    if key == "$ref" && inner.as_str().is_some_and(|text| text.ends_with(name)) {
                        found.push(field);
                    }
                    let container =
                        ["properties", "items", "additionalProperties", "allOf", "anyOf"].contains(&key.as_str());
                    referring(if container { field } else { key }, inner, name, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| referring(field, inner, name, found)),
            _ => {}
        }
    }

    #[test]
    fn every_name_or_number_of_a_pod_is_a_port_and_no_quantity_is() {
        let schema = SchemaSettings::openapi3().into_generator().into_root_schema_for::<PodTemplateSpec>().to_value();
        let of = |name: &str| {
            let mut found = Vec::new();
            referring("", &schema, name, &mut found);
            found
        };
        let (ports, quantities) = (of("util.intstr.IntOrString"), of("api.resource.Quantity"));
        assert!(ports.len() >= 2 && ports.iter().all(|field| *field == PORT), "{ports:?}");
        assert!(quantities.len() >= 5 && quantities.iter().all(|field| *field != PORT), "{quantities:?}");
    }
}
