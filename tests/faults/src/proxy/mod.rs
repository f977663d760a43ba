//! A proxy between the operator and the real API server: passes everything on, watches line by line, and does to each call what the
//! plan says.

mod answer;
mod controls;
mod snapshot;
mod state;
mod stream;
mod watch;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use answer::{Aborted, Reply, close, refusal, whole};
use anyhow::Result;
pub use controls::{Controls, Stale};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body};
pub use state::{Noise, Seen, State};
use stream::Line;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{
    call::{Call, Verb},
    fault::Action,
    operator::{Life, Trigger},
};

/// A call that hangs is let go after this time; the operator has given up long before.
const HANG: Duration = Duration::from_secs(120);
/// Between a call that is sent on twice and its second.
const AGAIN: Duration = Duration::from_millis(5);

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does, and what it has seen.
    pub state: Arc<State>,
    /// What applies to all calls.
    pub controls: Arc<Controls>,
    task: JoinHandle<()>,
}

/// What every call needs.
#[derive(Clone)]
struct Shared {
    client: Client,
    state: Arc<State>,
    controls: Arc<Controls>,
    trigger: Trigger,
}

// === impl Proxy ===

impl Proxy {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn start(client: Client, trigger: Trigger) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (state, controls) = (Arc::new(State::default()), Arc::new(Controls::new(client.clone())));
        let shared = Shared { client, state: state.clone(), controls: controls.clone(), trigger };
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { address, state, controls, task })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client of the real API server that does nothing by itself: no retries, no time-outs.
///
/// # Errors
/// Where there is no cluster.
pub async fn client() -> Result<Client> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    config.read_timeout = None;
    config.write_timeout = None;
    Ok(Client::try_from(config)?)
}

async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, shared.clone()))),
                Err(error) => eprintln!("proxy: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Shared) {
    let life = shared.trigger.life();
    let _ = stream.set_nodelay(true);
    let connection = Line::new(stream);
    let reset = connection.reset();
    let service = service_fn(move |request| {
        let (shared, reset) = (shared.clone(), reset.clone());
        async move {
            let reply = shared.handle(life, request).await;
            if matches!(reply, Err(Aborted::Reset)) {
                reset.set();
            }
            reply
        }
    });
    // An error here is a connection that was closed on purpose, or by the operator's end.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

// === impl Shared ===

impl Shared {
    async fn handle(&self, life: Life, request: Request<Incoming>) -> Result<Reply, Aborted> {
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let query = parts.uri.query().unwrap_or_default();
        let call = Call::read(&parts.method, parts.uri.path(), query, content_type.unwrap_or_default());
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return close() };
        if self.trigger.is_over(life) {
            return close();
        }
        let (seen, action) = self.state.decide(&call);
        if let Some(stale) = self.controls.stale_answer(&call, &parts.uri) {
            self.state.done(seen, "stale");
            return Ok(stale);
        }
        let reply = self.act(life, &call, action, &parts, body).await;
        self.state.done(
            seen,
            &match (&reply, action) {
                (_, Some(action)) => action.to_string(),
                (Ok(reply), None) => reply.status().as_str().to_owned(),
                (Err(_), None) => "broken".to_owned(),
            },
        );
        reply
    }

    async fn act(
        &self,
        life: Life,
        call: &Call,
        action: Option<Action>,
        parts: &http::request::Parts,
        body: Bytes,
    ) -> Result<Reply, Aborted> {
        match action {
            None => self.pass(life, call, parts, body).await,
            // The last ones are a watch's lines' own; at a call they mean its connection.
            Some(Action::Drop | Action::Repeat | Action::Cut | Action::Tear | Action::Replay | Action::Expire) => {
                close()
            }
            Some(Action::Hang) => hang().await,
            Some(Action::Delay(time) | Action::Freeze(time)) => {
                tokio::time::sleep(time).await;
                // What was killed meanwhile has sent it long before: it gets there all the same, as a late packet does.
                self.pass(life, call, parts, body).await
            }
            Some(Action::Refuse(code)) => Ok(refusal(code)),
            Some(Action::Reset) => {
                let _ = self.whole(call, parts, body).await;
                Err(Aborted::Reset)
            }
            Some(Action::Swallow) => {
                let _ = self.whole(call, parts, body).await;
                hang().await
            }
            Some(Action::Garble(code)) => {
                let _ = self.whole(call, parts, body).await;
                Ok(refusal(code))
            }
            Some(Action::Duplicate) => {
                let first = self.whole(call, parts, body.clone()).await;
                tokio::time::sleep(AGAIN).await;
                let _ = self.whole(call, parts, body).await;
                first
            }
            Some(Action::Second) => {
                let _ = self.whole(call, parts, body.clone()).await;
                tokio::time::sleep(AGAIN).await;
                self.whole(call, parts, body).await
            }
            Some(Action::CrashBefore) => {
                self.trigger.kill(life);
                close()
            }
            Some(Action::CrashUnanswered) => {
                let _ = self.whole(call, parts, body).await;
                self.trigger.kill(life);
                close()
            }
            Some(Action::CrashAfter) => {
                let reply = self.whole(call, parts, body).await?;
                let trigger = self.trigger.clone();
                trigger.close(life);
                Ok(answer::then(reply, move || trigger.kill(life)))
            }
        }
    }

    /// Passes on; a watch goes on as a stream.
    async fn pass(&self, life: Life, call: &Call, parts: &http::request::Parts, body: Bytes) -> Result<Reply, Aborted> {
        if call.verb != Verb::Watch {
            return self.whole(call, parts, body).await;
        }
        let response = self.send(parts, body).await?;
        if response.status() != StatusCode::OK {
            return collected(response).await;
        }
        Ok(watch::pump(self.clone(), life, call.class.clone(), response))
    }

    /// Passes on and waits for the whole answer; of a watch only its head is waited for.
    async fn whole(&self, call: &Call, parts: &http::request::Parts, body: Bytes) -> Result<Reply, Aborted> {
        let response = self.send(parts, body).await?;
        if call.verb == Verb::Watch {
            return Ok(whole(response.status(), Bytes::new()));
        }
        let reply = collected(response).await?;
        self.state.changed(call, &reply);
        Ok(reply)
    }

    async fn send(&self, parts: &http::request::Parts, body: Bytes) -> Result<Response<Body>, Aborted> {
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::builder().method(parts.method.clone()).uri(path);
        for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(body.to_vec())).map_err(|_| Aborted::Closed)?;
        self.client.send(request).await.map_err(|error| {
            eprintln!("proxy: {} {path}: {error}", parts.method);
            Aborted::Closed
        })
    }
}

async fn collected(response: Response<Body>) -> Result<Reply, Aborted> {
    let status = response.status();
    let body = response.into_body().collect_bytes().await.map_err(|_| Aborted::Closed)?;
    Ok(whole(status, body))
}

async fn hang() -> Result<Reply, Aborted> {
    tokio::time::sleep(HANG).await;
    close()
}
