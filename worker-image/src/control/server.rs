//! The primary's end of the control socket; only for the user that the primary runs as, and for root.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::document::{Document, Task};
use crate::admin::{Ask, Reply, Want};
use crate::http;

/// More connections wait until one of these ends.
const MAX_CONNECTIONS: usize = 16;

/// No order is longer than some hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// The loop answers within this time.
const LOOP_TIME: Duration = Duration::from_secs(5);

const PATHS: &str = "GET /v1/status\nPOST /v1/reload {\"atOnce\": 1}\nPOST /v1/drain {\"slot\": 1}, or {} for the replica\n\
                     POST /v1/undrain {\"slot\": 1}, or {}\nPOST /v1/scale {\"count\": \"4\"}\n";

/// Serves for ever.
pub async fn serve(listener: UnixListener, asks: mpsc::Sender<Ask>) {
    let accept = || async { listener.accept().await.map(|(stream, _)| Some(stream).filter(is_permitted)) };
    http::serve(MAX_CONNECTIONS, accept, |stream| connection(stream, asks.clone())).await;
}

/// The kernel says who the other end is: the user that the primary runs as, or root, and in the primary's own container. A
/// neighbour in the pod has the same network, and often the same user; it has no process id here.
fn is_permitted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| (peer.uid() == own || peer.uid() == 0) && peer.pid().is_some_and(|pid| pid > 0))
}

async fn connection(stream: UnixStream, asks: mpsc::Sender<Ask>) {
    http::connection(stream, |request| respond(request, asks.clone())).await;
}

async fn respond(request: Request<Incoming>, asks: mpsc::Sender<Ask>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let want = match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/status") => Want::Shown,
        (&Method::POST, path) => {
            let Some(task) = Task::ALL.into_iter().find(|task| task.path() == path) else { return not_found() };
            match document(body).await {
                Ok(document) => Want::Task(task, document),
                Err(message) => return failure(StatusCode::BAD_REQUEST, &message),
            }
        }
        _ => return not_found(),
    };
    let (reply, answer) = oneshot::channel();
    let asked = async { asks.send(Ask { want, reply }).await.ok().map(|()| answer)?.await.ok() };
    match tokio::time::timeout(LOOP_TIME, asked).await {
        Ok(Some(Reply::Shown(shown))) => match serde_json::to_string(&shown) {
            Ok(json) => json_response(StatusCode::OK, json),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Ok(Some(Reply::Refused(why))) => failure(StatusCode::CONFLICT, &why),
        _ => failure(StatusCode::SERVICE_UNAVAILABLE, "the primary's loop does not turn"),
    }
}

/// Reads an order's body; nothing at all is an order without details.
async fn document<B>(body: B) -> Result<Document, String>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let bytes = http::body(body, MAX_BODY).await?;
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
