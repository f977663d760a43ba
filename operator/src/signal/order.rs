//! Tells a primary what is wanted of it, over the connection on which it was just asked: a nonce first, then the signed order. What it
//! answers are stats like any other.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::Method;
use primary_protocol::{
    Stats, Told,
    remote::{CONFIG_PATH, NONCE_HEADER, NONCE_PATH, Nonce, PEERS_FRESH, POD_HEADER, SIGNATURE_HEADER, Wanted},
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
    /// The name of the settings in it; a primary that goes by them says so.
    pub revision: Arc<str>,
    /// The name of the list of peers in it, where there is one; a primary that knows them says so.
    pub peers: Option<Arc<str>>,
    /// As it is sent.
    pub body: Bytes,
    /// A primary that goes by settings of these names is not told yet.
    spared: Arc<[String]>,
}

/// How an order differs from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// By nothing that a primary would have to be told.
    Nothing,
    /// Only by whom it knows.
    Peers,
    /// By its settings.
    Settings,
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
        Self {
            revision: wanted.revision.as_str().into(),
            peers: wanted.peers.as_ref().map(|peers| peers.revision.as_str().into()),
            // Strings, numbers, addresses and booleans: there is no error.
            body: serde_json::to_vec(wanted).unwrap_or_default().into(),
            spared: Arc::default(),
        }
    }

    /// The same order, with which a primary that goes by settings of these names is left alone.
    #[must_use]
    pub fn sparing(self, names: Arc<[String]>) -> Self {
        Self { spared: names, ..self }
    }

    /// Whether the primary with these stats is to be told now.
    #[must_use]
    pub fn is_for(&self, stats: &Stats) -> bool {
        let spares = stats.told.as_ref().is_some_and(|told| self.spared.contains(&told.revision));
        !spares && self.is_news_to(stats)
    }

    /// Whether the primary with these stats has still to be told: it takes orders, and goes by other settings, knows other peers, or is about to forget them.
    #[must_use]
    pub fn is_news_to(&self, stats: &Stats) -> bool {
        let is_fresh =
            |told: &Told| told.peers_age_milliseconds.is_none_or(|age| Duration::from_millis(age) < PEERS_FRESH);
        let knows =
            |told: &Told| self.peers.is_none() || (told.peers.as_deref() == self.peers.as_deref() && is_fresh(told));
        self.has_settings_new_to(stats) || stats.told.as_ref().is_some_and(|told| !knows(told))
    }

    /// Whether that primary goes by other settings. Whom it knows changes with every replica that comes or goes, and is no setting.
    #[must_use]
    pub fn has_settings_new_to(&self, stats: &Stats) -> bool {
        stats.told.as_ref().is_some_and(|told| told.revision != *self.revision)
    }

    /// How it differs from `before`.
    pub(super) fn change_from(&self, before: &Self) -> Change {
        if self.revision != before.revision {
            Change::Settings
        } else if self.peers == before.peers {
            Change::Nothing
        } else {
            Change::Peers
        }
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
    use primary_protocol::remote::{PEERS_MAX, Peer, Peers, WANTED_MAX};

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

    fn order(revision: &str, peers: Option<&str>) -> Order {
        let peers = peers.map(|revision| Peers { revision: revision.into(), ..Peers::default() });
        Order::new(&Wanted { revision: revision.into(), peers, ..Wanted::default() })
    }

    #[test]
    fn a_primary_is_told_what_it_was_not_told_last() {
        let stats = |told: &str| -> Stats {
            let document = crate::signal::tests::document_with(told);
            serde_json::from_str(&document).unwrap()
        };
        let (plain, with_peers) = (order("b", None), order("b", Some("p")));
        for (told, to_plain, to_peers, settings) in [
            (r#""told":{"revision":"a"}"#, true, true, true),
            (r#""told":{"revision":"b"}"#, false, true, false),
            (r#""told":{"revision":"b","peers":"o"}"#, false, true, false), // who is not to know any keeps what it knows
            (r#""told":{"revision":"b","peers":"p"}"#, false, false, false),
            (r#""told":{"revision":"b","peers":"p","peersAgeMilliseconds":19999}"#, false, false, false),
            (r#""told":{"revision":"b","peers":"p","peersAgeMilliseconds":20000}"#, false, true, false), // else it forgets them
            (r#""told":{"revision":"a","peers":"p"}"#, true, true, true),
            (r#""drained":false"#, false, false, false), // one of an older version takes no orders
        ] {
            let stats = stats(told);
            assert_eq!((plain.is_news_to(&stats), with_peers.is_news_to(&stats)), (to_plain, to_peers), "{told}");
            for order in [&plain, &with_peers] {
                assert_eq!(order.has_settings_new_to(&stats), settings, "{told}");
            }
        }
    }

    #[test]
    fn another_list_is_another_matter_than_other_settings() {
        for (before, after, change) in [
            (order("a", None), order("a", None), Change::Nothing),
            (order("a", Some("p")), order("a", Some("q")), Change::Peers),
            (order("a", None), order("a", Some("p")), Change::Peers),
            (order("a", Some("p")), order("b", Some("q")), Change::Settings),
        ] {
            assert_eq!(after.change_from(&before), change, "{before:?}");
        }
    }

    #[test]
    fn the_longest_list_fits_into_an_order() {
        let address = (std::net::Ipv6Addr::from(u128::MAX), u16::MAX).into();
        let peer =
            |number: usize| Peer { id: format!("{number:08}-aaaa-bbbb-cccc-0123456789ab"), address, leaving: true };
        let members = (0..PEERS_MAX).map(peer).collect();
        let peers = Some(Peers { revision: "p".repeat(64), members, all: u32::MAX });
        let order = Order::new(&Wanted { revision: "r".repeat(64), peers, ..Wanted::default() });
        assert!(order.body.len() < WANTED_MAX / 2, "{}", order.body.len());
    }
}
