//! Events, those that say the same counted together, the latest last.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

/// What happened, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub warning: bool,
    pub reason: String,
    pub message: String,
    pub count: i64,
    /// When it last happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// The last `most` things that happened to the object with this UID.
pub fn rows(events: &[Event], uid: &str, most: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for event in events.iter().filter(|event| event.involved_object.uid.as_deref() == Some(uid)) {
        let new = row(event);
        let same =
            |row: &&mut Row| (row.warning, &row.reason, &row.message) == (new.warning, &new.reason, &new.message);
        match rows.iter_mut().find(same) {
            Some(row) => {
                row.count = row.count.saturating_add(new.count);
                row.last = row.last.max(new.last);
            }
            None => rows.push(new),
        }
    }
    rows.sort_by_key(|row| row.last);
    rows.split_off(rows.len().saturating_sub(most))
}

fn row(event: &Event) -> Row {
    let series = event.series.as_ref();
    let times = [
        series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    Row {
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        count: i64::from(series.and_then(|series| series.count).or(event.count).unwrap_or(1)).max(1),
        last: times.into_iter().flatten().next(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, second: i64, more: Value) -> Event {
        let mut event = json!({
            "metadata": {}, "involvedObject": {"uid": "u"}, "reason": reason, "message": "text", "type": "Warning",
            "eventTime": format!("2026-01-01T00:00:{second:02}.000000Z")
        });
        crate::cluster::tests::merge(&mut event, more);
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn what_says_the_same_is_counted_together_and_the_latest_is_last() {
        let events = [
            event("B", 30, json!({})),
            event("A", 50, json!({"series": {"count": 4, "lastObservedTime": "2026-01-01T00:00:50.000000Z"}})),
            event("B", 10, json!({})),
            event("Other", 59, json!({"involvedObject": {"uid": "x"}})),
        ];
        let brief = |most| -> Vec<(String, i64)> {
            rows(&events, "u", most).into_iter().map(|row| (row.reason, row.count)).collect()
        };
        assert_eq!(brief(10), [("B".to_owned(), 2), ("A".to_owned(), 4)]);
        assert_eq!(brief(1), [("A".to_owned(), 4)]);
    }
}
