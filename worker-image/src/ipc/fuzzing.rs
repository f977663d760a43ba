//! Node's channel: lines, messages and answers, from any bytes.

use std::convert::Infallible;
use std::net::IpAddr;

use serde::Deserialize;

use super::frame::{Frame, Lines, MAX_LINE};
use super::message::{AddressType, FromWorker, Query, parse};
use super::servers::Servers;
use super::tell::acknowledge;

/// Every byte after the first arrives in pieces of a length that the first one says: the lines must not depend on it.
pub fn channel(data: &[u8]) {
    let (piece, data) = data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first).max(1), rest));
    let (whole, pieces) = (cut(std::iter::once(data)), cut(data.chunks(piece)));
    assert_eq!(whole, pieces, "in pieces of {piece}");
    for line in whole.into_iter().flatten() {
        match parse(&line) {
            Ok(FromWorker::QueryServer(query)) => assert!(query.data.is_none_or(|data| data.get().len() <= 64 * 1024)),
            Ok(FromWorker::ExitedAfterDisconnect { seq }) => {
                assert_eq!(answered(&acknowledge(seq)).ack, Some(seq));
            }
            Ok(_) => {}
            Err(broken) => assert!(!broken.to_string().is_empty()),
        }
    }
}

/// The lines; `None` for one that was too long.
fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    for piece in pieces {
        let Ok(()) = lines.push(piece, |frame| {
            seen.push(match frame {
                Frame::Line(line) => Some(line.to_vec()),
                Frame::TooLong => None,
            });
            Ok::<(), Infallible>(())
        });
    }
    assert!(seen.iter().flatten().all(|line| line.len() <= MAX_LINE && !line.contains(&b'\n')));
    seen
}

/// What Node reads of an answer. `data` is the worker's own, and may hold numbers that Rust has no place for.
#[derive(Debug, Default, Deserialize)]
struct Said {
    ack: Option<u64>,
    errno: Option<i64>,
    msg: Option<Box<Said>>,
}

/// The one line of an answer.
fn answered(bytes: &[u8]) -> Said {
    assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1), "an answer is one line");
    let said: Result<Said, _> = serde_json::from_slice(bytes);
    assert!(said.is_ok(), "{said:?}: {}", String::from_utf8_lossy(bytes));
    let said = said.unwrap_or_default();
    said.msg.map_or_else(|| Said { msg: None, ..said }, |inner| *inner)
}

/// Queries of two workers, one a line: each is answered in words that Node reads, with its number, and with a socket or an error.
pub fn servers(data: &[u8]) {
    let mut servers = Servers::default();
    for (number, line) in data.split(|byte| *byte == b'\n').take(32).enumerate() {
        let pid = u32::from(number % 2 == 1) + 1;
        match parse(line) {
            Ok(FromWorker::QueryServer(mut query)) => {
                harmless(&mut query);
                let answer = servers.answer(pid, &query, None);
                let said = answered(&answer.bytes);
                assert_eq!(said.ack, Some(query.seq), "{said:?}");
                assert_eq!(said.errno == Some(0), answer.socket.is_some(), "{said:?}");
                assert!(answer.socket.is_some() || said.errno.is_some_and(|errno| errno < 0), "{said:?}");
            }
            Ok(FromWorker::Close { key }) => {
                servers.close(pid, &key);
            }
            Ok(FromWorker::Ready) => servers.forget(pid),
            _ => {}
        }
    }
    assert!(servers.listeners().count() <= 256 && servers.ports().len() <= 256);
}

/// What is opened for real is opened on the loopback, on ports that nobody has, and leaves no file behind.
fn harmless(query: &mut Query) {
    query.port = query.port.map(|port| if (0..=65_535).contains(&port) { 0 } else { port });
    if query.address_type == AddressType::Path {
        query.address = None;
    } else if query.address.as_ref().is_none_or(|address| address.is_empty() || address.parse::<IpAddr>().is_ok()) {
        query.address = Some("127.0.0.1".to_string());
    }
}
