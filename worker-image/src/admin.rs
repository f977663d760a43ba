//! `/livez`, `/readyz`, `/metrics` and what the operator reads and orders: answered by the primary, never by a worker. Bounded
//! in connections, in what a request may carry, and in time.

mod metrics;

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use primary_protocol::remote::{
    CONFIG_PATH, NONCE_HEADER, NONCE_PATH, Nonce, POD_HEADER, SIGNATURE_HEADER, WANTED_MAX,
};
use primary_protocol::{ReplicaState, Shown, SlotState, Stats};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::control::{Document, Task};
use crate::remote::{Refusal, Signed};
use crate::{http, listener};

/// More connections wait until one of these ends.
pub const MAX_CONNECTIONS: usize = 64;

/// The loop answers within this time, or it is not alive.
const LOOP_TIME: Duration = Duration::from_secs(2);

const PATHS: &str = "/livez\n/readyz\n/metrics\n/v1/stats\n/v1/workers\n/v1/nonce\n/v1/config (PUT, signed)\n";

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
    /// An order of this machine's user.
    Task(Task, Document),
    /// A nonce for an order over the network.
    Nonce,
    /// Such an order.
    Signed(Signed),
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
    /// Whoever ordered it may not.
    Forbidden(Refusal),
    /// Everything, and the metrics of workers as a page has them.
    Metrics(Box<Shown>, String),
    /// For one order.
    Nonce(String),
}

/// Opens the port.
///
/// # Errors
/// The kernel's.
pub fn open(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(listener::open_dual(address, false)?))
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
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let want = match path {
        "/livez" => Want::Life,
        "/metrics" => Want::Metrics,
        "/readyz" | "/v1/stats" => Want::Stats,
        "/v1/workers" => Want::Shown,
        NONCE_PATH => Want::Nonce,
        CONFIG_PATH if head.method == Method::PUT => match signed(&head.headers, body).await {
            Ok(order) => Want::Signed(order),
            Err(why) => return text(StatusCode::BAD_REQUEST, format!("{why}\n")),
        },
        CONFIG_PATH => return not_allowed("PUT"),
        _ => return text(StatusCode::NOT_FOUND, format!("not found; there are:\n{PATHS}")),
    };
    if !reads && path != CONFIG_PATH {
        return not_allowed("GET, HEAD");
    }
    let (reply, answer) = oneshot::channel();
    let asked = async { asks.send(Ask { want, reply }).await.ok().map(|()| answer)?.await.ok() };
    let Ok(Some(reply)) = tokio::time::timeout(LOOP_TIME, asked).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the primary's loop does not turn\n".to_string());
    };
    match (path, reply) {
        ("/readyz", Reply::Stats(stats)) => readiness(&stats),
        ("/v1/workers", Reply::Shown(mut shown)) => {
            // Whoever can reach the port may read it: arguments of a command can be anything.
            shown.command = String::new();
            json(&shown)
        }
        (_, Reply::Metrics(shown, workers)) => {
            typed("text/plain; version=0.0.4; charset=utf-8", metrics::text(&shown) + &workers)
        }
        (_, Reply::Stats(stats)) => json(&stats),
        (_, Reply::Nonce(nonce)) => json(&Nonce { nonce }),
        (_, Reply::Refused(why)) => text(StatusCode::CONFLICT, format!("{why}\n")),
        (_, Reply::Forbidden(refusal)) => text(StatusCode::FORBIDDEN, format!("{refusal}\n")),
        _ => text(StatusCode::OK, "ok\n".to_string()),
    }
}

/// An order as it came; who may give it is the loop's to say.
async fn signed(headers: &HeaderMap, body: Incoming) -> Result<Signed, String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(ToString::to_string);
    let (pod, nonce, signature) = (header(POD_HEADER), header(NONCE_HEADER), header(SIGNATURE_HEADER));
    let body = http::body(body, WANTED_MAX).await?.to_vec();
    Ok(Signed { pod, nonce, signature, body })
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(methods));
    response
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(json) => typed("application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
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
