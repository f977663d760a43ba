//! Answers: whole ones, refusals in the API server's form, and none.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::json;

/// What goes back to the operator; the body keeps what it was, where it was whole.
pub type Reply = Response<Answer>;

/// A body: whole, or a stream.
pub enum Answer {
    /// All of it.
    Whole(Bytes, UnsyncBoxBody<Bytes, Aborted>),
    /// Piece by piece; nothing is known of it as a whole.
    Stream(Bytes, UnsyncBoxBody<Bytes, Aborted>),
}

/// For how long a connection is given to write an answer out.
const WRITTEN: std::time::Duration = std::time::Duration::from_millis(2);

/// No answer: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// In good order.
    Closed,
    /// By RST.
    Reset,
}

// === impl Aborted ===

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} on purpose")
    }
}

impl std::error::Error for Aborted {}

// === impl Answer ===

impl Body for Answer {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match &mut *self {
            Self::Whole(_, body) | Self::Stream(_, body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(_, body) | Self::Stream(_, body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(_, body) | Self::Stream(_, body) => body.size_hint(),
        }
    }
}

/// Closes the connection.
pub fn close() -> Result<Reply, Aborted> {
    Err(Aborted::Closed)
}

/// An answer that is there as a whole.
pub fn whole(status: StatusCode, body: Bytes) -> Reply {
    let full = Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync();
    let mut reply = Response::new(Answer::Whole(body, full));
    *reply.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}

/// A refusal in the API server's words; 429 asks to wait for a second, as priority and fairness does.
pub fn refusal(code: u16) -> Reply {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": format!("the fault layer says {code} {reason}")
    });
    let mut reply =
        whole(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), status.to_string().into());
    if code == 429 {
        reply.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    reply
}

/// Does `end` when the whole answer has been handed to the connection.
pub fn then(reply: Reply, end: impl FnOnce() + Send + 'static) -> Reply {
    let (parts, body) = reply.into_parts();
    let (Answer::Whole(bytes, _) | Answer::Stream(bytes, _)) = body;
    let mut last = Some(end);
    let mut soon = move || {
        if let Some(end) = last.take() {
            // The connection writes it out meanwhile; nothing more of that life is let through, so it does not matter how long this is.
            tokio::spawn(async move {
                tokio::time::sleep(WRITTEN).await;
                end();
            });
        }
    };
    if bytes.is_empty() {
        soon();
    }
    let full = Full::new(bytes.clone()).map_err(|never| match never {});
    let body = full.map_frame(move |frame| {
        soon();
        frame
    });
    Response::from_parts(parts, Answer::Whole(bytes, body.boxed_unsync()))
}
