//! What the primary answers itself: in words, with the next step where the client has one.

use super::http::{Flaw, HOP};
use super::table::{Refusal, Told};

/// An answer of the primary's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request is none that can be passed on.
    Bad(Flaw),
    /// No worker took it.
    Refused(Refusal),
    /// It came from another replica, and no worker is free.
    NoRoom,
    /// Its head or its body did not come in time.
    Slow,
    /// There are no more descriptors, or there is no more memory for long heads.
    Crowded,
    /// Workers took no connection, or closed it without an answer.
    Broken,
    /// The worker that had it died, and it must not be given to another.
    Died,
    /// The same of one that lives, and closed the connection without an answer.
    Silent,
    /// The same of another replica.
    Lost,
    /// An answer that several waited for broke off.
    Cut,
    /// The worker speaks TLS.
    Tls,
    /// The worker's answer is none.
    Wrong(Flaw),
}

impl Answer {
    /// What another replica is told instead: whatever it is that keeps this one from answering, that one can still ask elsewhere.
    pub fn to_peer(self) -> Self {
        match self {
            Self::Refused(Refusal::Full | Refusal::Late | Refusal::Stopping) | Self::Crowded => Self::NoRoom,
            other => other,
        }
    }

    /// Counts it, unless it is for another replica, which asks elsewhere.
    pub fn count(self, told: &mut Told) {
        let count = match self {
            Self::NoRoom => return,
            Self::Refused(Refusal::Full) => &mut told.full,
            Self::Refused(Refusal::Late) => &mut told.late,
            Self::Refused(Refusal::Deadly) => &mut told.deadly,
            Self::Refused(Refusal::Stopping) => &mut told.stopping,
            Self::Crowded => &mut told.crowded,
            Self::Broken | Self::Silent | Self::Lost | Self::Cut => &mut told.broken,
            Self::Tls => &mut told.tls,
            Self::Died => &mut told.died,
            Self::Wrong(_) => &mut told.invalid_answer,
            Self::Bad(_) => &mut told.invalid_request,
            Self::Slow => &mut told.slow,
        };
        *count += 1;
    }

    pub fn status(self) -> u16 {
        match self {
            Self::Bad(flaw) => flaw.status(),
            Self::Refused(Refusal::Full | Refusal::Late | Refusal::Stopping) | Self::NoRoom | Self::Crowded => 503,
            Self::Slow => 408,
            Self::Refused(Refusal::Deadly)
            | Self::Broken
            | Self::Died
            | Self::Silent
            | Self::Lost
            | Self::Cut
            | Self::Tls
            | Self::Wrong(_) => 502,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Bad(flaw) => format!("The request is refused: {flaw}."),
            Self::Refused(Refusal::Full) => "All workers are busy, and as many requests wait as may. Try again later.".into(),
            Self::Refused(Refusal::Late) => "All workers were busy for as long as a request may wait. Try again later.".into(),
            Self::Refused(Refusal::Deadly) => "Workers died of this request, and it is not given to another.".into(),
            Self::Refused(Refusal::Stopping) => "This replica stops. Try again: another one answers.".into(),
            Self::NoRoom => "No worker is free here.".into(),
            Self::Broken => "The worker took no connection, or closed it without an answer.".into(),
            Self::Crowded => "This replica has as many connections, or as many requests with long heads, as it can. Try again later.".into(),
            Self::Slow => "The request did not come in time.".into(),
            Self::Tls => "The worker speaks TLS, and is asked in plain HTTP: have it serve plain HTTP, or set balancing to Shared.".into(),
            Self::Silent => "The worker closed the connection without an answer. The request was not given to another, since it may have been carried out.".into(),
            Self::Lost => "The replica that had this request closed the connection without an answer. It was not given to another, since it may have been carried out.".into(),
            Self::Cut => "The answer that this request was to share broke off.".into(),
            Self::Died => "The worker that had this request died. It was not given to another, since it may have been carried out, or its answer had begun.".into(),
            Self::Wrong(flaw) => format!("The worker's answer cannot be passed on: {flaw}."),
        }
    }

    /// The whole answer. `closes` is whether the connection ends with it, and `headless` that the client asked for no body (`HEAD`).
    pub fn write(self, closes: bool, headless: bool, to: &mut Vec<u8>) {
        if self == Self::NoRoom {
            let close = if closes { "connection: close\r\n" } else { "" };
            let head = format!("HTTP/1.1 503 {}\r\n{HOP}: full\r\n{close}content-length: 0\r\n\r\n", reason(503));
            return to.extend_from_slice(head.as_bytes());
        }
        let (status, words) = (self.status(), self.words() + "\n");
        let reason = reason(status);
        let retry = if status == 503 { "retry-after: 1\r\n" } else { "" };
        let close = if closes { "connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n{retry}{close}\r\n",
            words.len()
        );
        to.extend_from_slice(head.as_bytes());
        if !headless {
            to.extend_from_slice(words.as_bytes());
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}

/// What a client is told that speaks HTTP/2 without having asked (RFC 9113 7: HTTP_1_1_REQUIRED): empty settings, and that it goes no further.
pub const HTTP2_REFUSAL: &[u8] = b"\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x30\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0dHTTP/2 is not spoken here: use HTTP/1.1.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_to_do_and_how_long_it_is() {
        let mut text = Vec::new();
        Answer::Refused(Refusal::Full).write(false, false, &mut text);
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && head.contains("retry-after: 1"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())) && !head.contains("close"), "{text}");
        let mut text = Vec::new();
        Answer::Bad(Flaw::TwoLengths).write(true, true, &mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.ends_with("connection: close\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn the_refusal_of_http2_is_two_frames() {
        let words = &HTTP2_REFUSAL[9 + 9 + 8..];
        assert_eq!(usize::from(HTTP2_REFUSAL[9 + 2]), 8 + words.len());
        assert!(words.starts_with(b"HTTP/2 is not"));
    }
}
