//! The head of a worker's answer: read, checked, and written anew for the client.

use super::field::{self, Connection, FULL, HOP, Length, Lengths, MAX_FIELDS, is, write};
use super::request::{Method, Request};
use super::{Flaw, MAX_HEAD, Read, SLACK, SLACK_FIELDS, flaw, has_bare_line_feed};

/// An answer, but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// So many bytes were read.
    pub read: usize,
    pub status: u16,
    pub body: Length,
    /// The worker takes another request on its connection.
    pub persists: bool,
    /// How its body goes to the client.
    pub shape: Shape,
    /// The client was told that its connection goes on.
    pub goes_on: bool,
    /// Another replica says with it that it has no room.
    pub refuses: bool,
}

/// How the body of an answer goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As it comes.
    Same,
    /// In chunks: the worker ends it with its connection, and the client's goes on.
    Chunked,
    /// Without the framing of its chunks, to a client of HTTP/1.0, whose connection ends with it.
    Bare,
}

impl Response {
    /// Reads a head, and writes the one for the client after what is in `to`. `closes` is whether the client's connection ends with this answer for a
    /// reason of ours; `adds` are fields of ours.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(
        bytes: &[u8],
        asked: &Request,
        closes: bool,
        adds: &[u8],
        to: &mut Vec<u8>,
    ) -> Result<Read<Self>, Flaw> {
        // It may be one of ours, which has a few fields more than came from the worker.
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + SLACK_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let read = match parsed.parse(&bytes[..bytes.len().min(MAX_HEAD + SLACK)]).map_err(flaw)? {
            httparse::Status::Complete(read) => read,
            httparse::Status::Partial if bytes.len() >= MAX_HEAD + SLACK => return Err(Flaw::HeadTooLarge),
            httparse::Status::Partial => return Ok(Read::Partial),
        };
        if has_bare_line_feed(&bytes[..read]) {
            return Err(Flaw::BareLineFeed);
        }
        let (status, minor) = (parsed.code.unwrap_or_default(), parsed.version.unwrap_or_default());
        if !(100..=999).contains(&status) {
            return Err(Flaw::Syntax);
        }
        let seen = Seen::of(parsed.headers)?;
        let stated = seen.lengths.length(Length::UntilClose)?;
        let body = match (status, asked.method) {
            (101, _) if asked.upgrades && seen.upgrade.is_some() => Length::UntilClose,
            (101, _) => return Err(Flaw::Switch),
            (100..=199 | 204 | 304, _) | (_, Method::Head) => Length::None,
            _ => stated,
        };
        if minor == 0 && body == Length::Chunked {
            return Err(Flaw::ChunkedInOld);
        }
        let shape = match (body, asked.minor) {
            (Length::UntilClose, 1) if status != 101 => Shape::Chunked,
            (Length::Chunked, 0) => Shape::Bare,
            _ => Shape::Same,
        };
        let old = asked.minor == 0;
        let goes_on = asked.persists && !closes && !(old && matches!(body, Length::Chunked | Length::UntilClose));
        let persists = seen.connection.persists(minor) && body != Length::UntilClose;
        let answer = Self { read, status, body, persists, shape, goes_on, refuses: seen.refuses };
        answer.write_line(parsed.reason.unwrap_or_default(), to);
        // These have no body, and say nothing of its length (RFC 9110 8.6).
        let bodiless = matches!(status, 100..=199 | 204);
        let passed_on = |name: &str| seen.is_passed_on(name) && !(bodiless && is(name, "content-length"));
        for field in parsed.headers.iter().filter(|field| passed_on(field.name)) {
            write(to, field.name, field.value);
        }
        if !answer.is_interim() {
            to.extend_from_slice(adds);
        }
        // What an answer without a body says of its length is of the body that it would have (RFC 9110 8.6).
        match (stated, shape) {
            (_, Shape::Chunked) => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            (Length::Chunked, Shape::Same) if asked.minor == 1 && !bodiless => {
                to.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            _ => {}
        }
        match (seen.upgrade, status) {
            (Some(protocol), 101) => {
                to.extend_from_slice(b"connection: upgrade\r\n");
                write(to, "upgrade", protocol);
            }
            _ if status < 200 => {}
            _ if !goes_on => to.extend_from_slice(b"connection: close\r\n"),
            _ if old => to.extend_from_slice(b"connection: keep-alive\r\n"),
            _ => {}
        }
        to.extend_from_slice(b"\r\n");
        Ok(Read::Whole(answer))
    }

    /// Whether another answer to the same request follows.
    pub fn is_interim(&self) -> bool {
        (100..=199).contains(&self.status) && self.status != 101
    }

    /// Whether the connection is of another protocol from here on.
    pub fn switches(&self) -> bool {
        self.status == 101
    }

    fn write_line(&self, reason: &str, to: &mut Vec<u8>) {
        let digit = |tens: u16| b'0' + u8::try_from(self.status / tens % 10).unwrap_or_default();
        to.extend_from_slice(b"HTTP/1.1 ");
        to.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
        to.extend_from_slice(reason.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
}

/// What the fields say that is for us.
#[derive(Debug, Default)]
struct Seen<'a> {
    lengths: Lengths,
    connection: Connection,
    named: Vec<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    refuses: bool,
}

impl<'a> Seen<'a> {
    fn of(fields: &[httparse::Header<'a>]) -> Result<Self, Flaw> {
        let mut seen = Self::default();
        for field in fields {
            seen.lengths.take(field.name, field.value)?;
            if is(field.name, "connection") {
                seen.connection.take(field.value);
                seen.named.extend(field::words(field.value));
            } else if is(field.name, "upgrade") {
                seen.upgrade = Some(field.value);
            } else if is(field.name, HOP) {
                seen.refuses = field.value == FULL;
            }
        }
        Ok(seen)
    }

    fn is_passed_on(&self, name: &str) -> bool {
        let is_named = self.named.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        let ends_here = is(name, "transfer-encoding") || field::is_hop_by_hop(name);
        !ends_here && (!is_named || field::is_end_to_end(name))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{Forwarder, Paths};
    use super::*;

    fn asked(head: &str) -> Request {
        let by = Forwarder {
            client: SocketAddr::from(([10, 0, 0, 1], 9)),
            written: b"",
            trusts: false,
            peers: &[],
            together: &Paths::default(),
            cookie: None,
        };
        match Request::parse(head.as_bytes(), by, &mut Vec::new()).unwrap() {
            Read::Whole(request) => request,
            Read::Partial => panic!("{head}"),
        }
    }

    const NEW: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";

    fn answer(request: &str, head: &str) -> (Response, String) {
        let mut to = Vec::new();
        match Response::parse(head.as_bytes(), &asked(request), false, b"", &mut to).unwrap() {
            Read::Whole(response) => (response, String::from_utf8(to).unwrap()),
            Read::Partial => panic!("{head}"),
        }
    }

    #[test]
    fn an_answer_ends_as_its_status_and_its_fields_say() {
        let head = NEW.replace("GET", "HEAD");
        for (request, answered, body, shape) in [
            (NEW, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Length::Bytes(5), Shape::Same),
            (NEW, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Length::None, Shape::Same),
            (NEW, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Chunked, Shape::Same),
            (NEW, "HTTP/1.1 200 OK\r\n\r\n", Length::UntilClose, Shape::Chunked),
            (OLD, "HTTP/1.1 200 OK\r\n\r\n", Length::UntilClose, Shape::Same),
            (OLD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Chunked, Shape::Bare),
            (&head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Length::None, Shape::Same),
            (NEW, "HTTP/1.1 204 No Content\r\n\r\n", Length::None, Shape::Same),
            (NEW, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Length::None, Shape::Same),
            (NEW, "HTTP/1.1 100 Continue\r\n\r\n", Length::None, Shape::Same),
        ] {
            let (response, _) = answer(request, answered);
            assert_eq!((response.body, response.shape), (body, shape), "{request}{answered}");
        }
    }

    #[test]
    fn fields_of_the_workers_connection_stay_with_it() {
        let worker = "HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\n";
        let (response, written) = answer(NEW, worker);
        assert_eq!(written, "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\n");
        assert!(!response.persists, "the worker closes its own");
    }

    #[test]
    fn a_client_is_told_whether_its_connection_goes_on() {
        let worker = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(answer(NEW, worker).1.contains("200 OK\r\nContent-Length: 5\r\n\r\n"));
        assert!(answer(&NEW.replace("Host", "Connection: close\r\nHost"), worker).1.contains("connection: close\r\n"));
        assert!(answer(OLD, worker).1.contains("connection: close\r\n"));
        let old = OLD.replace("1.0\r\n", "1.0\r\nConnection: keep-alive\r\n");
        assert!(answer(&old, worker).1.contains("connection: keep-alive\r\n"));
        assert!(answer(&old, "HTTP/1.1 200 OK\r\n\r\n").1.contains("connection: close\r\n"), "it ends with it");
        let mut to = Vec::new();
        Response::parse(worker.as_bytes(), &asked(NEW), true, b"", &mut to).unwrap();
        assert!(String::from_utf8(to).unwrap().contains("connection: close\r\n"), "we close it");
    }

    #[test]
    fn only_who_asked_for_another_protocol_gets_one() {
        let worker = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut to = Vec::new();
        assert_eq!(Response::parse(worker.as_bytes(), &asked(NEW), false, b"", &mut to), Err(Flaw::Switch));
        let wanted = NEW.replace("Host", "Connection: Upgrade\r\nUpgrade: websocket\r\nHost");
        let (response, written) = answer(&wanted, worker);
        assert!(
            response.switches() && written.ends_with("connection: upgrade\r\nupgrade: websocket\r\n\r\n"),
            "{written}"
        );
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 000 OK\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert!(Response::parse(head.as_bytes(), &asked(NEW), false, b"", &mut Vec::new()).is_err(), "{head}");
        }
    }
}
