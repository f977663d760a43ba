//! What clients and workers send, from any bytes: what is passed on is read by another program (hyper) as exactly the messages that were read here.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::Body;
use super::download::Download;
use super::http::{Forwarder, Paths, Read, Request};

/// More than the fields that are let in and those that are added.
const FIELDS: usize = 256;

/// A message as it was read here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    /// Its method and target, or its status.
    line: String,
    body: Vec<u8>,
}

fn by(paths: &Paths) -> Forwarder<'_> {
    let client = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 4711));
    Forwarder { client, written: b"", trusts: true, peers: &[], together: paths, cookie: Some("worker") }
}

/// Requests one after the other on a connection. The first byte says in what pieces they come, on which nothing may depend.
pub fn requests(data: &[u8]) {
    let (piece, data) = data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first), rest));
    let piece = in_time(piece, data);
    let (messages, passed_on) = read_all(data, data.len().max(1));
    assert_eq!((messages.clone(), passed_on.clone()), read_all(data, piece), "in pieces of {piece}");
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let heard = runtime.block_on(heard(&passed_on));
    // Where hyper takes less than we do it has refused something, and nothing is lost but that request.
    assert!(heard.len() <= messages.len(), "{} requests became {}: {heard:?}", messages.len(), heard.len());
    for (ours, its) in messages.iter().zip(&heard) {
        assert_eq!(ours, its);
    }
}

/// A head is read from its beginning with each piece: a long one comes in larger pieces.
fn in_time(piece: usize, data: &[u8]) -> usize {
    piece.max(data.len() / 1024).max(1)
}

/// The requests that came in pieces of this length, and what workers were sent for them; up to the first that is none.
fn read_all(data: &[u8], piece: usize) -> (Vec<Message>, Vec<u8>) {
    let paths = Paths::new(vec!["/*".to_string()]);
    let (mut inbox, mut coming) = (BytesMut::new(), data.chunks(piece));
    let (mut messages, mut passed_on) = (Vec::new(), Vec::new());
    'connection: loop {
        let mut head = Vec::new();
        let request = loop {
            match Request::parse(&inbox, by(&paths), &mut head) {
                Err(_) => break 'connection,
                Ok(Read::Whole(request)) => break request,
                Ok(Read::Partial) => match coming.next() {
                    Some(more) => inbox.extend_from_slice(more),
                    None => break 'connection,
                },
            }
        };
        let _ = inbox.split_to(request.read);
        let (mut body, mut raw) = (Body::new(request.body), Vec::new());
        let mut plain = (Body::new(request.body), Vec::new());
        while !body.is_done() {
            let Ok(taken) = body.take(&inbox) else { break 'connection };
            let part = inbox.split_to(taken);
            raw.extend_from_slice(&part);
            assert_eq!(plain.0.take_data(&part, &mut plain.1), Ok(taken), "both ways of reading it are one");
            if !body.is_done() {
                match coming.next() {
                    Some(more) => inbox.extend_from_slice(more),
                    None => break 'connection,
                }
            }
        }
        let text = String::from_utf8_lossy(&head);
        let mut words = text.split(' ');
        let line = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
        messages.push(Message { line, body: plain.1 });
        passed_on.extend_from_slice(&head);
        passed_on.extend_from_slice(&raw);
        // A worker of another protocol, or one that closes, reads no further.
        if request.upgrades || !request.persists {
            break;
        }
    }
    (messages, passed_on)
}

/// The requests that hyper reads from these bytes.
async fn heard(bytes: &[u8]) -> Vec<Message> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let (mut ours, theirs) = tokio::io::duplex(bytes.len() + 1024);
    let noted = all.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let noted = noted.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            if let Ok(body) = request.into_body().collect().await {
                let message = Message { line, body: body.to_bytes().to_vec() };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_headers(FIELDS).max_buf_size(1 << 20).pipeline_flush(false);
    let serving = builder.serve_connection(TokioIo::new(theirs), service);
    let sending = async move {
        let _ = ours.write_all(bytes).await;
        let _ = ours.shutdown().await;
        let _ = tokio::io::copy(&mut ours, &mut tokio::io::sink()).await;
    };
    let _ = tokio::join!(serving, sending);
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.clone()
}

/// Requests that answers are read for: what a body is depends on them.
const ASKED: [&str; 4] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
];

/// A worker's answer. The first byte says to what, and the second in what pieces it comes.
pub fn answer(data: &[u8]) {
    let [which, piece, data @ ..] = data else { return };
    let paths = Paths::none();
    let asked = ASKED[usize::from(*which) % ASKED.len()];
    let read = Request::parse(asked.as_bytes(), by(&paths), &mut Vec::new());
    assert!(matches!(read, Ok(Read::Whole(_))), "{asked} is a request");
    let Ok(Read::Whole(request)) = read else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let pass = |piece| runtime.block_on(passed_to_client(data, piece, &request));
    let whole = pass(data.len().max(1));
    let pieces = pass(in_time(usize::from(*piece), data));
    assert_eq!(whole.is_some(), pieces.is_some(), "it is an answer, or none, however it comes");
    let (Some(whole), Some(pieces)) = (whole, pieces) else { return };
    // In chunks of our own they are framed as they came.
    assert!(whole == pieces || request.minor == 1, "in pieces of {piece}");
    let [one, other] = [whole, pieces].map(|bytes| runtime.block_on(understood(&bytes, &request)));
    assert_eq!(one, other, "a client reads the same");
    let switches = data.windows(4).any(|four| four == b" 101");
    assert!(one.is_some() || switches, "hyper takes it for an answer: {:?}", String::from_utf8_lossy(data));
}

/// What the client is sent for an answer that came in such pieces and then ended; nothing where it is none, or breaks off.
async fn passed_to_client(data: &[u8], piece: usize, request: &Request) -> Option<Vec<u8>> {
    let mut download = Download::new(BytesMut::new(), b"set-cookie: ours=1\r\n".to_vec());
    let mut sent = Vec::new();
    for part in data.chunks(piece) {
        if !download.has_room() {
            break; // it has come as a whole
        }
        download.inbox.extend_from_slice(part);
        download.take(request, false).ok()?;
        std::future::poll_fn(|cx| download.poll(&mut sent, cx)).await.ok()?;
    }
    if !download.is_done() {
        download.end(request, false).ok()?;
        std::future::poll_fn(|cx| download.poll(&mut sent, cx)).await.ok()?;
    }
    assert!(download.is_done(), "all of it came, and was sent");
    Some(sent)
}

/// What hyper takes from these bytes as the answer to that request.
async fn understood(bytes: &[u8], request: &Request) -> Option<Message> {
    let (mut ours, theirs) = tokio::io::duplex(bytes.len() + (64 << 10));
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(FIELDS).max_buf_size(1 << 20);
    let (mut sender, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(theirs)).await.ok()?;
    let answering = async {
        let mut head = [0; 4096];
        let _ = ours.read(&mut head).await;
        let _ = ours.write_all(bytes).await;
        let _ = ours.shutdown().await;
        let _ = tokio::io::copy(&mut ours, &mut tokio::io::sink()).await;
    };
    let asking = async {
        let method = if request.method == super::http::Method::Head { "HEAD" } else { "GET" };
        let asked = hyper::Request::builder().method(method).uri("/").header("host", "a").body(Full::default()).ok()?;
        let answer = sender.send_request(asked).await.ok()?;
        let line = answer.status().as_u16().to_string();
        let body = answer.into_body().collect().await.ok()?.to_bytes().to_vec();
        drop(sender);
        Some(Message { line, body })
    };
    let (said, _, ()) = tokio::join!(asking, connection, answering);
    said
}
