//! Answers from a list that was taken earlier.

use serde_json::Value;

/// The list with only what the label selector of `query` selects.
pub fn select(list: &Value, query: &str) -> Value {
    let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")).map(decoded);
    let mut list = list.clone();
    let (kind, version) = (list["kind"].as_str().unwrap_or_default().to_owned(), list["apiVersion"].clone());
    if let Some(items) = list["items"].as_array_mut() {
        items.retain(|item| selector.as_deref().is_none_or(|selector| selects(selector, item)));
        for item in items {
            item["kind"] = kind.trim_end_matches("List").into();
            item["apiVersion"] = version.clone();
        }
    }
    list
}

/// The object of that name.
pub fn named(list: &Value, name: &str) -> Option<Value> {
    let all = select(list, "");
    all["items"].as_array()?.iter().find(|item| item["metadata"]["name"] == name).cloned()
}

/// `key` or `key=value`, several by commas: what the operator asks for.
fn selects(selector: &str, item: &Value) -> bool {
    let labels = &item["metadata"]["labels"];
    selector.split(',').all(|term| match term.split_once('=') {
        Some((key, value)) => labels[key] == value.trim_start_matches('='),
        None => !labels[term].is_null(),
    })
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        out.push(match byte {
            b'%' => digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok()).unwrap_or(b'?'),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_old_list_answers_selectors_as_the_api_server_does() {
        let item = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        let list = json!({"kind": "PodList", "apiVersion": "v1", "items": [
            item("a", json!({"x.dev/name": "web"})), item("b", json!({"x.dev/name": "api"})), item("c", json!({}))
        ]});
        let names = |query: &str| -> Vec<String> {
            let selected = select(&list, query);
            selected["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names("labelSelector=x.dev%2Fname&limit=500"), ["a", "b"]);
        assert_eq!(names("limit=500&labelSelector=x.dev%2Fname%3Dapi"), ["b"]);
        assert_eq!(names("limit=500"), ["a", "b", "c"]);
        assert_eq!(named(&list, "c").unwrap()["kind"], "Pod");
        assert_eq!(named(&list, "d"), None);
    }
}
