//! Changes of a spec, generated from the schema of the resource: every field set to something that it may be and to something that it may not.

use serde_json::{Map, Value, json};

/// One change of one field.
#[derive(Clone, Debug)]
pub struct Change {
    /// As `spec.template.spec.containers[0].image`.
    pub path: String,
    /// What is done, as `set "x"` or `remove`.
    pub what: String,
    /// The whole object with the change.
    pub object: Value,
}

/// What a field is set to.
enum Set {
    To(Value),
    Removed,
}

/// All changes of `base` that the schema of its spec gives, in a fixed order.
#[must_use]
pub fn changes(schema: &Value, base: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    walk(&mut vec!["spec".to_owned()], schema, base, &mut found);
    found
}

fn walk(path: &mut Vec<String>, schema: &Value, base: &Value, found: &mut Vec<Change>) {
    if path.len() > 1 {
        for set in values(path.last().map_or("", String::as_str), schema) {
            found.push(change(path, &set, base));
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, inner) in properties {
            path.push(name.clone());
            walk(path, inner, base, found);
            path.pop();
        }
        // A typo beside the fields that there are.
        path.push("notAField".into());
        found.push(change(path, &Set::To(json!("x")), base));
        path.pop();
    }
    if schema["items"].is_object() {
        path.push("[0]".into());
        walk(path, &schema["items"], base, found);
        path.pop();
    }
}

/// Values that a field of this schema may have, and some that it may not.
fn values(name: &str, schema: &Value) -> Vec<Set> {
    let mut values = vec![Set::Removed];
    let mut to = |value: Value| values.push(Set::To(value));
    if schema["x-kubernetes-int-or-string"] == true {
        [json!(1), json!("1"), json!("50%"), json!(-1), json!("many"), json!([])].into_iter().for_each(&mut to);
        return values;
    }
    if let Some(all) = schema["enum"].as_array() {
        all.iter().cloned().for_each(&mut to);
        to(json!("NotOne"));
        return values;
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => {
            let least = schema["minimum"].as_i64().unwrap_or(0);
            let most = schema["maximum"].as_i64().unwrap_or(i64::from(i32::MAX));
            // Numbers of replicas stay small: it is the field that is tested and not the cluster.
            let high = if name.contains("eplicas") { least + 3 } else { most.min(least + 5) };
            [json!(least), json!(high), json!(least - 1), json!("x"), json!(1.5)].into_iter().for_each(&mut to);
            if schema["maximum"].is_i64() {
                to(json!(most + 1));
            }
        }
        Some("boolean") => [json!(true), json!(false), json!("x")].into_iter().for_each(&mut to),
        Some("string") => [json!("x"), json!(""), json!("Not Valid!"), json!(7)].into_iter().for_each(&mut to),
        Some("array") => [json!([]), json!("x"), json!([7])].into_iter().for_each(&mut to),
        _ => [json!({}), json!("x"), json!([])].into_iter().for_each(&mut to),
    }
    values
}

fn change(path: &[String], set: &Set, base: &Value) -> Change {
    let mut object = base.clone();
    put(&mut object, path, set);
    let what = match set {
        Set::To(value) => format!("set {value}"),
        Set::Removed => "remove".into(),
    };
    Change { path: path.join(".").replace(".[", "["), what, object }
}

/// Sets the field at `path`, and makes what has to be there on the way.
fn put(place: &mut Value, path: &[String], set: &Set) {
    let Some((first, rest)) = path.split_first() else { return };
    if first == "[0]" {
        if !place.is_array() {
            *place = json!([]);
        }
        if let Value::Array(items) = place {
            if items.is_empty() {
                items.push(Value::Object(Map::new()));
            }
            match (rest.is_empty(), set) {
                (false, _) => put(&mut items[0], rest, set),
                (true, Set::To(value)) => items[0] = value.clone(),
                (true, Set::Removed) => drop(items.remove(0)),
            }
        }
        return;
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    if let Value::Object(fields) = place {
        match (rest.is_empty(), set) {
            (false, _) => put(fields.entry(first.clone()).or_insert(Value::Null), rest, set),
            (true, Set::To(value)) => drop(fields.insert(first.clone(), value.clone())),
            (true, Set::Removed) => drop(fields.remove(first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_set_removed_and_misspelt() {
        let schema = json!({"properties": {"replicas": {"type": "integer", "minimum": 0, "maximum": 9},
            "list": {"type": "array", "items": {"properties": {"name": {"type": "string"}}}}}});
        let all = changes(&schema, &json!({"spec": {"replicas": 2}}));
        let of = |path: &str| all.iter().filter(|change| change.path == path).collect::<Vec<_>>();
        assert!(of("spec.replicas").iter().any(|change| change.what == "remove" && change.object["spec"] == json!({})));
        assert!(of("spec.replicas").iter().any(|change| change.object["spec"]["replicas"] == json!(-1)));
        assert!(of("spec.list[0].name").iter().any(|change| change.object["spec"]["list"][0]["name"] == json!("x")));
        assert_eq!(of("spec.list[0].notAField").len(), 1);
    }
}
