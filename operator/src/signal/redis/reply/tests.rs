//! What a Redis server's answers say, without a server.

use redis::Value;

use super::{bounded, lengths};
use crate::signal::{
    error::QueueError,
    reading::QueueLength,
    target::{Endpoint, Query},
};

fn endpoint() -> Endpoint {
    Endpoint { address: "redis:6379".into(), database: 0, password: None }
}

fn list() -> Query {
    Query::List { key: "jobs".into() }
}

fn stream() -> Query {
    Query::Stream { key: "events".into(), group: "workers".into() }
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn fields(fields: &[(&str, Value)]) -> Value {
    Value::Array(fields.iter().flat_map(|(name, value)| [text(name), value.clone()]).collect())
}

/// The answer to `XINFO GROUPS`: the group `workers` after another one, having got the entry 5-0.
fn groups(pending: Value, lag: Option<Value>) -> Value {
    let mut workers = vec![("name", text("workers")), ("pending", pending), ("last-delivered-id", text("5-0"))];
    workers.extend(lag.map(|lag| ("lag", lag)));
    Value::Array(vec![fields(&[("name", text("other"))]), fields(&workers)])
}

/// The answer to `XINFO STREAM`.
fn stream_with(length: i64, last: &str) -> Value {
    fields(&[("length", Value::Int(length)), ("last-generated-id", text(last))])
}

#[allow(clippy::unnecessary_wraps)] // so that the rows of a table are of one type
fn known(waiting: u64, in_flight: u64) -> Result<QueueLength, QueueError> {
    Ok(QueueLength { waiting, in_flight })
}

#[allow(clippy::unnecessary_wraps)]
fn is_malformed() -> Result<QueueLength, QueueError> {
    Err(QueueError::Malformed { address: "redis:6379".into() })
}

#[test]
fn the_length_of_a_list_is_a_number_that_is_not_negative() {
    let rows = [
        (Value::Int(12), known(12, 0)),
        (Value::Int(-1), is_malformed()),
        (Value::Nil, is_malformed()),
        (text("12"), is_malformed()),
    ];
    for (value, expected) in rows {
        assert_eq!(lengths(&endpoint(), &[list()], vec![Ok(value.clone())]), [expected], "{value:?}");
    }
}

#[test]
fn a_groups_demand_is_known_where_redis_knows_it_or_it_follows() {
    let (key, group) = ("events".to_owned(), "workers".to_owned());
    let unknown = || Err(QueueError::LagUnknown { key: key.clone(), group: group.clone() });
    let no_group = Err(QueueError::NoGroup { key: key.clone(), group: group.clone() });
    let too_old = Err(QueueError::TooOld { address: "redis:6379".into() });
    let (three, lag) = (Value::Int(3), |lag| Some(Value::Int(lag)));
    let rows = [
        (groups(three.clone(), lag(4)), stream_with(9, "9-0"), known(4, 3)),
        (groups(three.clone(), Some(Value::Nil)), stream_with(9, "9-0"), unknown()), // NULL is not 0
        (groups(three.clone(), Some(Value::Nil)), stream_with(9, "5-0"), known(0, 3)), // it got the last entry
        (groups(three.clone(), Some(Value::Nil)), stream_with(9, "5-1"), unknown()), // all but the last
        (groups(three.clone(), Some(Value::Nil)), stream_with(0, "9-0"), known(0, 3)), // there is nothing to get
        (groups(three.clone(), lag(1)), stream_with(9, "5-0"), known(0, 3)),         // Redis 7.0 after a deleted entry
        (groups(three.clone(), lag(40)), stream_with(9, "9-0"), known(9, 3)),        // not more than there are
        (groups(three.clone(), lag(-4)), stream_with(9, "9-0"), is_malformed()),
        (groups(Value::Nil, lag(4)), stream_with(9, "9-0"), is_malformed()),
        (groups(three.clone(), lag(4)), stream_with(-1, "9-0"), is_malformed()),
        (groups(three.clone(), lag(4)), stream_with(9, "nonsense"), is_malformed()),
        (groups(three.clone(), None), stream_with(9, "9-0"), too_old),
        (Value::Array(vec![]), stream_with(9, "9-0"), no_group.clone()),
        (Value::Array(vec![Value::Array(vec![text("name")])]), stream_with(9, "9-0"), no_group),
        (Value::Int(3), stream_with(9, "9-0"), is_malformed()),
        (groups(three, lag(4)), Value::Nil, is_malformed()),
    ];
    for (number, (groups, info, expected)) in rows.into_iter().enumerate() {
        assert_eq!(lengths(&endpoint(), &[stream()], vec![Ok(groups), Ok(info)]), [expected], "row {}", number + 1);
    }
}

#[test]
fn each_question_takes_its_own_answers() {
    let values = vec![Ok(Value::Int(1)), Ok(groups(Value::Int(0), None)), Ok(stream_with(1, "5-0")), Ok(Value::Int(2))];
    assert_eq!(lengths(&endpoint(), &[list(), stream(), list()], values), [known(1, 0), known(0, 0), known(2, 0)]);
}

#[test]
fn a_question_without_an_answer_is_unknown() {
    let lengths = lengths(&endpoint(), &[list(), stream()], vec![Ok(Value::Int(1))]);
    assert!(lengths[0].is_ok());
    assert!(matches!(lengths[1], Err(QueueError::Malformed { .. })), "{lengths:?}");
}

#[test]
fn lag_and_pending_add_up_without_overflow() {
    let length = QueueLength { waiting: u64::MAX, in_flight: 1 };
    assert_eq!(length.items(), u64::MAX);
}

#[test]
fn a_servers_words_are_short_and_on_one_line() {
    assert_eq!(bounded("ERR a\r\nb"), "ERR ab");
    assert_eq!(bounded(&"x".repeat(10_000)).len(), 200);
}
