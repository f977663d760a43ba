//! Tells a primary what is wanted of it, over the connection on which it was just asked: a nonce first, then the signed order. What it
//! answers are stats like any other.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use hyper::Method;
use primary_protocol::{
    Stats,
    remote::{CONFIG_PATH, NONCE_HEADER, NONCE_PATH, Nonce, POD_HEADER, SIGNATURE_HEADER, Wanted},
};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    connection::{self, Call, Connection},
    error::ScrapeError,
};
use crate::{leader::Pass, remote::Signer};

/// Longest nonce that is believed; a primary's has some eighty letters.
const LONGEST_NONCE: usize = 512;
/// So much of a primary's words of refusal is passed on.
const LONGEST_WORDS: usize = 512;

/// What is wanted of a pod's primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name; a primary that has carried it out says so.
    pub revision: Arc<str>,
    /// As it is sent.
    pub body: Bytes,
}

/// Who may tell primaries something, and for how long.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Signs.
    pub signer: Signer,
    /// The right to write in this term: what is ordered is a write.
    pub pass: Pass,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The primary cannot do what is wanted: the same words are of no use.
    #[error("{0}")]
    Refused(String),
    /// The primary does not take it for this operator's.
    #[error("{0}")]
    Distrusted(String),
    /// It could not be told.
    #[error("it could not be told: {0}")]
    Failed(#[from] ScrapeError),
    /// Another operator leads.
    #[error("this operator does not lead any more")]
    Fenced,
}

// === impl OrderError ===

impl OrderError {
    /// Every category.
    pub(super) const CATEGORIES: [&'static str; 4] = ["refused", "distrusted", "failed", "fenced"];

    /// The label in the metrics.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Distrusted(_) => "distrusted",
            Self::Failed(_) => "failed",
            Self::Fenced => "fenced",
        }
    }
}

// === impl Order ===

impl Order {
    /// The order to want this.
    #[must_use]
    pub fn new(wanted: &Wanted) -> Self {
        // Strings, numbers and booleans: there is no error.
        Self { revision: wanted.revision.as_str().into(), body: serde_json::to_vec(wanted).unwrap_or_default().into() }
    }

    /// Whether the primary with these stats has still to be told: it takes orders, and its last one was another.
    #[must_use]
    pub fn is_news_to(&self, stats: &Stats) -> bool {
        stats.told.as_ref().is_some_and(|told| told.revision != *self.revision)
    }
}

/// Tells it. Gives the body of the answer, and the connection if it can be used again.
pub(super) async fn tell(
    order: &Order,
    pod_uid: &str,
    voice: &Voice,
    address: SocketAddr,
    kept: Option<Connection>,
    deadline: Instant,
) -> Result<(Bytes, Option<Connection>), OrderError> {
    let asked = connection::call(address, kept, &Call::get(NONCE_PATH), deadline).await?;
    if asked.status != 200 {
        return Err(OrderError::Failed(ScrapeError::Status(asked.status)));
    }
    let nonce = nonce(&asked.body)?;
    let signature = voice.signer.sign(pod_uid, &nonce, &order.body);
    let call = Call {
        method: Method::PUT,
        path: CONFIG_PATH,
        headers: vec![(POD_HEADER, pod_uid.to_owned()), (NONCE_HEADER, nonce), (SIGNATURE_HEADER, signature)],
        body: order.body.clone(),
    };
    if voice.pass.permit().is_err() {
        return Err(OrderError::Fenced);
    }
    let told = connection::call(address, asked.connection, &call, deadline).await?;
    match told.status {
        200 => Ok((told.body, told.connection)),
        403 => Err(OrderError::Distrusted(words(&told.body))),
        409 => Err(OrderError::Refused(words(&told.body))),
        status => Err(OrderError::Failed(ScrapeError::Status(status))),
    }
}

/// Whoever owns the pod may answer anything: what goes into a header is short, and of letters that a header may have.
fn nonce(body: &[u8]) -> Result<String, ScrapeError> {
    let nonce = serde_json::from_slice::<Nonce>(body).map(|nonce| nonce.nonce);
    let good = |nonce: &String| {
        !nonce.is_empty() && nonce.len() <= LONGEST_NONCE && nonce.bytes().all(|byte| byte.is_ascii_graphic())
    };
    nonce.ok().filter(good).ok_or_else(|| ScrapeError::Malformed("not a nonce".into()))
}

/// What a primary says, as it may be shown.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..LONGEST_WORDS.min(body.len())).unwrap_or_default());
    let line: String = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if line.is_empty() { "refused without a word".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_into_a_header_is_a_nonce() {
        assert_eq!(nonce(br#"{"nonce": "1.2.ab"}"#).unwrap(), "1.2.ab");
        let long = format!(r#"{{"nonce": "{}"}}"#, "a".repeat(LONGEST_NONCE + 1));
        for body in ["", "{}", r#"{"nonce": ""}"#, r#"{"nonce": "a\r\nb: c"}"#, r#"{"nonce": "é"}"#, long.as_str()] {
            assert!(nonce(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_one_short_line() {
        assert_eq!(words(b"workers.recycle: give\na size\n"), "workers.recycle: give a size");
        assert_eq!(words(b""), "refused without a word");
        assert!(words(&[b'x'; 10_000]).len() <= LONGEST_WORDS);
    }

    #[test]
    fn a_primary_is_told_what_it_was_not_told_last() {
        let order = Order::new(&Wanted { revision: "b".into(), ..Wanted::default() });
        let stats = |told: &str| -> Stats {
            let document = crate::signal::tests::document_with(told);
            serde_json::from_str(&document).unwrap()
        };
        assert!(order.is_news_to(&stats(r#""told":{"revision":"a"}"#)));
        assert!(!order.is_news_to(&stats(r#""told":{"revision":"b"}"#)));
        assert!(!order.is_news_to(&stats(r#""drained":false"#)), "one of an older version takes no orders");
    }
}
