//! What the primary says on Node's channel: each a line as Node's own primary, or PM2, or prom-client writes it.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::value::RawValue;

use super::message::Question;

/// Says that of the sockets on that list none is open: the primary closes what it is sent.
pub fn no_sockets(question: Question, key: &str) -> Vec<u8> {
    match question {
        Question::Closed => line(&serde_json::json!({"cmd": "NODE_SOCKET_ALL_CLOSED", "key": key})),
        Question::Count => line(&serde_json::json!({"cmd": "NODE_SOCKET_COUNT", "key": key, "count": 0})),
    }
}

/// Asks a worker for what it measures, as prom-client's own branch of the primary does.
pub fn metrics_request(id: u64) -> Vec<u8> {
    line(&serde_json::json!({"type": "prom-client:getMetricsReq", "requestId": id}))
}

/// What PM2 sends a program under `shutdown_with_message`.
pub fn shutdown() -> Vec<u8> {
    line(&"shutdown")
}

/// Asks a worker to close its servers and then the channel.
pub fn disconnect() -> Vec<u8> {
    line(&serde_json::json!({"cmd": "NODE_CLUSTER", "act": "disconnect", "seq": 0}))
}

/// Acknowledges a message that needs nothing else.
pub fn acknowledge(seq: u64) -> Vec<u8> {
    line(&serde_json::json!({"cmd": "NODE_CLUSTER", "ack": seq}))
}

/// Answers a handle: it arrived, or it did not.
pub fn handle_answer(arrived: bool) -> Vec<u8> {
    line(&serde_json::json!({"cmd": if arrived { "NODE_HANDLE_ACK" } else { "NODE_HANDLE_NACK" }}))
}

/// Hands over the connection that goes along.
pub fn new_connection(key: &str, seq: u64) -> Vec<u8> {
    line(&WithSocket {
        cmd: "NODE_HANDLE",
        kind: "net.Native",
        msg: NewConnection { cmd: "NODE_CLUSTER", act: "newconn", key, seq },
    })
}

#[derive(Serialize)]
struct NewConnection<'a> {
    cmd: &'static str,
    act: &'static str,
    key: &'a str,
    seq: u64,
}

/// Answers a query without a socket: connections will be handed over one by one. `bound` is what the worker is to think that its server is
/// bound to; a unix socket has no such thing.
pub fn round_robin(key: &str, seq: u64, data: Option<&RawValue>, bound: Option<SocketAddr>) -> Vec<u8> {
    let sockname = bound.map(|bound| SocketName {
        address: bound.ip().to_string(),
        family: if bound.is_ipv6() { "IPv6" } else { "IPv4" },
        port: bound.port(),
    });
    line(&RoundRobin { cmd: "NODE_CLUSTER", errno: (), key, ack: seq, data, sockname })
}

#[derive(Serialize)]
struct RoundRobin<'a> {
    cmd: &'static str,
    /// `null`: none.
    errno: (),
    key: &'a str,
    ack: u64,
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<SocketName>,
}

/// As `getsockname` of Node gives it.
#[derive(Serialize)]
struct SocketName {
    address: String,
    family: &'static str,
    port: u16,
}

/// What a query is answered with. `data` goes on as the worker wrote it: read as a value, a number beyond what fits would be refused, and
/// one of many digits be another.
#[derive(Serialize)]
struct Answer<'a> {
    cmd: &'static str,
    errno: i32,
    key: &'a str,
    ack: u64,
    data: Option<&'a RawValue>,
}

/// A message that a socket goes along with.
#[derive(Serialize)]
struct WithSocket<M> {
    cmd: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    msg: M,
}

/// Answers a query with the socket that goes along.
pub fn server(key: &str, seq: u64, data: Option<&RawValue>, udp: bool) -> Vec<u8> {
    let msg = Answer { cmd: "NODE_CLUSTER", errno: 0, key, ack: seq, data };
    line(&WithSocket { cmd: "NODE_HANDLE", kind: if udp { "dgram.Native" } else { "net.Native" }, msg })
}

/// Answers a query with the error number, negative as libuv has it.
pub fn refusal(key: &str, seq: u64, errno: i32, data: Option<&RawValue>) -> Vec<u8> {
    line(&Answer { cmd: "NODE_CLUSTER", errno: -errno, key, ack: seq, data })
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Only a map whose keys are no strings, or a type's own refusal, could make an error; there is neither.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_single_lines() {
        for bytes in [
            disconnect(),
            shutdown(),
            no_sockets(Question::Count, "a\nb"),
            acknowledge(3),
            handle_answer(true),
            server("a\nb", 1, None, false),
            refusal("k", 1, 98, None),
            new_connection("a\nb", 1),
            round_robin("a\nb", 1, None, "[::]:80".parse().ok()),
        ] {
            assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
        }
        assert!(String::from_utf8(refusal("k", 1, 98, None)).unwrap().contains(r#""errno":-98"#));
    }

    #[test]
    fn connections_are_announced_as_by_node() {
        assert_eq!(
            String::from_utf8(new_connection("k", 7)).unwrap(),
            "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"cmd\":\"NODE_CLUSTER\",\"act\":\"newconn\",\"key\":\"k\",\"seq\":7}}\n"
        );
        assert_eq!(
            String::from_utf8(round_robin("k", 7, None, "127.0.0.1:80".parse().ok())).unwrap(),
            concat!(
                r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"k","ack":7,"data":null,"#,
                r#""sockname":{"address":"127.0.0.1","family":"IPv4","port":80}}"#,
                "\n"
            )
        );
        assert!(!String::from_utf8(round_robin("k", 7, None, None)).unwrap().contains("sockname"));
    }

    #[test]
    fn what_a_worker_sent_along_goes_back_as_it_was() {
        for data in ["1e400", "12345678901234567890123", "1.10", r#"{"b":1,"a":[-0]}"#] {
            let raw = RawValue::from_string(data.to_owned()).unwrap();
            for answer in [server("k", 1, Some(&raw), false), refusal("k", 1, 98, Some(&raw))] {
                let text = String::from_utf8(answer).unwrap();
                assert!(text.contains(&format!(r#""data":{data}}}"#)), "{text}");
            }
        }
    }
}
