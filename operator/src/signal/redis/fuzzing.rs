//! A Redis server that answers with any bytes.

use super::{Connection, Lengths, MOST_BYTES, failure, reply};
use crate::{
    fuzzing::{Knobs, run},
    signal::{
        error::QueueError,
        target::{Endpoint, Query},
    },
};

/// What a server answers to the client's greeting (CLIENT SETINFO, twice).
const GREETED: &[u8] = b"+OK\r\n+OK\r\n";

/// Every second input begins where the server has been greeted, so that the answers to the questions are reached.
pub fn replies(data: &[u8]) {
    let mut knobs = Knobs::new(data);
    let greeted = knobs.byte().is_multiple_of(2);
    let bytes = [if greeted { GREETED } else { &[] }, knobs.rest()].concat();
    let endpoint = Endpoint { address: "redis:6379".into(), database: 0, password: None };
    let stream = |key: &str, group: &str| Query::Stream { key: key.into(), group: group.into() };
    let queries = [Query::List { key: "jobs".into() }, stream("events", "workers"), stream("events", "others")];
    match run(conversation(&endpoint, &queries, &bytes)) {
        Ok(lengths) => {
            assert_eq!(lengths.len(), queries.len());
            for length in lengths {
                match length {
                    Ok(length) => assert!(length.items() >= length.waiting),
                    Err(error) => check(&error),
                }
            }
        }
        Err(error) => check(&error),
    }
}

async fn conversation(endpoint: &Endpoint, queries: &[Query], bytes: &[u8]) -> Result<Lengths, QueueError> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let asking = async move {
        let mut connection = Connection::over(ours, endpoint).await?;
        let values = connection.ask(queries).await.map_err(|error| failure(endpoint, &error))?;
        assert!(values.len() <= 2 * queries.len());
        Ok(reply::lengths(endpoint, queries, values))
    };
    tokio::join!(asking, decoders::exchange(theirs, bytes)).0
}

/// A failure of a known kind, in words that a status can carry.
fn check(error: &QueueError) {
    let text = error.to_string();
    assert!(QueueError::CATEGORIES.contains(&error.category()));
    assert!(text.len() < 2000 && !text.chars().any(char::is_control), "{text:?}");
    const { assert!(MOST_BYTES <= 4 << 20) };
}
