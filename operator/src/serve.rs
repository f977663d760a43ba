//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::metrics::Metrics;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// A request and its answer take no longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is true. `ready` says whether the caches are filled, or are not ours to fill.
///
/// # Errors
/// Where the port cannot be had.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = bind(address).await?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (Ok(place), Ok((stream, _))) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await; // out of file descriptors, most likely
            continue;
        };
        let (metrics, ready) = (metrics.clone(), ready.clone());
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.uri().path(), &metrics, *ready.borrow());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(DEADLINE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(DEADLINE, connection).await {
                tracing::debug!(%error, "a connection to the operator's port ended badly");
            }
        });
    }
    connections.shutdown().await;
    Ok(())
}

/// `[::]` takes both families; where the machine has no IPv6 it means `0.0.0.0`.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            Ok(TcpListener::bind(("0.0.0.0", address.port())).await?)
        }
        Err(error) => Err(anyhow::anyhow!("cannot listen on {address}: {error}; choose another with --listen")),
    }
}

fn answer(path: &str, metrics: &Metrics, ready: bool) -> Response<Full<Bytes>> {
    let (status, kind, body) = match path {
        "/livez" => (StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" if ready => (StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => {
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", b"not ready: the caches are being filled\n".to_vec())
        }
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics.text()),
        _ => (StatusCode::NOT_FOUND, "text/plain", b"there are /livez, /readyz and /metrics\n".to_vec()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
