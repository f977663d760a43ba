//! The primary's end of the control socket: bounded in connections, in what a request may carry, and in time; only for
//! the user that the primary runs as, and for root.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::document::{Document, Task};
use crate::admin::{Ask, Reply, Want};

/// More connections wait until one of these ends.
const MAX_CONNECTIONS: usize = 16;

/// No order is longer than some hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// hyper needs 8 KiB at least.
const MAX_HEADERS: usize = 8192;

/// A client that sends no whole request in this time is cut off.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// A connection is closed after this time; `top` opens another one.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

/// The loop answers within this time.
const LOOP_TIME: Duration = Duration::from_secs(5);

/// A pause after a failed accept (out of descriptors), so that the server does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PATHS: &str = "GET /v1/status\nPOST /v1/reload {\"atOnce\": 1}\nPOST /v1/drain {\"slot\": 1}, or {} for the replica\n\
                     POST /v1/undrain {\"slot\": 1}, or {}\nPOST /v1/scale {\"count\": \"4\"}\n";

/// Serves for ever.
pub async fn serve(listener: UnixListener, asks: mpsc::Sender<Ask>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if !is_permitted(&stream) {
            continue;
        }
        let asks = asks.clone();
        connections.spawn(async move {
            connection(stream, asks).await;
            drop(permit);
        });
    }
}

/// The kernel says who the other end is: the user that the primary runs as, or root.
fn is_permitted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, asks: mpsc::Sender<Ask>) {
    let service = service_fn(move |request| respond(request, asks.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

async fn respond<B>(request: Request<B>, asks: mpsc::Sender<Ask>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let (head, body) = request.into_parts();
    let want = match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/status") => Want::Shown,
        (&Method::POST, path) => {
            let Some(task) = Task::ALL.into_iter().find(|task| task.path() == path) else { return Ok(not_found()) };
            match document(body).await {
                Ok(document) => Want::Task(task, document),
                Err(message) => return Ok(failure(StatusCode::BAD_REQUEST, &message)),
            }
        }
        _ => return Ok(not_found()),
    };
    let (reply, answer) = oneshot::channel();
    let asked = async { asks.send(Ask { want, reply }).await.ok().map(|()| answer)?.await.ok() };
    Ok(match tokio::time::timeout(LOOP_TIME, asked).await {
        Ok(Some(Reply::Shown(shown))) => match serde_json::to_string(&shown) {
            Ok(json) => json_response(StatusCode::OK, json),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Ok(Some(Reply::Refused(why))) => failure(StatusCode::CONFLICT, &why),
        _ => failure(StatusCode::SERVICE_UNAVAILABLE, "the primary's loop does not turn"),
    })
}

/// Reads an order's body; nothing at all is an order without details.
async fn document<B>(body: B) -> Result<Document, String>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let collected = tokio::time::timeout(REQUEST_TIME, Limited::new(body, MAX_BODY).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) => return Err(format!("the body could not be read (at most {MAX_BODY} bytes): {error}")),
        Err(_) => return Err(format!("the body did not come within {} s", REQUEST_TIME.as_secs())),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Document::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("the body is not what was expected: {error}"))
}

fn not_found() -> Response<Full<Bytes>> {
    failure(StatusCode::NOT_FOUND, &format!("there are:\n{PATHS}"))
}

fn failure(code: StatusCode, message: &str) -> Response<Full<Bytes>> {
    json_response(code, serde_json::json!({ "error": message }).to_string())
}

fn json_response(code: StatusCode, json: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! Orders from any bytes.

    use super::{Bytes, Document, Full, document};

    /// Whatever the bytes are: an order, or words that say why not.
    pub fn order(data: &[u8]) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        match runtime.block_on(document(Full::new(Bytes::copy_from_slice(data)))) {
            Ok(read) => {
                let written = serde_json::to_vec(&read).unwrap_or_default();
                assert_eq!(serde_json::from_slice::<Document>(&written).ok(), Some(read));
            }
            Err(words) => assert!(!words.is_empty()),
        }
    }
}
