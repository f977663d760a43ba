//! What the fields of a head say: lists of words, lengths, and names that two programs could read in two ways.

use super::Flaw;

/// The most fields that a head may have.
pub const MAX_FIELDS: usize = 100;

/// With this field one replica's primary speaks to another's: see [`super::Hop`].
pub const HOP: &str = "workercluster-hop";

/// An answer with this in [`HOP`] says that there is no room.
pub const FULL: &[u8] = b"full";

/// And with this it answers how many requests it has room for.
pub const ROOM: &str = "workercluster-room";

/// More than this is no number for a program that counts in signed ones, and could be a negative length for it.
pub const LENGTH_MAX: u64 = i64::MAX.unsigned_abs();

/// The words of a list (RFC 9110 5.6.1), without what is empty.
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

/// Whether a name is this one, which is given in lower case.
pub fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// How a message's body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    None,
    /// After so many bytes; at least one.
    Bytes(u64),
    /// It says so itself.
    Chunked,
    /// With the connection. Only an answer may.
    UntilClose,
}

/// Takes in the fields that say how long a body is, and refuses what two programs could read in two ways.
#[derive(Debug, Default)]
pub struct Lengths {
    bytes: Option<u64>,
    chunked: bool,
}

impl Lengths {
    /// Takes in one field. Those that say nothing of a length are no flaw.
    pub fn take(&mut self, name: &str, value: &[u8]) -> Result<(), Flaw> {
        if is(name, "content-length") {
            let digits = std::str::from_utf8(value).ok().filter(|text| is_number(text)).ok_or(Flaw::ContentLength)?;
            let bytes = digits.parse().ok().filter(|bytes| *bytes <= LENGTH_MAX).ok_or(Flaw::ContentLength)?;
            // Twice the same is as suspicious as two: whoever put in the second did not read the first.
            if self.bytes.replace(bytes).is_some() {
                return Err(Flaw::TwoLengths);
            }
        } else if is(name, "transfer-encoding") {
            if self.chunked {
                return Err(Flaw::TwoLengths);
            }
            // `gzip, chunked` is allowed by the RFC and done by nobody; what cannot be read is not passed on.
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Flaw::TransferEncoding);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// What they say together; `otherwise` is what it means that none of them was there.
    pub fn length(&self, otherwise: Length) -> Result<Length, Flaw> {
        match (self.bytes, self.chunked) {
            (Some(_), true) => Err(Flaw::TwoLengths),
            (None, true) => Ok(Length::Chunked),
            (Some(0), false) => Ok(Length::None),
            (Some(bytes), false) => Ok(Length::Bytes(bytes)),
            (None, false) => Ok(otherwise),
        }
    }
}

/// Digits and nothing else: `+5`, `0x5`, ` 5` and the empty word are numbers for some programs and not for others.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the field `Connection` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The connection ends with this message.
    pub close: bool,
    /// It goes on, which a program of HTTP/1.0 has to say.
    pub keep_alive: bool,
    /// It is to become one of another protocol.
    pub upgrade: bool,
}

impl Connection {
    /// Takes in one field of this name.
    pub fn take(&mut self, value: &[u8]) {
        for word in words(value) {
            self.close |= word.eq_ignore_ascii_case(b"close");
            self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= word.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// Whether another message may come on this connection.
    pub fn persists(self, minor: u8) -> bool {
        !self.close && (minor >= 1 || self.keep_alive)
    }
}

/// Fields that speak of one connection and end with it, besides those that `Connection` names. `Transfer-Encoding` and `Upgrade` are written anew.
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 7] = ["connection", "keep-alive", "proxy-connection", "te", "upgrade", HOP, ROOM];
    NAMES.iter().any(|own| is(name, own))
}

/// Fields that no message loses because `Connection` names them: what says who somebody is, where to, and how long, is for the other end.
pub fn is_end_to_end(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["host", "content-length", "transfer-encoding", "trailer", "authorization", "cookie", "forwarded", "expect"];
    NAMES.iter().any(|own| is(name, own)) || starts_with(name, "x-forwarded-")
}

fn starts_with(name: &str, start: &str) -> bool {
    name.get(..start.len()).is_some_and(|head| is(head, start))
}

/// A name that a program of CGI's kind takes for one that decides something: WSGI and Rack read `_` and `-` as one, PHP `.` as well, others whatever is
/// neither letter nor digit. With it a client could say what only we say, or give a second length.
pub fn is_disguised(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if name.chars().all(is_plain) {
        return false;
    }
    let plain = name.replace(|letter| !is_plain(letter), "-");
    is_hop_by_hop(&plain) || is_end_to_end(&plain)
}

/// Writes one field.
pub fn write(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(fields: &[(&str, &str)]) -> Result<Length, Flaw> {
        let mut lengths = Lengths::default();
        for (name, value) in fields {
            lengths.take(name, value.as_bytes())?;
        }
        lengths.length(Length::None)
    }

    #[test]
    fn a_body_has_one_length_or_the_message_is_refused() {
        type Fields = &'static [(&'static str, &'static str)];
        let cases: [(Fields, Result<Length, Flaw>); 16] = [
            (&[], Ok(Length::None)),
            (&[("Content-Length", "0")], Ok(Length::None)),
            (&[("content-LENGTH", "12")], Ok(Length::Bytes(12))),
            (&[("Content-Length", "0012")], Ok(Length::Bytes(12))),
            (&[("Transfer-Encoding", "chunked")], Ok(Length::Chunked)),
            (&[("Transfer-Encoding", "Chunked")], Ok(Length::Chunked)),
            (&[("Content-Length", "12"), ("Content-Length", "12")], Err(Flaw::TwoLengths)),
            (&[("Content-Length", "12"), ("Transfer-Encoding", "chunked")], Err(Flaw::TwoLengths)),
            (&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], Err(Flaw::TwoLengths)),
            (&[("Transfer-Encoding", "gzip, chunked")], Err(Flaw::TransferEncoding)),
            (&[("Transfer-Encoding", "identity")], Err(Flaw::TransferEncoding)),
            (&[("Transfer-Encoding", "chunked, chunked")], Err(Flaw::TransferEncoding)),
            (&[("Transfer-Encoding", "\x0bchunked")], Err(Flaw::TransferEncoding)),
            (&[("Content-Length", "12, 12")], Err(Flaw::ContentLength)),
            (&[("Content-Length", "+12")], Err(Flaw::ContentLength)),
            (&[("Content-Length", "9223372036854775808")], Err(Flaw::ContentLength)),
        ];
        for (fields, wanted) in cases {
            assert_eq!(length(fields), wanted, "{fields:?}");
        }
    }

    #[test]
    fn a_connection_goes_on_as_its_version_and_its_words_say() {
        for (value, minor, persists) in [
            ("", 1, true),
            ("", 0, false),
            ("keep-alive", 0, true),
            ("Keep-Alive, Upgrade", 0, true),
            ("close", 1, false),
            ("keep-alive, close", 1, false),
            ("x-close", 1, true),
        ] {
            let mut connection = Connection::default();
            connection.take(value.as_bytes());
            assert_eq!(connection.persists(minor), persists, "{value} in 1.{minor}");
        }
    }

    #[test]
    fn a_name_that_reads_as_another_one_is_found() {
        for name in ["Content_Length", "X_Forwarded-For", "transfer_encoding", "X.Forwarded.Host", "x~forwarded!port"] {
            assert!(is_disguised(name), "{name}");
        }
        for name in ["Forwarded", "Content-Length", "my_field", "my.field"] {
            assert!(!is_disguised(name), "{name}");
        }
    }
}
