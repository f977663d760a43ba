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
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{leader::elect::Standing, metrics::Metrics};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// A request and its answer take no longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// What readiness rests on.
#[derive(Clone)]
pub struct Readiness {
    pub standing: watch::Receiver<Standing>,
    /// The caches of the term are filled.
    pub filled: watch::Receiver<bool>,
}

/// Serves until `shutdown` is true.
///
/// # Errors
/// Where the port cannot be had.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
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
        let (metrics, readiness) = (metrics.clone(), readiness.clone());
        connections.spawn(async move {
            let _place = place;
            connection(stream, metrics, readiness).await;
        });
    }
    connections.shutdown().await;
    Ok(())
}

/// Serves one connection to its end.
pub async fn connection<S>(stream: S, metrics: Metrics, readiness: Readiness)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.uri().path(), &metrics, readiness.lacks());
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

// === impl Readiness ===

impl Readiness {
    /// What is missing. Who leads is ready when its caches are filled; who follows, when the API server has told it that another leads: a
    /// rollout to an operator that cannot reach it, or may not, must not take the last one that works.
    fn lacks(&self) -> Option<&'static str> {
        let standing = *self.standing.borrow();
        match standing.term {
            _ if !standing.known => Some("the API server has not answered about the lease yet"),
            Some(_) if !*self.filled.borrow() => Some("the caches are being filled"),
            _ => None,
        }
    }
}

fn answer(path: &str, metrics: &Metrics, lacks: Option<&str>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match path {
        "/livez" => (StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => match lacks {
            None => (StatusCode::OK, "text/plain", b"ok\n".to_vec()),
            Some(lacks) => {
                (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("not ready: {lacks}\n").into_bytes())
            }
        },
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics.text()),
        _ => (StatusCode::NOT_FOUND, "text/plain", b"there are /livez, /readyz and /metrics\n".to_vec()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
