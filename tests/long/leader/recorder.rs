//! A way to the API server that sees every write and who holds the Lease at that moment. It changes nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::Result;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::net::TcpListener;

/// What all recorders of a test write into.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

/// What was seen.
#[derive(Default)]
pub struct Entries {
    /// Who wrote its name into the Lease last, and was told that it is so.
    pub holder: Option<usize>,
    /// Writes other than those of the Lease: who and when.
    pub writes: Vec<(usize, Instant)>,
    /// Writes of one while another held the Lease.
    pub late: usize,
}

impl Ledger {
    /// What was seen until now.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the way for operator `who`.
    pub async fn record(&self, who: usize, upstream: Client) -> Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let ledger = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ledger, upstream) = (ledger.clone(), upstream.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (ledger, upstream) = (ledger.clone(), upstream.clone());
                        async move { Ok::<_, Infallible>(ledger.pass(who, request, &upstream).await) }
                    });
                    // A connection that its operator cuts off is what this test is about.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(address)
    }

    async fn pass(&self, who: usize, request: Request<Incoming>, upstream: &Client) -> Response<Body> {
        let failed = |code: StatusCode| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = code;
            response
        };
        let (mut parts, body) = request.into_parts();
        // Only a request that is whole is one.
        let Ok(body) = body.collect().await else { return failed(StatusCode::BAD_REQUEST) };
        let body = body.to_bytes();
        let (writes, lease) = (parts.method != Method::GET, parts.uri.path().contains("/leases"));
        if writes && !lease {
            let mut entries = self.entries();
            entries.writes.push((who, Instant::now()));
            if let Some(holder) = entries.holder.filter(|holder| *holder != who) {
                entries.late += 1;
                println!("late: {who} wrote {} {} while {holder} led", parts.method, parts.uri.path());
            }
        }
        parts.headers.remove(http::header::HOST);
        let holder = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|lease| Some(lease["spec"]["holderIdentity"].as_str()?.to_owned()));
        match upstream.send(Request::from_parts(parts, Body::from(body))).await {
            Ok(response) => {
                if writes && lease && response.status().is_success() {
                    self.entries().holder = holder.filter(|name| !name.is_empty()).map(|_| who);
                }
                response
            }
            Err(_) => failed(StatusCode::BAD_GATEWAY),
        }
    }
}
