//! The head of a request: read, checked, and written anew for a worker.

use super::cookie;
use super::field::{self, Connection, HOP, Length, Lengths, MAX_FIELDS, is, write};
use super::forwarded::{Forwarder, is_of_forwarder};
use super::together::key;
use super::{Flaw, MAX_HEAD, Read, SLACK, SLACK_FIELDS, flaw, has_bare_line_feed};
use crate::queue::table::PeerId;

/// What a request wants, as far as it matters whether it may be sent twice and whether its answer has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    /// Any other that may be repeated (RFC 9110 9.2.2).
    Idempotent,
    /// Any that may not.
    Other,
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" | "PUT" | "DELETE" => Self::Idempotent,
            _ => Self::Other,
        }
    }

    /// Whether the same again changes nothing more.
    pub fn is_idempotent(self) -> bool {
        self != Self::Other
    }
}

/// A request, but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// So many bytes were read.
    pub read: usize,
    pub method: Method,
    /// The second number of its version: 0 or 1.
    pub minor: u8,
    pub body: Length,
    /// Another request may follow.
    pub persists: bool,
    /// It asks for another protocol.
    pub upgrades: bool,
    /// The client waits with the body until somebody wants it.
    pub expects: bool,
    /// Where it may be answered together with others: what those have to have in common with it, but for the body.
    pub together: Option<Vec<u8>>,
    /// What its cookie says of the worker that it wants.
    pub wish: Option<String>,
    /// Another replica passed it on; or somebody says so.
    pub hop: Option<Hop>,
}

/// Why one replica passes a request on to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// None of its workers is free: the other one takes it now, or says that it has no room.
    Overflow,
    /// It is the other one's: it waits there, if it has to.
    Owner,
    /// It is none, but the question how many the other one has room for.
    Ask,
    /// Whoever says one of these is no replica that is known here.
    Foreign,
}

impl Hop {
    const ALL: [(&str, Self); 3] = [("overflow", Self::Overflow), ("owner", Self::Owner), ("ask", Self::Ask)];

    /// What a field says that names the replica that it is from: `owner 9f0c…`. `from` are those that are known where it comes from. `None` for a word that
    /// no replica says.
    fn of(value: &[u8], from: &[PeerId]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (said, id) = text.split_once(' ').unwrap_or((text, ""));
        let (_, hop) = Self::ALL.into_iter().find(|(word, _)| *word == said)?;
        Some(if from.iter().any(|peer| **peer == *id) { hop } else { Self::Foreign })
    }

    /// The field's value, from the replica with this UID.
    pub fn says(self, own: &str) -> String {
        format!("{} {own}", self.word())
    }

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, hop)| *hop == self).map_or("", |(word, _)| word)
    }
}

/// `PRI * HTTP/2.0`, with which a client begins that speaks HTTP/2 without asking.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n";

impl Request {
    /// Reads a head and writes the one for the worker after what is in `to`.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has to be read any more then: where it ends is not known.
    pub fn parse(bytes: &[u8], by: Forwarder<'_>, to: &mut Vec<u8>) -> Result<Read<Self>, Flaw> {
        if bytes.starts_with(HTTP2) {
            return Err(Flaw::Http2);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + SLACK_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        // What another replica has let in and written anew is a little longer than what it let in.
        let (most, most_fields) = match by.peers {
            [] => (MAX_HEAD, MAX_FIELDS),
            _ => (MAX_HEAD + SLACK, MAX_FIELDS + SLACK_FIELDS),
        };
        let length = match parsed.parse(&bytes[..bytes.len().min(most)]).map_err(flaw)? {
            httparse::Status::Complete(_) if parsed.headers.len() > most_fields => return Err(Flaw::HeadTooLarge),
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if bytes.len() >= most => return Err(Flaw::HeadTooLarge),
            httparse::Status::Partial => return Ok(Read::Partial),
        };
        if has_bare_line_feed(&bytes[..length]) {
            return Err(Flaw::BareLineFeed);
        }
        let (name, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        let minor = parsed.version.unwrap_or_default();
        let method = Method::of(name);
        if matches!(name, "CONNECT" | "TRACE") {
            return Err(Flaw::Method);
        }
        let seen = Seen::of(parsed.headers, by.peers)?;
        let body = seen.lengths.length(Length::None)?;
        if minor == 0 && body == Length::Chunked {
            return Err(Flaw::ChunkedInOld);
        }
        let (authority, path) = split(target, name)?;
        let host = match (authority, seen.host) {
            _ if seen.hosts > 1 || (minor == 1 && seen.hosts == 0) => return Err(Flaw::Host),
            (Some(authority), _) => Some(authority),
            (None, host) => host,
        };
        // Also the one that the target's takes the place of (RFC 9112 3.2).
        if [host, seen.host].into_iter().flatten().any(|host| !is_authority(host)) {
            return Err(Flaw::Host);
        }
        let upgrades = minor == 1 && seen.connection.upgrade && seen.upgrade.is_some_and(is_passed_on);
        // Only a request that another replica passes on is as that one wrote it; a program in its pod may ask as well.
        let hops = seen.hop.is_some_and(|hop| hop != Hop::Foreign);
        let together = (by.together.has(path) && !upgrades && !seen.expects).then(|| {
            let forwarded = by.trusts || hops;
            let common = |field: &&httparse::Header<'_>| {
                seen.is_passed_on(field.name) || (forwarded && is_of_forwarder(field.name))
            };
            key(name, path, host.unwrap_or_default(), parsed.headers.iter().filter(common), by.cookie)
        });
        let request = Self {
            read: length,
            method,
            minor,
            body,
            persists: seen.connection.persists(minor),
            upgrades,
            expects: minor == 1 && seen.expects && body != Length::None,
            together,
            wish: by.cookie.and_then(|name| cookie::find(parsed.headers, name)),
            hop: seen.hop,
        };
        let line = Line { name, path, host, upgrade: seen.upgrade.filter(|_| upgrades) };
        line.write(to);
        seen.write(parsed.headers, request.expects, to);
        by.write(parsed.headers, hops, to);
        match body {
            Length::Bytes(bytes) => to.extend_from_slice(format!("content-length: {bytes}\r\n").as_bytes()),
            Length::Chunked => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            // It says so itself where it may have one, so that nobody waits for it.
            Length::None if !matches!(method, Method::Get | Method::Head) => {
                to.extend_from_slice(b"content-length: 0\r\n");
            }
            Length::None | Length::UntilClose => {}
        }
        to.extend_from_slice(b"\r\n");
        Ok(Read::Whole(request))
    }

    /// Whether a worker that is sent it and dies may have done something that must not be done twice.
    pub fn may_be_sent_again(&self) -> bool {
        self.method.is_idempotent() && !self.upgrades
    }
}

/// What the fields say that is for us.
#[derive(Debug, Default)]
struct Seen<'a> {
    lengths: Lengths,
    connection: Connection,
    /// Names that `Connection` says end here.
    named: Vec<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    host: Option<&'a str>,
    hosts: usize,
    expects: bool,
    trailers: bool,
    hop: Option<Hop>,
}

impl<'a> Seen<'a> {
    fn of(fields: &[httparse::Header<'a>], peers: &[PeerId]) -> Result<Self, Flaw> {
        let mut seen = Self::default();
        for field in fields {
            seen.lengths.take(field.name, field.value)?;
            if is(field.name, "connection") {
                seen.connection.take(field.value);
                seen.named.extend(field::words(field.value));
            } else if is(field.name, "upgrade") {
                seen.upgrade = Some(field.value);
            } else if is(field.name, "host") {
                seen.hosts += 1;
                seen.host = Some(std::str::from_utf8(field.value).map_err(|_| Flaw::Host)?);
            } else if is(field.name, "expect") {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Flaw::Expect);
                }
                seen.expects = true;
            } else if is(field.name, HOP) {
                // More than one is of nobody.
                seen.hop = if seen.hop.is_some() { Some(Hop::Foreign) } else { Hop::of(field.value, peers) };
            } else if is(field.name, "te") {
                seen.trailers |= field::words(field.value).any(|word| word.eq_ignore_ascii_case(b"trailers"));
            }
        }
        Ok(seen)
    }

    /// The fields that are passed on as they are.
    fn write(&self, fields: &[httparse::Header<'_>], expects: bool, to: &mut Vec<u8>) {
        for field in fields.iter().filter(|field| self.is_passed_on(field.name)) {
            write(to, field.name, field.value);
        }
        if expects {
            to.extend_from_slice(b"expect: 100-continue\r\n");
        }
        if self.trailers {
            to.extend_from_slice(b"te: trailers\r\n");
        }
    }

    fn is_passed_on(&self, name: &str) -> bool {
        const ANEW: [&str; 4] = ["host", "expect", "content-length", "transfer-encoding"];
        let is_named = self.named.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        !(ANEW.iter().any(|own| is(name, own))
            || is_of_forwarder(name)
            || field::is_hop_by_hop(name)
            || field::is_disguised(name)
            || (is_named && !field::is_end_to_end(name)))
    }
}

/// The first line and what belongs to it.
struct Line<'a> {
    name: &'a str,
    path: &'a str,
    host: Option<&'a str>,
    upgrade: Option<&'a [u8]>,
}

impl Line<'_> {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.name.as_bytes());
        to.push(b' ');
        if !self.path.starts_with(['/', '*']) {
            to.push(b'/'); // `http://host?query`
        }
        to.extend_from_slice(self.path.as_bytes());
        to.extend_from_slice(b" HTTP/1.1\r\n");
        // A request of HTTP/1.0 may have none, and a worker of HTTP/1.1 wants one.
        write(to, "host", self.host.unwrap_or_default().as_bytes());
        if let Some(upgrade) = self.upgrade {
            to.extend_from_slice(b"connection: upgrade\r\n");
            write(to, "upgrade", upgrade);
        }
    }
}

/// Whether a protocol can be switched to: HTTP/2 cannot, since only its first request would be seen.
fn is_passed_on(protocol: &[u8]) -> bool {
    !field::words(protocol).any(|word| word.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2")))
}

/// A target's authority, where it has one, and its path with the query (RFC 9112 3.2).
fn split<'a>(target: &'a str, method: &str) -> Result<(Option<&'a str>, &'a str), Flaw> {
    if target.contains('#') || !target.is_ascii() {
        return Err(Flaw::Target);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target));
    }
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| is(start, scheme)));
    let rest = &target[scheme.ok_or(Flaw::Target)?.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest.split_at(end) {
        ("", _) => Err(Flaw::Target),
        // RFC 9112 3.2.4
        (authority, "") => Ok((Some(authority), if method == "OPTIONS" { "*" } else { "/" })),
        (authority, path) => Ok((Some(authority), path)),
    }
}

/// Whether a host could be one (RFC 3986 3.2.2): it may be empty, and has no user's name.
fn is_authority(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte))
}

#[cfg(test)]
mod tests;
