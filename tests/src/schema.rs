//! Changes of a spec, generated from the schema of the resource: every field set to something that it may be and to something that it may not.

use serde_json::{Map, Value, json};

/// One change of one field.
#[derive(Clone, Debug)]
pub struct Change {
    /// As `spec.template.spec.containers[0].image`.
    pub path: String,
    /// The first place on that path that the base does not have, or the path itself: all that the change adds lies there.
    pub begins: String,
    /// What is done, as `set "x"` or `remove`.
    pub what: String,
    /// The whole object with the change.
    pub object: Value,
}

/// The step of a path into a list.
const FIRST: &str = "[0]";

/// What a field is set to.
enum Set {
    To(Value),
    Removed,
}

/// All changes of `base` that the schema of its spec gives, in a fixed order.
#[must_use]
pub fn changes(schema: &Value, base: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    Walk { schema, base, found: &mut found }.go(&mut vec!["spec".to_owned()], schema);
    found
}

struct Walk<'a> {
    /// Of the spec.
    schema: &'a Value,
    base: &'a Value,
    found: &'a mut Vec<Change>,
}

impl Walk<'_> {
    fn go(&mut self, path: &mut Vec<String>, schema: &Value) {
        if path.len() > 1 {
            for set in values(path.last().map_or("", String::as_str), schema) {
                self.add(path, &set);
            }
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, inner) in properties {
                path.push(name.clone());
                self.go(path, inner);
                path.pop();
            }
            // A typo beside the fields that there are.
            path.push("notAField".into());
            self.add(path, &Set::To(json!("x")));
            path.pop();
        }
        if schema["items"].is_object() {
            path.push(FIRST.into());
            self.go(path, &schema["items"]);
            path.pop();
        }
    }

    fn add(&mut self, path: &[String], set: &Set) {
        let mut object = self.base.clone();
        let begins = 1 + put(&mut object["spec"], &path[1..], self.schema, set);
        let what = match set {
            Set::To(value) => format!("set {value}"),
            Set::Removed => "remove".into(),
        };
        let text = |path: &[String]| path.join(".").replace(".[", "[");
        self.found.push(Change { path: text(path), begins: text(&path[..begins]), what, object });
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

/// Sets the field at `path` below `place`, and makes what has to be there on the way with all that the schema requires of it.
/// Returns how many steps of the path lead to the place that was made first, or to the field.
fn put(mut place: &mut Value, path: &[String], mut schema: &Value, set: &Set) -> usize {
    let Some((field, way)) = path.split_last() else { return 0 };
    let mut begins = None;
    for (index, step) in way.iter().enumerate() {
        schema = if step == FIRST { &schema["items"] } else { &schema["properties"][step] };
        if inside(place, step).is_none() {
            begins.get_or_insert(index + 1);
            insert(place, step, sample(schema));
        }
        match inside(place, step) {
            Some(next) => place = next,
            None => return index,
        }
    }
    match set {
        Set::To(value) => insert(place, field, value.clone()),
        Set::Removed => remove(place, field),
    }
    begins.unwrap_or(path.len())
}

fn inside<'a>(place: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    if step == FIRST { place.get_mut(0) } else { place.get_mut(step) }
}

fn insert(place: &mut Value, step: &str, value: Value) {
    match (&mut *place, step) {
        (Value::Array(items), FIRST) if !items.is_empty() => items[0] = value,
        (_, FIRST) => *place = json!([value]),
        (Value::Object(fields), _) => drop(fields.insert(step.to_owned(), value)),
        _ => *place = json!({step: value}),
    }
}

fn remove(place: &mut Value, step: &str) {
    match place {
        Value::Array(items) if !items.is_empty() => drop(items.remove(0)),
        Value::Object(fields) => drop(fields.remove(step)),
        _ => {}
    }
}

/// The least that a field of this schema may be.
fn sample(schema: &Value) -> Value {
    if schema["x-kubernetes-int-or-string"] == true {
        return json!(1);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => json!(schema["minimum"].as_i64().unwrap_or(1)),
        Some("boolean") => json!(true),
        Some("string") => json!("x"),
        Some("array") => json!([sample(&schema["items"])]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), sample(&schema["properties"][name]))).collect::<Map<_, _>>().into()
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

    #[test]
    fn what_is_made_on_the_way_is_complete_and_told() {
        let schema = json!({"properties": {"list": {"type": "array", "items": {"required": ["name"],
            "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}}}});
        let all = changes(&schema, &json!({"spec": {}}));
        let sized = all.iter().find(|change| change.path == "spec.list[0].size" && change.what == "set 0").unwrap();
        assert_eq!(
            (&sized.object["spec"], sized.begins.as_str()),
            (&json!({"list": [{"name": "x", "size": 0}]}), "spec.list")
        );
        let here = changes(&schema, &json!({"spec": {"list": [{"name": "a"}]}}));
        let sized = here.iter().find(|change| change.path == "spec.list[0].size" && change.what == "set 0").unwrap();
        assert_eq!(
            (&sized.object["spec"], sized.begins.as_str()),
            (&json!({"list": [{"name": "a", "size": 0}]}), "spec.list[0].size")
        );
        let removed = all.iter().find(|change| change.path == "spec.list[0].name" && change.what == "remove").unwrap();
        assert_eq!(removed.object["spec"], json!({"list": [{}]}));
    }
}
