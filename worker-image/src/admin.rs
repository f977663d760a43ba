//! `/livez`, `/readyz`, `/metrics` and `/v1/stats`: answered by the primary, never by a worker. Bounded in
//! connections, in what a request may carry, and in time.

mod metrics;

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use primary_protocol::{ReplicaState, SlotState, Stats};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::control::{Document, Shown, Task};
use crate::{http, listener};

/// More connections wait until one of these ends.
pub const MAX_CONNECTIONS: usize = 64;

/// The loop answers within this time, or it is not alive.
const LOOP_TIME: Duration = Duration::from_secs(2);

const PATHS: &str = "/livez\n/readyz\n/metrics\n/v1/stats\n";

/// A question to the loop, or an order.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub want: Want,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// What is asked of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Whether it turns.
    Life,
    /// What the operator reads.
    Stats,
    /// The same and more, for a page of metrics.
    Metrics,
    /// The same and more, for people, who may go on watching.
    Shown,
    /// An order.
    Task(Task, Document),
}

/// What the loop says.
#[derive(Debug)]
pub enum Reply {
    /// It turns.
    Alive,
    /// What the operator reads.
    Stats(Box<Stats>),
    /// Everything.
    Shown(Box<Shown>),
    /// An order cannot be carried out; why, and what is possible.
    Refused(String),
}

/// Opens the port.
///
/// # Errors
/// The kernel's.
pub fn open(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(listener::open_dual(address)?))
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, asks: mpsc::Sender<Ask>) {
    let accept = || async { listener.accept().await.map(|(stream, _)| Some(stream)) };
    http::serve(MAX_CONNECTIONS, accept, |stream| connection(stream, asks.clone())).await;
}

/// Serves one connection to its end.
pub async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, asks: mpsc::Sender<Ask>) {
    http::connection(stream, |request| respond(request, asks.clone())).await;
}

async fn respond(request: Request<Incoming>, asks: mpsc::Sender<Ask>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !PATHS.lines().any(|known| known == path) {
        return text(StatusCode::NOT_FOUND, format!("not found; there are:\n{PATHS}"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_string());
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let want = match path {
        "/livez" => Want::Life,
        "/metrics" => Want::Metrics,
        _ => Want::Stats,
    };
    let (reply, answer) = oneshot::channel();
    let asked = async { asks.send(Ask { want, reply }).await.ok().map(|()| answer)?.await.ok() };
    let Ok(Some(reply)) = tokio::time::timeout(LOOP_TIME, asked).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the primary's loop does not turn\n".to_string());
    };
    match (path, reply) {
        ("/readyz", Reply::Stats(stats)) => readiness(&stats),
        (_, Reply::Shown(shown)) => typed("text/plain; version=0.0.4; charset=utf-8", metrics::text(&shown)),
        (_, Reply::Stats(stats)) => match serde_json::to_string(&stats) {
            Ok(json) => typed("application/json", json),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::OK, "ok\n".to_string()),
    }
}

fn readiness(stats: &Stats) -> Response<Full<Bytes>> {
    let (ready, desired) = (stats.workers.ready, stats.workers.desired);
    let is_ready = ready > 0 && stats.state != ReplicaState::Draining;
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = format!("{ready}/{desired} workers ready\n");
    if stats.state == ReplicaState::Draining {
        body.push_str("draining: told to stop, or to take no more\n");
    }
    for slot in stats.slots.iter().filter(|slot| slot.state != SlotState::Ready) {
        let last = slot.last_exit.as_deref().map(|exit| format!(", last ended with {exit}")).unwrap_or_default();
        let retry = slot.retry_milliseconds.map(|time| format!(", next fork in {time} ms")).unwrap_or_default();
        let _ = writeln!(body, "slot {}: {:?}{last}{retry}", slot.slot, slot.state);
    }
    for warning in &stats.warnings {
        let _ = writeln!(body, "{:?}: {}", warning.reason, warning.message);
    }
    text(code, body)
}

fn text(code: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", body);
    *response.status_mut() = code;
    response
}

fn typed(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let value = hyper::header::HeaderValue::from_static;
    response.headers_mut().insert(CONTENT_TYPE, value(kind));
    response.headers_mut().insert(CACHE_CONTROL, value("no-store"));
    response
}
