//! Requests that are the same, and may be answered together.

use super::cookie;
use super::field::is;
use super::forwarded::is_of_forwarder;

/// The paths whose requests may be; of each the query counts among what has to be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<String>);

impl Paths {
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Each is one path, or all that begin with it where it ends with `/*`.
    pub fn new(paths: Vec<String>) -> Self {
        Self(paths)
    }

    /// Whether a target is one of them.
    pub fn has(&self, target: &str) -> bool {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        self.0.iter().any(|one| match one.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == one,
        })
    }
}

/// Fields that differ from request to request and say nothing of what is wanted; all others have to be the same. From which address somebody comes
/// is none of the answer's business; who it is, is.
const TRACES: [&str; 10] = [
    "user-agent",
    "traceparent",
    "tracestate",
    "b3",
    "x-request-id",
    "x-correlation-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-client-trace-id",
    "x-forwarded-for",
];

/// Whether requests with another value in this field may be answered together.
fn is_left_out(name: &str) -> bool {
    TRACES.iter().any(|trace| is(name, trace)) || name.get(..5).is_some_and(|start| is(start, "x-b3-"))
}

const PROTO: &str = "x-forwarded-proto";

/// What requests have in common that are the same, but for the body. No two that differ have the same: each part is as long as it says. `cookie` is
/// one of ours, that parts nobody.
pub fn key<'a>(
    method: &str,
    target: &str,
    host: &str,
    fields: impl Iterator<Item = &'a httparse::Header<'a>>,
    own: Option<&str>,
) -> Vec<u8> {
    let mut key = Vec::new();
    for part in [method, target, host] {
        add(&mut key, part.as_bytes());
    }
    let (mut proto, mut forwarded) = (b"http".to_vec(), Vec::new());
    for field in fields.filter(|field| !is_left_out(field.name)) {
        let value = match own {
            Some(own) if is(field.name, "cookie") => cookie::without(field.value, own),
            _ => field.value.to_vec(),
        };
        if is(field.name, PROTO) {
            proto = value; // written in any case, and so the same where it is missing here and comes from another replica
        } else if is_of_forwarder(field.name) {
            forwarded.push((field.name.to_ascii_lowercase(), value));
        } else if !value.is_empty() || !is(field.name, "cookie") {
            add(&mut key, field.name.to_ascii_lowercase().as_bytes());
            add(&mut key, &value);
        }
    }
    // They are written after all others, in an order of their own: a replica that is asked for it has to come to the same.
    forwarded.sort();
    for (name, value) in forwarded {
        let value = if name == "forwarded" { without_addresses(&value) } else { value };
        if !value.is_empty() {
            add(&mut key, name.as_bytes());
            add(&mut key, &value);
        }
    }
    add(&mut key, &proto);
    key
}

/// What `Forwarded` says beside addresses (RFC 7239).
fn without_addresses(value: &[u8]) -> Vec<u8> {
    let pairs = value.split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
    let says = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        !name.is_empty() && !name.eq_ignore_ascii_case(b"for") && !name.eq_ignore_ascii_case(b"by")
    };
    pairs.filter(says).collect::<Vec<_>>().join(&b";"[..])
}

/// Puts a part to a key.
pub fn add(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    key.extend_from_slice(part);
}

/// Whether an answer may go to others than the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Its head has not come as a whole.
    Unknown,
    Allowed,
    /// It sets a cookie, or says that it is for one: it may where a user says that the same credentials are the same user's.
    Personal,
    /// It goes by what is not compared, or has no end.
    Forbidden,
}

/// What the head of an answer of ours says of that; interim answers say nothing.
pub fn sharing(answer: &[u8]) -> Sharing {
    let mut rest = answer;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; super::field::MAX_FIELDS + super::SLACK_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Sharing::Unknown,
            Err(_) => return Sharing::Forbidden,
        };
        match parsed.code.unwrap_or_default() {
            101 => return Sharing::Forbidden,
            100..=199 => rest = &rest[length..],
            _ if parsed.headers.iter().any(is_alone) => return Sharing::Forbidden,
            _ if parsed.headers.iter().any(is_personal) => return Sharing::Personal,
            _ => return Sharing::Allowed,
        }
    }
}

fn is_personal(field: &httparse::Header<'_>) -> bool {
    let has = |word: &str| {
        let words = field.value.split(|byte| matches!(byte, b',' | b'=')).map(<[u8]>::trim_ascii);
        words.into_iter().any(|one| one.eq_ignore_ascii_case(word.as_bytes()))
    };
    is(field.name, "set-cookie") || (is(field.name, "cache-control") && (has("private") || has("no-store")))
}

fn is_alone(field: &httparse::Header<'_>) -> bool {
    let varies = || {
        let names = super::field::words(field.value).filter_map(|name| std::str::from_utf8(name).ok());
        names.into_iter().any(|name| name == "*" || is_left_out(name) || is(name, "forwarded"))
    };
    (is(field.name, "vary") && varies())
        // It has no end: nobody could be given it when it is over.
        || (is(field.name, "content-type") && field.value.to_ascii_lowercase().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_of_those_or_begins_with_one() {
        let paths = Paths::new(vec!["/check".into(), "/public/*".into()]);
        for (target, has) in [
            ("/check", true),
            ("/check?user=1", true),
            ("/check/", false),
            ("/checks", false),
            ("/public/", true),
            ("/public/a/b?c", true),
            ("/public", false),
            ("/?/check", false),
        ] {
            assert_eq!(paths.has(target), has, "{target}");
        }
    }

    fn of(target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        key("GET", target, "a", fields.iter(), Some("to"))
    }

    #[test]
    fn only_what_is_the_same_has_the_same_key() {
        let plain = of("/check", &[("Authorization", "one"), ("Accept", "a")]);
        let same =
            of("/check", &[("authorization", "one"), ("X-Request-Id", "7"), ("accept", "a"), ("X-B3-TraceId", "1")]);
        assert_eq!(plain, same);
        let here = of("/check", &[("Authorization", "one"), ("Accept", "a"), ("Cookie", "to=worker")]);
        assert_eq!(plain, here, "our own cookie parts nobody");
        let forwarded = [("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=1.2.3.4"), ("X-Forwarded-Proto", "http")];
        let there = of("/check", &[&[("Authorization", "one"), ("Accept", "a")][..], &forwarded].concat());
        assert_eq!(plain, there, "as another replica passes it on");
        for other in [
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("X-Forwarded-Proto", "https")]),
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("X-Forwarded-User", "eve")]),
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("Forwarded", "for=1;proto=https")]),
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("X-Real-Ip", "1")]),
            of("/check?a", &[("Authorization", "one"), ("Accept", "a")]),
            of("/check", &[("Authorization", "two"), ("Accept", "a")]),
            of("/check", &[("Accept", "a")]),
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("Cookie", "user=2")]),
            of("/check", &[("Authorization", "one"), ("Accept", "a"), ("X-Tenant", "b")]),
            of("/check", &[("Authorization", "oneaccept"), ("a", "")]),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn an_answer_for_one_goes_to_nobody_else() {
        for (head, sharing_) in [
            ("HTTP/1.1 200 OK\r\nContent-Le", Sharing::Unknown),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Sharing::Allowed),
            ("HTTP/1.1 401 No\r\nCache-Control: max-age=5, public\r\n\r\n", Sharing::Allowed),
            ("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Sharing::Allowed),
            ("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n", Sharing::Unknown),
            ("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n", Sharing::Personal),
            ("HTTP/1.1 200 OK\r\ncache-control: max-age=0, Private\r\n\r\n", Sharing::Personal),
            ("HTTP/1.1 200 OK\r\nCache-Control: private=\"x\"\r\n\r\n", Sharing::Personal),
            ("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n\r\n", Sharing::Personal),
            ("HTTP/1.1 200 OK\r\nVary: *\r\n\r\n", Sharing::Forbidden),
            ("HTTP/1.1 200 OK\r\nVary: Accept, User-Agent\r\n\r\n", Sharing::Forbidden),
            ("HTTP/1.1 200 OK\r\nVary: Accept, Cookie\r\n\r\n", Sharing::Allowed),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", Sharing::Forbidden),
            ("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nVary: user-agent\r\n\r\n", Sharing::Forbidden),
            ("HTTP/1.1 101 Switching\r\n\r\n", Sharing::Forbidden),
        ] {
            assert_eq!(sharing(head.as_bytes()), sharing_, "{head}");
        }
    }
}
