//! What the admin port and the control socket have in common: HTTP/1.1, bounded in connections, in what a head may carry,
//! and in time.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// hyper needs 8 KiB at least; no asker of ours sends more than some hundred bytes.
const MAX_HEADERS: usize = 8192;

/// A client that sends no whole head in this time is cut off, also between two requests; the same for a body.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// A connection is closed after this time, in the middle of nothing or not; a scraper opens another one.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

/// A pause after a failed accept (out of descriptors), so that the server does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever, at most so many connections at a time; more wait until one of these ends. `accept` gives `None` for
/// somebody who is not served.
pub async fn serve<S, A, C>(most: usize, accept: impl Fn() -> A, connection: impl Fn(S) -> C)
where
    A: Future<Output = io::Result<Option<S>>>,
    C: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match accept().await {
            Ok(Some(stream)) => {
                let serving = connection(stream);
                connections.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Ok(None) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Reads a body whole.
///
/// # Errors
/// In words: longer than `most` bytes, or too slow.
pub async fn body<B>(body: B, most: usize) -> Result<Bytes, String>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    match tokio::time::timeout(REQUEST_TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(format!("the body could not be read (at most {most} bytes): {error}")),
        Err(_) => Err(format!("the body did not come within {} s", REQUEST_TIME.as_secs())),
    }
}

/// Serves one connection to its end.
pub async fn connection<S, R>(stream: S, respond: impl Fn(Request<Incoming>) -> R)
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}
