//! Clients: each request of a connection in turn gets a worker, and its answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::answer::{Answer, HTTP2_REFUSAL};
use super::client::Client;
use super::desk::{Arriving, Desk};
use super::http::{Flaw, Forwarder, Method, Read, Request};
use super::lead::{Next, lead};
use super::pool::Pool;

/// A head has to come within this time from its first byte (nginx has 60 s, haproxy's example 5).
const HEAD_TIME: Duration = Duration::from_secs(15);

/// A connection may be idle for so long between two requests; longer than the usual minute of those in front of it, so that they end it and not we.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// And for so long before its first.
const FIRST_TIME: Duration = Duration::from_secs(15);

/// So long a client that has just connected may take to send its request when connections are to end.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// So long a client that is sent away may take to read why.
const LINGER: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Debug)]
pub struct Front {
    pub desk: Desk,
    pub pool: RefCell<Pool>,
    /// Whether what came before us says who the client is.
    pub trusts: bool,
    /// Told when connections are to end.
    pub closing: Notify,
    /// They are.
    pub closes: Cell<bool>,
    /// Told when somebody waits for a connection to end; an idle one does.
    pub crowded: Notify,
}

impl Front {
    pub fn new(desk: Desk, trusts: bool) -> Rc<Self> {
        Rc::new(Self {
            desk,
            pool: RefCell::default(),
            trusts,
            closing: Notify::new(),
            closes: Cell::new(false),
            crowded: Notify::new(),
        })
    }
}

/// Serves one connection to its end.
pub async fn serve(front: Rc<Front>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let mut client = Client::new(stream, peer);
    let mut arriving = Some(front.desk.arrives());
    loop {
        client.skip_empty_lines();
        if client.inbox.is_empty() {
            client.inbox = BytesMut::new(); // ten thousand idle connections need no memory
            arriving = arriving.filter(|_| client.is_new);
            if !is_asked(&front, &client).await {
                return;
            }
        }
        let arrives = arriving.take().unwrap_or_else(|| front.desk.arrives());
        match next(&front, &mut client, arrives).await {
            Next::Another => {}
            Next::End => return,
            Next::Linger => return dismiss(client, &[]).await,
            Next::Reset => {
                // Else an answer that ends with its connection would look whole.
                let _ = sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO));
                return;
            }
            Next::Told(words) => return dismiss(client, &words).await,
        }
        client.is_new = false;
    }
}

/// Waits for the first byte of a request. Says whether one came.
async fn is_asked(front: &Front, client: &Client) -> bool {
    let closing = front.closing.notified();
    let patience = if client.is_new { FIRST_TIME } else { IDLE_TIME };
    if !front.closes.get() {
        tokio::select! {
            biased;
            readable = timeout(patience, client.stream.readable()) => return matches!(readable, Ok(Ok(()))),
            () = front.crowded.notified() => return false,
            () = closing => {}
        }
    }
    // Who has just connected sends its request at any moment; who has had an answer can go elsewhere with the next.
    client.is_new && timeout(LAST_GRACE, client.stream.readable()).await.is_ok_and(|readable| readable.is_ok())
}

/// Reads a request and has it answered.
async fn next(front: &Front, client: &mut Client, arriving: Arriving) -> Next {
    let mut head = Vec::with_capacity(512);
    let request = match timeout(HEAD_TIME, read(client, front.trusts, &mut head)).await {
        Ok(Ok(Some(request))) => request,
        // Only empty lines came, or nothing.
        Ok(Ok(None)) => return Next::End,
        Ok(Err(flaw)) => return told(Answer::Bad(flaw), false),
        Err(_) => return told(Answer::Slow, false),
    };
    match lead(front, client, &request, head, arriving).await {
        Ok(next) => next,
        // Its body has come, and the next request can follow.
        Err((why, true)) if request.persists && !front.closes.get() => {
            let mut words = Vec::new();
            why.write(false, request.method == Method::Head, &mut words);
            let sent = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &words).await;
            if sent.is_ok() { Next::Another } else { Next::End }
        }
        Err((why, _)) => told(why, request.method == Method::Head),
    }
}

/// Reads the next request's head. `None` where the client has gone.
async fn read(client: &mut Client, trusts: bool, head: &mut Vec<u8>) -> Result<Option<Request>, Flaw> {
    let by = Forwarder { client: client.peer, trusts };
    loop {
        if let Read::Whole(request) = Request::parse(&client.inbox, by, head)? {
            client.inbox.advance(request.read);
            return Ok(Some(request));
        }
        match client.read().await {
            Ok(1..) => {}
            _ => return Ok(None),
        }
    }
}

fn told(why: Answer, headless: bool) -> Next {
    let mut words = Vec::new();
    match why {
        Answer::Bad(Flaw::Http2) => words.extend_from_slice(HTTP2_REFUSAL),
        _ => why.write(true, headless, &mut words),
    }
    Next::Told(words)
}

/// Sends the last words, and ends the connection so that they arrive.
async fn dismiss(client: Client, words: &[u8]) {
    let _ = timeout(LINGER, client.dismiss(words)).await;
}
