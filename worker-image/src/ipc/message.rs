//! What a worker says on Node's channel, parsed without trust; what it is told is in `tell`.
//!
//! Wire-identical in Node 18 to 24: JSON lines; objects whose `cmd` starts with `NODE_` are Node's own, everything
//! else is the program's and of no concern here, except `process.send('ready')`.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::broker::{Relayed, SOURCES};
use crate::gather::Metric;

/// The first worker's data for a server (TLS ticket keys: 48 bytes) is kept for the others up to this length.
const MAX_DATA: usize = 64 * 1024;

/// What a worker said, as far as it concerns the primary.
#[derive(Debug)]
pub enum FromWorker {
    /// Its cluster module is there.
    Online,
    /// It wants to listen.
    QueryServer(Box<Query>),
    /// A server of it listens.
    Listening,
    /// It closed a server.
    Close {
        /// The key that the answer to its query carried.
        key: String,
    },
    /// It is going to disconnect by itself; wants an acknowledgement.
    ExitedAfterDisconnect {
        /// The sequence number to acknowledge.
        seq: u64,
    },
    /// It takes a connection that it was handed, or does not.
    Answered {
        /// The sequence number of the connection's message.
        seq: u64,
        /// Whether it takes it.
        accepted: bool,
    },
    /// Whether the next of the descriptors that were sent to it arrived.
    Arrived(bool),
    /// It sent a handle along, which the primary drops; without an acknowledgement its next messages would wait.
    Handle,
    /// It asks what became of sockets that it sent along: Node's own sender keeps them on a list.
    AsksForSockets {
        /// The list.
        key: String,
        /// What it wants to know.
        question: Question,
    },
    /// `process.send('ready')`.
    Ready,
    /// What it measures with prom-client, as it was asked.
    Metrics {
        /// Of the question.
        id: u64,
        /// By registry; none where it could not be said.
        metrics: Vec<Vec<Metric>>,
    },
    /// The program's own message, for other workers.
    Relay(Box<Relayed>),
    /// The program's own message, or one of Node's that needs nothing.
    Other,
}

/// What a worker asks about sockets that it sent along (`lib/internal/socket_list.js` of Node).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// To be told when all are closed.
    Closed,
    /// How many are open.
    Count,
}

/// A worker wants to listen.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// The sequence number to acknowledge.
    pub seq: u64,
    /// Tells apart several servers of one worker with the same address.
    #[serde(default)]
    pub index: u64,
    /// An IP address, a path, or nothing for any address.
    #[serde(default)]
    pub address: Option<String>,
    /// The port; -1 for a path.
    #[serde(default, deserialize_with = "number")]
    pub port: Option<i64>,
    /// What kind of address.
    #[serde(default, rename = "addressType")]
    pub address_type: AddressType,
    /// A descriptor of the primary to listen on.
    #[serde(default, deserialize_with = "number")]
    pub fd: Option<i64>,
    /// libuv's flags: 1 is IPv6 only, 4 reuses an address (UDP).
    #[serde(default, deserialize_with = "number")]
    pub flags: Option<i64>,
    /// At most so many connections wait.
    #[serde(default, deserialize_with = "number")]
    pub backlog: Option<i64>,
    /// What the first worker wants to share with the others.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
}

/// A number where Node, or the program through it, wrote one; `None` for anything else (dgram's `fd` may be `false`).
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(raw.get().trim_matches('"').parse().ok())
}

/// What kind of address a worker wants to listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "RawAddressType")]
pub enum AddressType {
    /// TCP over IPv4, or any address.
    #[default]
    V4,
    /// TCP over IPv6.
    V6,
    /// A unix socket.
    Path,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawAddressType {
    Number(i64),
    Text(String),
    Nothing(()),
}

impl TryFrom<RawAddressType> for AddressType {
    type Error = String;

    fn try_from(raw: RawAddressType) -> Result<Self, String> {
        match raw {
            RawAddressType::Number(4) | RawAddressType::Nothing(()) => Ok(Self::V4),
            RawAddressType::Number(6) => Ok(Self::V6),
            RawAddressType::Number(-1) => Ok(Self::Path),
            RawAddressType::Text(text) if text == "udp4" => Ok(Self::Udp4),
            RawAddressType::Text(text) if text == "udp6" => Ok(Self::Udp6),
            RawAddressType::Number(number) => Err(format!("unknown address type {number}")),
            RawAddressType::Text(_) => Err("unknown address type".to_string()),
        }
    }
}

impl AddressType {
    /// As Node writes it in keys.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
            Self::Path => "-1",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
        }
    }

    /// Whether it is UDP.
    pub fn is_udp(self) -> bool {
        matches!(self, Self::Udp4 | Self::Udp6)
    }
}

/// A frame that no Node writes; the channel cannot be trusted any more.
#[derive(Debug, thiserror::Error)]
#[error("a broken frame: {0}")]
pub struct BrokenFrame(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    cmd: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

/// What prom-client answers.
#[derive(Deserialize)]
struct Measured {
    #[serde(rename = "requestId")]
    id: u64,
    #[serde(default)]
    metrics: Vec<Vec<Metric>>,
}

/// What the broker needs to know of a message; anything but texts is as nothing.
#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    uid: Option<Value>,
    #[serde(default, rename = "requesterUid")]
    requester_uid: Option<Value>,
}

#[derive(Deserialize)]
struct ClusterHead {
    #[serde(default)]
    act: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    ack: Option<u64>,
    #[serde(default)]
    accepted: Option<bool>,
}

/// Reads one line.
///
/// # Errors
/// When it is not what Node would write.
pub fn parse(line: &[u8]) -> Result<FromWorker, BrokenFrame> {
    if line.first() != Some(&b'{') {
        if line == br#""ready""# {
            return Ok(FromWorker::Ready);
        }
        return Ok(serde_json::from_slice::<IgnoredAny>(line).map(|_| FromWorker::Other)?);
    }
    let head: Head<'_> = serde_json::from_slice(line)?;
    Ok(match head.cmd.and_then(text).as_deref() {
        Some("NODE_CLUSTER") => parse_cluster(line)?,
        Some("NODE_HANDLE") => FromWorker::Handle,
        Some("NODE_HANDLE_ACK") => FromWorker::Arrived(true),
        Some("NODE_HANDLE_NACK") => FromWorker::Arrived(false),
        Some("NODE_SOCKET_NOTIFY_CLOSE") => parse_question(line, Question::Closed)?,
        Some("NODE_SOCKET_GET_COUNT") => parse_question(line, Question::Count)?,
        // Node takes what begins so for its own, whoever has written it.
        Some(cmd) if cmd.starts_with("NODE_") => FromWorker::Other,
        _ if head.kind.is_some_and(|kind| kind.get() == r#""prom-client:getMetricsRes""#) => {
            // The program may say anything under that name.
            match serde_json::from_slice::<Measured>(line) {
                Ok(Measured { id, metrics }) => FromWorker::Metrics { id, metrics },
                Err(_) => FromWorker::Other,
            }
        }
        _ if head.source.is_some_and(|source| SOURCES.contains(&source.get().trim_matches('"'))) => {
            parse_relayed(line)?
        }
        _ => FromWorker::Other,
    })
}

/// A text, however its letters are written; `None` for anything else.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = raw.get();
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(quoted).ok().map(Cow::Owned),
    }
}

fn parse_relayed(line: &[u8]) -> Result<FromWorker, BrokenFrame> {
    let names: Names = serde_json::from_slice(line)?;
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(ToString::to_string));
    let mut whole = Vec::with_capacity(line.len() + 1);
    whole.extend_from_slice(line);
    whole.push(b'\n');
    let (from, to) = (text(names.uid), text(names.requester_uid));
    Ok(FromWorker::Relay(Box::new(Relayed { from, to, line: whole.into() })))
}

fn parse_cluster(line: &[u8]) -> Result<FromWorker, BrokenFrame> {
    let head: ClusterHead = serde_json::from_slice(line)?;
    if let (Some(seq), Some(accepted)) = (head.ack, head.accepted) {
        return Ok(FromWorker::Answered { seq, accepted });
    }
    Ok(match (head.act.as_deref(), head.key, head.seq) {
        (Some("online"), ..) => FromWorker::Online,
        (Some("queryServer"), ..) => {
            let mut query: Box<Query> = serde_json::from_slice(line)?;
            query.data = query.data.filter(|data| data.get().len() <= MAX_DATA);
            FromWorker::QueryServer(query)
        }
        (Some("listening"), ..) => FromWorker::Listening,
        (Some("close"), Some(key), _) => FromWorker::Close { key },
        (Some("exitedAfterDisconnect"), _, Some(seq)) => FromWorker::ExitedAfterDisconnect { seq },
        _ => FromWorker::Other,
    })
}

fn parse_question(line: &[u8], question: Question) -> Result<FromWorker, BrokenFrame> {
    let head: ClusterHead = serde_json::from_slice(line)?;
    Ok(head.key.map_or(FromWorker::Other, |key| FromWorker::AsksForSockets { key, question }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_node_says_is_understood() {
        let query = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":8000,"addressType":4,"fd":-1,"flags":0,"backlog":511,"seq":2}"#;
        let Ok(FromWorker::QueryServer(query)) = parse(query.as_bytes()) else { panic!("no query") };
        assert_eq!((query.seq, query.port, query.address, query.address_type), (2, Some(8000), None, AddressType::V4));
        for (line, expected) in [
            (r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#, "Online"),
            (r#"{"cmd":"NODE_CLUSTER","act":"listening","port":8000,"seq":3}"#, "Listening"),
            (r#"{"cmd":"NODE_CLUSTER","act":"close","key":"a","seq":4}"#, "Close { key: \"a\" }"),
            (r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":5}"#, "ExitedAfterDisconnect { seq: 5 }"),
            (r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{}}"#, "Handle"),
            (r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}"#, "AsksForSockets { key: \"k\", question: Closed }"),
            (r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#, "AsksForSockets { key: \"k\", question: Count }"),
            (r#""ready""#, "Ready"),
            (r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true}"#, "Answered { seq: 1, accepted: true }"),
            (r#"{"cmd":"NODE_CLUSTER","ack":1}"#, "Other"),
            (r#"{"cmd":"NODE_HANDLE_ACK"}"#, "Arrived(true)"),
            (r#"{"cmd":"NODE_HANDLE_NACK"}"#, "Arrived(false)"),
            (r#"{"type":"process:msg","data":{"cmd":"NODE_HANDLE"}}"#, "Other"),
            (r#"{"cmd":5}"#, "Other"),
            ("[1,2]", "Other"),
        ] {
            assert_eq!(format!("{:?}", parse(line.as_bytes()).unwrap()), expected, "{line}");
        }
    }

    #[test]
    fn messages_of_known_libraries_are_for_other_workers() {
        let line = r#"{"uid":"a","nsp":"/","type":8,"requesterUid":"b","source":"_sio_adapter"}"#;
        let Ok(FromWorker::Relay(relayed)) = parse(line.as_bytes()) else { panic!("not passed on") };
        let line_and_end = [line.as_bytes(), b"\n"].concat();
        assert_eq!(
            (relayed.from.as_deref(), relayed.to.as_deref(), &relayed.line[..]),
            (Some("a"), Some("b"), &line_and_end[..])
        );
        for line in [
            r#"{"uid":"a","source":"another"}"#,
            r#"{"uid":"a","source":7}"#,
            r#"{"uid":"a","source":"_sio_adapter","cmd":"NODE_CLUSTER"}"#,
            r#"{"uid":"a","source":"_sio_adapter","cmd":"\u004eODE_SOMETHING","act":"disconnect"}"#,
        ] {
            assert!(matches!(parse(line.as_bytes()), Ok(FromWorker::Other)), "{line}");
        }
        let acknowledged = parse(br#"{"uid":"a","source":"_sio_adapter","cmd":"NODE_HANDLE_ACK"}"#);
        assert!(matches!(acknowledged, Ok(FromWorker::Arrived(true))), "{acknowledged:?}");
    }

    #[test]
    fn what_no_node_says_is_refused() {
        for line in [
            "",
            "{",
            "nonsense",
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer"}"#,
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","seq":1,"addressType":"sctp"}"#,
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_query_is_parsed_or_refused(act in "(online|queryServer|close)", port in any::<i64>(), kind in "(4|6|-1|\"udp4\"|null|\"\")", address in "(null|\"[ -~]{0,9}\")") {
            let line = format!(r#"{{"cmd":"NODE_CLUSTER","act":"{act}","seq":1,"port":{port},"addressType":{kind},"address":{address}}}"#);
            let _ = parse(line.as_bytes());
        }
    }
}
