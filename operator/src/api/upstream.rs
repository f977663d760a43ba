//! How the API server is reached: one client for a term of leadership, in which every request that is not a read goes over fenced
//! connections whoever makes it (calls, events), and one for the Lease, which waits behind neither.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connection, HttpConnector},
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body as RequestBody, ClientBuilder, ConfigExt},
};
use tokio::time::timeout;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use super::{
    CALL_DEADLINE, READ_TIMEOUT,
    answer::{self, Body},
    fenced::Fenced,
    limit::Limit,
    traffic::Traffic,
    watched::{self, Paces, Watched},
};
use crate::leader::Pass;

/// The API server, and what is known about reaching it.
#[derive(Clone)]
pub struct Upstream {
    config: Config,
    traffic: Traffic,
    events: Limit,
    /// How long a byte that was sent may stay unacknowledged on a fenced connection.
    unacknowledged: Duration,
}

type Http = BoxCloneSyncService<Request<RequestBody>, Response<Body>, BoxError>;

/// Chooses the way of each request.
#[derive(Clone)]
struct Route {
    reads: Http,
    writes: Http,
    traffic: Traffic,
    events: Limit,
    paces: Paces,
}

/// An idle connection whose peer has vanished is known as dead after 10 + 3 x 5 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Events are told at this pace at the most; those that would wait for too long are dropped by who tells them.
const EVENTS_PER_SECOND: u32 = 20;
const EVENTS_BURST: u32 = 200;

// === impl Upstream ===

impl Upstream {
    /// Finds the API server by the pod's service account, or by a kubeconfig. `margin` is the time between the last moment at which this
    /// operator writes and the first at which another may.
    ///
    /// # Errors
    /// Where neither is to be had.
    pub async fn infer(traffic: Traffic, margin: Duration) -> anyhow::Result<Self> {
        let mut config = Config::infer().await?;
        anyhow::ensure!(config.proxy_url.is_none(), "the kubeconfig asks for a proxy, which this operator cannot use");
        config.headers.push((
            http::header::USER_AGENT,
            HeaderValue::from_static(concat!("workercluster-operator/", env!("CARGO_PKG_VERSION"))),
        ));
        let events = Limit::new(EVENTS_PER_SECOND, EVENTS_BURST);
        Ok(Self { config, traffic, events, unacknowledged: margin / 2 })
    }

    /// The client of a term: what it writes passes the fence while it leaves.
    ///
    /// # Errors
    /// Where the certificates or credentials cannot be used.
    pub fn client(&self, pass: Pass) -> anyhow::Result<Client> {
        let route = Route {
            reads: self.http(tcp(KEEPALIVE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES))?,
            // What the kernel has taken it sends again and again while the network is away: it must give up before another leads.
            writes: self.http(Fenced::new(tcp(self.unacknowledged), pass))?,
            traffic: self.traffic.clone(),
            events: self.events.clone(),
            paces: Paces::default(),
        };
        self.stack(route)
    }

    /// The client of the Lease, with connections of its own.
    ///
    /// # Errors
    /// Where the certificates or credentials cannot be used.
    pub fn lease_client(&self, deadline: Duration) -> anyhow::Result<Client> {
        self.stack(self.http(tcp(deadline))?)
    }

    fn stack<S>(&self, service: S) -> anyhow::Result<Client>
    where
        S: Service<Request<RequestBody>, Response = Response<Body>, Error = BoxError> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .option_layer(self.config.auth_layer().context("credentials")?)
            .layer(self.config.extra_headers_layer()?)
            .service(service);
        Ok(ClientBuilder::new(service, self.config.default_namespace.clone()).build())
    }

    fn http<C>(&self, connector: C) -> anyhow::Result<Http>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: std::error::Error + Send + Sync + 'static,
    {
        let connector = self.config.rustls_https_connector_with_connector(connector).context("certificates")?;
        let mut connector = TimeoutConnector::new(connector);
        connector.set_connect_timeout(Some(CALL_DEADLINE));
        connector.set_read_timeout(Some(READ_TIMEOUT));
        let client = legacy::Builder::new(TokioExecutor::new()).build::<_, RequestBody>(connector);
        let client = client
            .map_response(|response: Response<hyper::body::Incoming>| {
                response.map(|body| body.map_err(BoxError::from).boxed_unsync())
            })
            .map_err(BoxError::from);
        Ok(BoxCloneSyncService::new(client))
    }
}

fn tcp(unacknowledged: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp.set_tcp_user_timeout(Some(unacknowledged));
    tcp
}

// === impl Route ===

impl Service<Request<RequestBody>> for Route {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // a hyper client always is
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let route = self.clone();
        Box::pin(async move {
            let watched = watched::resource(request.uri()).map(str::to_owned);
            let reads = request.method() == Method::GET;
            let answered = match watched {
                _ if !reads => route.write(request).await,
                Some(resource) => route.watch(request, resource).await,
                None => route.read(request).await,
            };
            match answered {
                Ok(response) => answer::with_retry_after(response).await,
                Err(error) => Err(error),
            }
        })
    }
}

impl Route {
    /// A read changes nothing, so it may be asked twice: once more, at once, where the connection broke under it, as all of them do when
    /// the API server starts anew. Where none can be made, or an answer came, it is not repeated.
    async fn read(self, request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let again = body.try_clone().map(|body| Request::from_parts(parts.clone(), body));
        let outcome = self.answered(Request::from_parts(parts, body)).await;
        let broke_off = outcome.as_ref().is_err_and(|error| !never_sent(&**error));
        match again.filter(|_| broke_off) {
            Some(again) => {
                self.traffic.read_again();
                self.answered(again).await
            }
            None => outcome,
        }
    }

    /// The head of an answer, also of a watch's, comes at once or never. Nobody else sets a deadline to the list that a watch begins with: a
    /// lost one would keep an operator that begins from deciding anything for as long as a silent connection is borne.
    async fn answered(&self, request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
        timeout(CALL_DEADLINE, self.reads.clone().oneshot(request)).await?
    }

    async fn watch(self, request: Request<RequestBody>, resource: String) -> Result<Response<Body>, BoxError> {
        let turn = self.paces.turn(request.uri().path());
        turn.await;
        let traffic = self.traffic.clone();
        let answered = match self.read(request).await {
            Ok(response) => answer::with_gone_as_event(response).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(response) if response.status().is_success() => {
                Ok(response.map(|body| Watched::new(body, resource, traffic).boxed_unsync()))
            }
            refused => {
                traffic.watch_ended(&resource, "refused");
                refused
            }
        }
    }

    async fn write(self, request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
        if request.uri().path().starts_with("/apis/events.k8s.io/") {
            let waited = self.events.turn().await;
            self.traffic.throttled("events", waited);
        }
        self.writes.clone().oneshot(request).await
    }
}

/// Whether no byte of a request can have reached the API server: no connection was made.
pub fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect))
}
