//! What a Redis server's answers say. Pure.

use redis::{RedisError, RedisResult, Value};

use super::super::{
    error::QueueError,
    reading::QueueLength,
    target::{Endpoint, Query},
};

/// Longest part of a server's own words that is passed on.
const LONGEST_CAUSE: usize = 200;

/// The lengths in the order of the questions: an answer for each list, two for each stream.
pub(super) fn lengths(
    endpoint: &Endpoint,
    queries: &[Query],
    values: Vec<RedisResult<Value>>,
) -> Vec<Result<QueueLength, QueueError>> {
    let mut values = values.into_iter();
    let mut next = |query: &Query| match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(query_error(endpoint, query, &error)),
        None => Err(malformed(endpoint)),
    };
    let answers = queries.iter().map(|query| match query {
        Query::List { .. } => list_length(endpoint, &next(query)?),
        Query::Stream { key, group } => {
            let (groups, stream) = (next(query), next(query));
            stream_length(endpoint, key, group, &groups?, &stream?)
        }
    });
    answers.collect()
}

/// A server's own words, no longer than a status should carry.
pub(super) fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_CAUSE).collect()
}

/// An error of the server that is not about one key.
pub(super) fn refused(endpoint: &Endpoint, error: &RedisError) -> QueueError {
    let address = endpoint.address.to_string();
    let cause = bounded(&[error.code(), error.detail()].map(Option::unwrap_or_default).join(" "));
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => QueueError::Denied { address, cause },
        _ => QueueError::Refused { address, cause },
    }
}

fn query_error(endpoint: &Endpoint, query: &Query, error: &RedisError) -> QueueError {
    match (error.code(), query) {
        (Some("WRONGTYPE"), Query::List { key }) => QueueError::WrongType { key: key.to_string(), expected: "list" },
        (Some("WRONGTYPE"), Query::Stream { key, .. }) => {
            QueueError::WrongType { key: key.to_string(), expected: "stream" }
        }
        (Some("ERR"), Query::Stream { key, group })
            if error.detail().is_some_and(|words| words.contains("no such key")) =>
        {
            QueueError::NoStream { key: key.to_string(), group: group.to_string() }
        }
        _ => refused(endpoint, error),
    }
}

fn list_length(endpoint: &Endpoint, value: &Value) -> Result<QueueLength, QueueError> {
    let waiting = count(value).ok_or_else(|| malformed(endpoint))?;
    Ok(QueueLength { waiting, in_flight: 0 })
}

/// Entries that no consumer of a group got, and those that one got and did not acknowledge, from `XINFO GROUPS` and the
/// `XINFO STREAM` after it.
///
/// A `NULL` lag is no lag of 0: Redis says it where entries ahead of the group were deleted. Two things are certain all the same: a
/// group that got the last entry waits for none, and never do more wait than there are. The first also puts right what Redis
/// before 7.2 says for ever of a group that has passed a deleted entry.
fn stream_length(
    endpoint: &Endpoint,
    key: &str,
    group: &str,
    groups: &Value,
    stream: &Value,
) -> Result<QueueLength, QueueError> {
    let Value::Array(groups) = groups else { return Err(malformed(endpoint)) };
    let named = |entry: &&Value| field(entry, "name").is_some_and(|name| text(name) == Some(group.as_bytes()));
    let (key, group) = (key.to_owned(), group.to_owned());
    let Some(entry) = groups.iter().find(named) else { return Err(QueueError::NoGroup { key, group }) };
    let figures = || {
        let in_flight = field(entry, "pending").and_then(count)?;
        let at_end = entry_id(field(entry, "last-delivered-id")?)? >= entry_id(field(stream, "last-generated-id")?)?;
        Some((in_flight, at_end, field(stream, "length").and_then(count)?))
    };
    let (in_flight, at_end, entries) = figures().ok_or_else(|| malformed(endpoint))?;
    if at_end || entries == 0 {
        return Ok(QueueLength { waiting: 0, in_flight });
    }
    match field(entry, "lag") {
        None => Err(QueueError::TooOld { address: endpoint.address.to_string() }),
        Some(Value::Nil) => Err(QueueError::LagUnknown { key, group }),
        Some(lag) => {
            let waiting = count(lag).ok_or_else(|| malformed(endpoint))?.min(entries);
            Ok(QueueLength { waiting, in_flight })
        }
    }
}

/// An entry's id, `milliseconds-sequence`, in its order.
fn entry_id(value: &Value) -> Option<(u64, u64)> {
    let (milliseconds, sequence) = std::str::from_utf8(text(value)?).ok()?.split_once('-')?;
    Some((milliseconds.parse().ok()?, sequence.parse().ok()?))
}

fn field<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Array(parts) = entry else { return None };
    let (pairs, _) = parts.as_chunks::<2>();
    pairs.iter().find(|[key, _]| text(key) == Some(name.as_bytes())).map(|[_, value]| value)
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn malformed(endpoint: &Endpoint) -> QueueError {
    QueueError::Malformed { address: endpoint.address.to_string() }
}

#[cfg(test)]
mod tests;
