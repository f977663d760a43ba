//! One kept HTTP/1.1 connection to a primary. Hyper's connection is driven by whoever asks, in place of a task of its own: nothing
//! is spawned, and dropping the question closes the socket.

use std::{
    future::Future,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use futures::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::error::ScrapeError;

/// Where every primary tells its stats.
const PATH: &str = "/v1/stats";
/// Longest body: a replica with a thousand workers stays below a quarter of it.
pub(super) const LONGEST_BODY: usize = 1 << 20;
/// Longest head of an answer.
const LONGEST_HEAD: usize = 16 << 10;
/// Most header lines of an answer.
const MOST_HEADERS: usize = 32;

/// What moves the bytes; it runs only while a question is under way, and ends with the connection.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that has answered and can be asked again.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Driver>,
}

/// One question or order.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// What came back, and the connection if it can be used again.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) connection: Option<Connection>,
}

/// Asks the primary at an address for its stats, all within the deadline.
pub(super) async fn ask(
    address: SocketAddr,
    kept: Option<Connection>,
    deadline: Instant,
) -> Result<(Bytes, Option<Connection>), ScrapeError> {
    let Reply { status, body, connection } = call(address, kept, &Call::get(PATH), deadline).await?;
    if status == StatusCode::OK { Ok((body, connection)) } else { Err(ScrapeError::Status(status)) }
}

/// One call to the primary at an address. A kept connection that turns out to be closed is replaced by a new one, once; but for an order, which
/// may have been carried out: its nonce is good for one, and what the primary was told it says at the next reading.
pub(super) async fn call(
    address: SocketAddr,
    kept: Option<Connection>,
    call: &Call,
    deadline: Instant,
) -> Result<Reply, ScrapeError> {
    let answer = async |connection: Connection| {
        timeout_at(deadline, connection.call(address, call)).await.unwrap_or(Err(ScrapeError::Timeout))
    };
    if let Some(connection) = kept {
        match answer(connection).await {
            Err(ScrapeError::Broken) if call.method == Method::GET => {}
            answer => return answer,
        }
    }
    // Nobody there is another matter than one who says nothing.
    let nobody = || Err(ScrapeError::Unreachable(ErrorKind::TimedOut));
    answer(timeout_at(deadline, Connection::open(address)).await.unwrap_or_else(|_| nobody())?).await
}

/// Whether a pod can be at an address. The API server says where pods are, and is not asked to be right: the operator's own host and
/// the cloud's metadata service are not to be had through it.
pub fn may_be_dialled(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified()),
    }
}

// === impl Connection ===

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, ScrapeError> {
        let stream = TcpStream::connect(address).await.map_err(|error| ScrapeError::Unreachable(error.kind()))?;
        Self::over(stream).await
    }

    /// Over a stream that is open.
    pub(super) async fn over<S>(stream: S) -> Result<Self, ScrapeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ScrapeError::Broken)?;
        // How it ended the question sees too.
        Ok(Self { sender, driver: Some(Box::pin(driver.map(drop))) })
    }

    pub(super) async fn call(self, address: SocketAddr, call: &Call) -> Result<Reply, ScrapeError> {
        let Self { mut sender, mut driver } = self;
        let (status, body) = {
            let exchange = exchange(&mut sender, address, call);
            tokio::pin!(exchange);
            loop {
                let Some(running) = driver.as_mut() else { break exchange.await? };
                tokio::select! {
                    biased;
                    answer = &mut exchange => break answer?,
                    // What arrived before the end is still to be read by the exchange; without a driver it ends by itself.
                    () = running => driver = None,
                }
            }
        };
        let open = driver.is_some() && !sender.is_closed();
        Ok(Reply { status, body, connection: open.then_some(Self { sender, driver }) })
    }
}

// === impl Call ===

impl Call {
    /// A question.
    pub(super) fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    address: SocketAddr,
    call: &Call,
) -> Result<(u16, Bytes), ScrapeError> {
    let broken = |_| ScrapeError::Broken;
    sender.ready().await.map_err(broken)?;
    let mut request = Request::builder().method(&call.method).uri(call.path).header(HOST, address.to_string());
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(call.body.clone())).map_err(|_| ScrapeError::Broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    body.map(|body| (status, body.to_bytes())).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            ScrapeError::TooLarge { limit: LONGEST_BODY }
        } else {
            ScrapeError::Broken
        }
    })
}
