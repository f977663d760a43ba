//! Primaries on loopback addresses of their own, good and bad, that count what is asked of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::ip;

/// How a primary behaves.
#[derive(Clone)]
pub(super) enum Behaviour {
    /// Answers with what the function makes of the number of the question, counted from 0.
    Answers(Arc<dyn Fn(u64) -> String + Send + Sync>),
    /// Answers once, and closes the connection without a word about it.
    ClosesAfterEach(Arc<dyn Fn(u64) -> String + Send + Sync>),
    /// Answers with these bytes, whole or not, and closes.
    Raw(Arc<[u8]>),
    /// Sends a byte of a good answer now and then, for ever.
    SlowLoris,
    /// Promises so many bytes and sends them.
    Huge(usize),
    /// Sends header lines for ever.
    EndlessHead,
    /// Accepts and is silent.
    Silent,
}

/// Primaries that end with this value.
pub(super) struct Primaries {
    pub(super) port: u16,
    tasks: JoinSet<()>,
}

/// What one primary saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicU64,
    pub(super) questions: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
}

// === impl Primaries ===

impl Primaries {
    /// No primary yet, and a port that was free just now on the first loopback address.
    pub(super) async fn new() -> Self {
        let port = TcpListener::bind((ip(1), 0)).await.unwrap().local_addr().unwrap().port();
        Self { port, tasks: JoinSet::new() }
    }

    /// A primary at 127.0.0.`host`.
    pub(super) async fn add(&mut self, host: u8, behaviour: Behaviour) -> Arc<Seen> {
        let seen = Arc::new(Seen::default());
        let listener = TcpListener::bind(SocketAddr::new(ip(host), self.port)).await.unwrap();
        self.tasks.spawn(serve(listener, behaviour, seen.clone()));
        seen
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A stats document with one worker and these fields beside.
pub(in super::super) fn document_with(fields: &str) -> String {
    let document = document(1000, 0);
    format!("{},{fields}}}", document.strip_suffix('}').unwrap())
}

/// A stats document with one worker.
pub(super) fn document(uptime_milliseconds: u64, usage_microseconds: u64) -> String {
    format!(
        r#"{{"version":1,"primaryVersion":"0.1.0","uptimeMilliseconds":{uptime_milliseconds},"state":"Serving","workers":{{"desired":1,"ready":1,"running":1,"restarts":0}},"deaths":{{"exited":0,"crashed":0,"neverReady":0,"outOfMemory":0}},"cpu":{{"usageMicroseconds":{usage_microseconds}}}}}"#
    )
}

/// A primary whose container uses so many thousandths of a processor; each answer is a second of its time after the last.
pub(super) fn using(millicores: u64) -> Behaviour {
    Behaviour::Answers(Arc::new(move |number| document(number * 1000, number * 1000 * millicores)))
}

/// An answer with this head line and body.
pub(super) fn raw(status: &str, headers: &str, body: &str) -> Behaviour {
    let length = body.len();
    Behaviour::Raw(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes().into())
}

async fn serve(listener: TcpListener, behaviour: Behaviour, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(converse(stream, behaviour.clone(), seen.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Ends when the other side does; what goes wrong in between is the client's business.
async fn converse(mut stream: TcpStream, behaviour: Behaviour, seen: Arc<Seen>) {
    while let Some(number) = question(&mut stream, &seen).await {
        let sent = match &behaviour {
            Behaviour::Answers(answer) => stream.write_all(&whole(&answer(number))).await,
            Behaviour::ClosesAfterEach(answer) => {
                let _ = stream.write_all(&whole(&answer(number))).await;
                return;
            }
            Behaviour::Raw(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
            Behaviour::SlowLoris => drip(&mut stream).await,
            Behaviour::Huge(length) => flood(&mut stream, *length, &seen).await,
            Behaviour::EndlessHead => endless_head(&mut stream, &seen).await,
            Behaviour::Silent => continue,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The number of the question, once its head is complete.
async fn question(stream: &mut TcpStream, seen: &Seen) -> Option<u64> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    assert!(text.starts_with("GET /v1/stats HTTP/1.1\r\n"), "{text}");
    Some(seen.questions.fetch_add(1, Ordering::SeqCst))
}

fn whole(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    for byte in whole(&document(1000, 1000)) {
        stream.write_all(&[byte]).await?;
        tokio::time::sleep(Duration::from_millis(100)).await; // being slow is the point
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream, length: usize, seen: &Seen) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await?;
    write_counted(stream, &[b' '; 8192], length / 8192, seen).await
}

async fn endless_head(stream: &mut TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
    write_counted(stream, b"x-more: and more and more and more and more and more\r\n", 1_000_000, seen).await
}

async fn write_counted(stream: &mut TcpStream, bytes: &[u8], times: usize, seen: &Seen) -> std::io::Result<()> {
    for _ in 0..times {
        stream.write_all(bytes).await?;
        seen.bytes_sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    }
    Ok(())
}
