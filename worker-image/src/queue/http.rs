//! HTTP/1.1 as the primary passes it on (RFC 9112): heads and the length of bodies, read strictly and written anew, without IO.
//!
//! The rule is that whatever two programs could read in two ways is refused: who is behind the primary reads exactly the message that it has read.

mod chunks;
mod cookie;
mod field;
mod forwarded;
mod request;
mod response;
mod together;

pub use chunks::{Chunks, LAST, write_size};
pub use field::{HOP, Length, ROOM};
pub use forwarded::{Forwarder, written};
pub use request::{Hop, Method, Request};
pub use response::{Response, Shape};
pub use together::{Paths, Sharing, add, sharing};

/// The most bytes of a head, as in nginx (4 buffers of 8 KiB).
pub const MAX_HEAD: usize = 32 * 1024;

/// So much longer a head may be that a primary wrote itself, and so many more fields it may have.
const SLACK: usize = 1024;
const SLACK_FIELDS: usize = 16;

/// What a head is read from: so much of it as is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// It is whole.
    Whole(T),
    /// More has to come.
    Partial,
}

impl<T> Read<T> {
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Partial => None,
        }
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("its first line or a header field is not HTTP/1.1")]
    Syntax,
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    #[error("its head is longer than 32 KiB or has more than 100 fields")]
    HeadTooLarge,
    #[error("its version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    #[error("it is HTTP/2 without TLS, which is not spoken here: ask with HTTP/1.1")]
    Http2,
    #[error("Content-Length is no number")]
    ContentLength,
    #[error("it says its length twice")]
    TwoLengths,
    #[error("its Transfer-Encoding is not chunked and nothing else")]
    TransferEncoding,
    #[error("HTTP/1.0 knows no Transfer-Encoding")]
    ChunkedInOld,
    #[error("it has no Host, or more than one, or one that is none")]
    Host,
    #[error("its target is neither a path nor a URL")]
    Target,
    #[error("its method is not passed on")]
    Method,
    #[error("its Expect is not 100-continue")]
    Expect,
    #[error("a chunk of its body is none")]
    Chunk,
    #[error("its trailer fields are too long, or say what a trailer may not")]
    Trailer,
    #[error("it breaks off in its head")]
    Short,
    #[error("it switches to another protocol, and nobody asked for one")]
    Switch,
}

impl Flaw {
    /// The status that tells a client of a flaw in its request.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge => 431,
            Self::Version | Self::Http2 => 505,
            Self::TransferEncoding => 501,
            Self::Method => 405,
            Self::Expect => 417,
            _ => 400,
        }
    }
}

/// Whether a head's lines all end with a carriage return and a line feed; some programs take a line feed for the end of a line, and some do not.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut before = 0;
    head.iter().any(|byte| {
        let bare = *byte == b'\n' && before != b'\r';
        before = *byte;
        bare
    })
}

/// What the parser says of a head that is none.
fn flaw(error: httparse::Error) -> Flaw {
    match error {
        httparse::Error::TooManyHeaders => Flaw::HeadTooLarge,
        httparse::Error::Version => Flaw::Version,
        _ => Flaw::Syntax,
    }
}
