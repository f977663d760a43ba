//! A primary that answers with any bytes: its document, and the whole HTTP answer.

mod decisions;

pub use decisions::decisions;
use primary_protocol::Stats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use super::redis::fuzzing::replies as redis;
use super::{
    connection::{Call, Connection, LONGEST_BODY, Reply},
    error::ScrapeError,
    stats::decode,
};
use crate::fuzzing::run;

/// The body of an answer.
pub fn stats(data: &[u8]) {
    check(&decode(data));
}

/// A document that passes is a bounded one, and reads as the same when it is written; a failure is one of a known kind, in few words.
fn check(decoded: &Result<Stats, ScrapeError>) {
    match decoded {
        Ok(stats) => {
            let written = serde_json::to_vec(stats).unwrap_or_default();
            assert_eq!(decode(&written).as_ref(), Ok(stats));
            assert!(stats.workers.ready <= stats.workers.running && stats.workers.running <= 4096);
            assert!(stats.slots.len() <= 4096 && stats.listeners.len() <= 256 && stats.warnings.len() <= 8);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(ScrapeError::CATEGORIES.contains(&error.category()));
            assert!(text.len() < 1000 && !text.chars().any(char::is_control), "{text:?}");
        }
    }
}

/// Between the answers to two questions.
const NEXT: u8 = 0x1e;

/// Until whoever asks has had every chance to: the same thread works for both sides, so that turns take the place of time. One that waits for the
/// rest of an answer asks no more; the deadline of a real question ends that, and here the end of the connection.
async fn patience() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// The answers from their first bytes; the connection is asked until it ends, as a kept one is.
pub fn scrape(data: &[u8]) {
    run(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let asking = async move {
            let mut connection = Connection::over(ours).await;
            for _ in 0..4 {
                let Ok(open) = connection else { return };
                let ask = Call::get("/v1/stats");
                let Ok(Reply { status: 200, body, connection: kept }) =
                    open.call(([192, 0, 2, 1], 9180).into(), &ask).await
                else {
                    return;
                };
                assert!(body.len() <= LONGEST_BODY);
                check(&decode(&body));
                let Some(kept) = kept else { return };
                connection = Ok(kept);
            }
        };
        let answering = async move {
            let mut stream = theirs;
            for answer in data.split(|byte| *byte == NEXT) {
                // Not before the question: what comes unasked is another fault, and the first of all.
                let mut head = [0; 512];
                let asked = tokio::select! {
                    biased;
                    read = stream.read(&mut head) => matches!(read, Ok(1..)),
                    () = patience() => false,
                };
                if !asked || stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(asking, answering);
    });
}
