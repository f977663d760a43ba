//! How the operator tells a running primary what it wants: `PUT /v1/config` on the admin port, with a [`Wanted`] as its body,
//! signed with Ed25519. What it wants is told as a whole, so that telling it twice changes nothing; [`crate::Stats::told`]
//! says what a primary was told last.
//!
//! Three headers go with it: the pod's UID, a nonce that this primary gave for this one use (`GET /v1/nonce`), and the signature
//! over [`signed_text`]. No clock is compared: a nonce is as old as the primary's own clock says.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a [`Wanted`] is put.
pub const CONFIG_PATH: &str = "/v1/config";

/// Where a nonce is got: [`Nonce`].
pub const NONCE_PATH: &str = "/v1/nonce";

/// The header with the UID of the pod that is meant.
pub const POD_HEADER: &str = "workercluster-pod";

/// The header with the nonce.
pub const NONCE_HEADER: &str = "workercluster-nonce";

/// The header with the signature: 64 bytes, in hexadecimal.
pub const SIGNATURE_HEADER: &str = "workercluster-signature";

/// The body of a `PUT /v1/config` is never longer.
pub const WANTED_MAX: usize = 16 * 1024;

/// What is signed. It begins with words that nothing else of ours is signed with, and every part before the body is on a line
/// of its own.
#[must_use]
pub fn signed_text(pod_uid: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("workercluster remote 1\nPUT {CONFIG_PATH}\n{pod_uid}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text
}

/// The answer of `GET /v1/nonce`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// For one signed order, and not for long.
    pub nonce: String,
}

/// All that is wanted of a running primary. Fields that a primary does not know are refused, so that nobody believes in a setting
/// that is not in force; what is as by default is left out for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Names what is wanted: the same for the same, another for anything else. At most 64 letters.
    pub revision: String,
    /// The settings that can change while workers run, as in `spec.workers`.
    #[serde(default, skip_serializing_if = "LiveWorkers::is_default")]
    pub workers: LiveWorkers,
    /// Whether the replica is to be not ready, and to serve on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drained: bool,
    /// The last reload that was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<WantedReload>,
    /// The replicas that serve, where they help each other (`balancing: Queue`). They come and go, and are no part of what `revision` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
}

/// Never more peers than this are told to one primary.
pub const PEERS_MAX: usize = 64;

/// The replicas that serve at the moment, itself among them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peers {
    /// Names this list: another for any other. At most 64 letters.
    pub revision: String,
    /// All of them, or where there are more than [`PEERS_MAX`] the part of them that this one belongs to; by id.
    pub members: Vec<Peer>,
    /// How many replicas served when this part changed last, also where not all are told.
    pub all: u32,
}

/// A replica that takes requests of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// The pod's UID.
    pub id: String,
    /// Where it serves.
    pub address: SocketAddr,
    /// It is to serve nobody new: it may ask others, and gets of them who comes back to one of its workers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaving: bool,
}

/// A reload: carried out once for each id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedReload {
    /// Names the reload. At most 64 letters.
    pub id: String,
    /// How many workers at a time; at least 1.
    pub at_once: u32,
}

/// What of `spec.workers` changes without a new pod. A field that is missing has its default, whatever was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LiveWorkers {
    /// A number, or `Auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<LiveCount>,
    /// Bounds between which the number follows the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<LiveAdaptive>,
    /// Delays of repeated forks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<LiveRestart>,
    /// When a worker counts as hung.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang: Option<LiveHang>,
    /// When a worker gives way to a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recycle: Option<LiveRecycle>,
}

/// A number of workers, or the word `Auto`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LiveCount {
    /// So many.
    Number(u32),
    /// `Auto`.
    Word(String),
}

/// Bounds of a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LiveAdaptive {
    /// Never fewer; at least 1.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

/// Delays of repeated forks, where they are not as by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LiveRestart {
    /// Milliseconds before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_milliseconds: Option<u64>,
    /// Seconds at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u64>,
    /// A worker that lived for so many seconds makes earlier failures forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_after_seconds: Option<u64>,
}

/// When a worker counts as hung.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LiveHang {
    /// After so many seconds without a sign of life, or without progress with work in flight. Never, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// The signal that it gets before it is killed, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// When a worker gives way to a fresh one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LiveRecycle {
    /// Above so much memory, as in `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// After so many requests; needs `balancing: Queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// At this age, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

impl LiveWorkers {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a primary was told last, and has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// [`Wanted::revision`], or what it was started with.
    pub revision: String,
    /// The reload that was ordered last, or that it was started after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<String>,
    /// [`Peers::revision`] of the replicas that it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<String>,
    /// Milliseconds since it was told them. It forgets them after [`PEERS_LEASE`], and is told again after [`PEERS_FRESH`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_age_milliseconds: Option<u64>,
}

/// A list of peers that is not told again within this time counts no more: an address may be another pod's by then.
pub const PEERS_LEASE: Duration = Duration::from_secs(60);

/// A list of peers that is older is told again.
pub const PEERS_FRESH: Duration = Duration::from_secs(20);

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Exactly so many bytes of hexadecimal; `None` for anything else.
#[must_use]
pub fn unhex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let digits = text.as_bytes();
    let mut bytes = [0_u8; LENGTH];
    if digits.len() != 2 * LENGTH {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = (value(pair.first()?)? << 4) | value(pair.get(1)?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways_and_nothing_else_is_taken() {
        assert_eq!(hex(&[0, 1, 0xab, 0xff]), "0001abff");
        assert_eq!(unhex("0001abFF"), Some([0, 1, 0xab, 0xff]));
        for text in ["", "0", "0001abf", "0001abff00", "0001abfg", "+1-1abff", "é01abff"] {
            assert_eq!(unhex::<4>(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_as_by_default_is_left_out_and_what_is_unknown_is_refused() {
        let wanted = Wanted { revision: "r".into(), ..Wanted::default() };
        assert_eq!(serde_json::to_string(&wanted).unwrap(), r#"{"revision":"r"}"#);
        let newer = r#"{"revision":"r","workers":{"recycle":{"cows":5}}}"#;
        let error = serde_json::from_str::<Wanted>(newer).unwrap_err().to_string();
        assert!(error.contains("cows"), "{error}");
        let given = r#"{"revision":"r","workers":{"count":3,"adaptive":{"min":1,"max":2}},"drained":true,"reload":{"id":"a","atOnce":2}}"#;
        let wanted: Wanted = serde_json::from_str(given).unwrap();
        assert_eq!(serde_json::to_string(&wanted).unwrap(), given);
        assert_eq!(wanted.workers.count, Some(LiveCount::Number(3)));
    }

    #[test]
    fn what_is_signed_cannot_be_read_in_another_way() {
        assert_ne!(signed_text("a", "b", b"c"), signed_text("a", "b\nc", b""));
        assert_eq!(signed_text("a", "b", b"{}"), b"workercluster remote 1\nPUT /v1/config\na\nb\n{}");
    }
}
