//! Clients: each request of a connection in turn gets a worker, and its answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::affinity::Affinity;
use super::answer::{Answer, HTTP2_REFUSAL};
use super::client::Client;
use super::desk::{Arriving, Desk};
use super::http::{Flaw, Forwarder, Hop, Length, MAX_HEAD, Method, Paths, ROOM, Read, Request};
use super::lead::{Next, lead};
use super::pool::Pool;
use super::stream::Stream;
use super::table::PeerId;
use super::together::{ALL_SHARED_KIB, Flights};

/// A head has to come within this time from its first byte (nginx has 60 s, haproxy's example 5).
const HEAD_TIME: Duration = Duration::from_secs(15);

/// A connection may be idle for so long between two requests; longer than the usual minute of those in front of it, so that they end it and not we.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// And for so long before its first.
const FIRST_TIME: Duration = Duration::from_secs(15);

/// A connection that has not asked for anything gives way to others after so long.
const SILENT: Duration = Duration::from_secs(1);

/// So long a client may take to send one more request when connections are to end: its bytes may be on their way, and a connection that ends while
/// they are costs it the request.
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
    /// Told when idle ones are to end as well.
    pub closing: Notify,
    /// They are.
    pub ends: Cell<bool>,
    /// Told when somebody waits for a connection to end; an idle one does.
    pub crowded: Notify,
    /// Whether one has no room at the moment; taken back by whoever gives way for it.
    pub wanting: Cell<bool>,
    /// Whether clients come back to their worker.
    pub affinity: Option<Affinity>,
    /// Requests for these may be answered together.
    pub together: Paths,
    /// Whether they may also where the answer sets a cookie, or is for one.
    pub shares_credentials: bool,
    pub flights: Flights,
    /// KiB that answers may still take which are kept for several clients, or wait for one that does not read.
    pub answers: Arc<Semaphore>,
    /// KiB that bodies which are kept, or on their way, may still take.
    pub bodies: Arc<Semaphore>,
    /// Replicas that could not be reached, and when.
    pub shunned: RefCell<BTreeMap<PeerId, Instant>>,
    /// When there were more replicas than before: connections that are older end with an answer, so that they spread anew.
    pub spread: Cell<Option<Instant>>,
}

/// All bodies that are kept take so much memory at the most: some 1000 whole ones. More than that flow to their workers.
const BODIES_KIB: usize = 80 * 1024;

/// A head that is longer than this takes its part of that memory while it comes.
const HEAD_FREE: usize = 4 * 1024;

/// A replica that could not be reached is not tried for so long.
const SHUNNED: Duration = Duration::from_secs(1);

/// A client that takes longer over a few words is let go.
const WORDS_TIME: Duration = Duration::from_secs(15);

/// After a replica has come, connections end after this time, spread over that one; not at once, since whoever balances between replicas has to know of it first.
const SPREAD: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));

impl Front {
    pub fn new(desk: Desk, trusts: bool) -> Self {
        Self {
            desk,
            pool: RefCell::default(),
            trusts,
            closing: Notify::new(),
            ends: Cell::new(false),
            crowded: Notify::new(),
            wanting: Cell::new(false),
            affinity: None,
            together: Paths::none(),
            shares_credentials: false,
            flights: Flights::default(),
            answers: Arc::new(Semaphore::new(ALL_SHARED_KIB)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            shunned: RefCell::default(),
            spread: Cell::new(None),
        }
    }

    /// Memory for so many bytes of an answer that has come and waits for its client alone. `None` where others have all of it.
    pub fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.answers.clone().try_acquire_many_owned(kib).ok()
    }

    pub fn shun(&self, peer: &PeerId) {
        let mut shunned = self.shunned.borrow_mut();
        shunned.retain(|_, since| since.elapsed() < SHUNNED);
        shunned.insert(peer.clone(), Instant::now());
    }

    pub fn is_shunned(&self, peer: &PeerId) -> bool {
        self.shunned.borrow().get(peer).is_some_and(|since| since.elapsed() < SHUNNED)
    }

    /// Whether a connection is to end with its next answer, so that its client finds one of the replicas that came.
    fn is_to_spread(&self, client: &Client, since: Instant) -> bool {
        let Some(spread) = self.spread.get().filter(|spread| *spread > since) else { return false };
        // Each at another time, by its port; not all that have one at once.
        let share = u32::from(client.peer.port().wrapping_mul(40_503)) * 1000 / (u32::from(u16::MAX) + 1);
        spread.elapsed() >= SPREAD.0 + SPREAD.1 * share / 1000
    }
}

/// Serves one connection to its end.
pub async fn serve(front: Rc<Front>, stream: TcpStream, peer: SocketAddr) {
    let since = Instant::now();
    let mut client = Client::new(Stream::Tcp(stream), peer);
    let mut arriving = Some(front.desk.arrives());
    loop {
        client.skip_empty_lines();
        if client.inbox.is_empty() {
            client.inbox = BytesMut::new(); // ten thousand idle connections need no memory
            arriving = arriving.filter(|_| client.is_new);
            if !is_asked(&front, &mut client).await {
                return;
            }
        }
        client.is_last = front.is_to_spread(&client, since);
        let arrives = arriving.take().unwrap_or_else(|| front.desk.arrives());
        match next(&front, &mut client, arrives).await {
            Next::Another => {}
            Next::End => return,
            Next::Linger => return dismiss(client, &[]).await,
            Next::Reset => {
                // Else an answer that ends with its connection would look whole.
                client.stream.end_hard();
                return;
            }
            Next::Told(words) => return dismiss(client, &words).await,
        }
        client.is_new = false;
    }
}

/// Waits for the first bytes of a request, and reads them. Says whether any came.
async fn is_asked(front: &Front, client: &mut Client) -> bool {
    let (closing, is_new) = (front.closing.notified(), client.is_new);
    let patience = if client.is_new { FIRST_TIME } else { IDLE_TIME };
    if !front.ends.get() {
        let since = Instant::now();
        let comes = std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = client.poll_read(cx) {
                return Poll::Ready(matches!(read, Ok(1..)));
            }
            match client.rhythm.poll(cx) {
                Poll::Ready(()) if since.elapsed() >= patience => Poll::Ready(false),
                _ => Poll::Pending,
            }
        });
        tokio::select! {
            biased;
            came = comes => return came,
            () = crowded(front, since, is_new) => return false,
            () = closing => {}
        }
    }
    // Workers stay for what may still come.
    let _arriving = front.desk.arrives();
    matches!(timeout(LAST_GRACE, client.read()).await, Ok(Ok(1..)))
}

/// Waits, without a request, until somebody has no room: the first of those that wait so gives way. One that has just come may be about to ask.
async fn crowded(front: &Front, since: Instant, is_new: bool) {
    loop {
        if front.wanting.get() {
            let left = if is_new { SILENT.saturating_sub(since.elapsed()) } else { Duration::ZERO };
            if !left.is_zero() {
                tokio::time::sleep(left).await;
            }
            if front.wanting.replace(false) {
                return;
            }
        }
        front.crowded.notified().await;
    }
}

/// Reads a request and has it answered.
async fn next(front: &Rc<Front>, client: &mut Client, arriving: Arriving) -> Next {
    let mut head = Vec::with_capacity(512);
    // Most heads are here as a whole, and need no clock.
    let whole = parse(client, front, &mut head).map(Read::whole).transpose();
    let read = match whole {
        Some(whole) => Ok(whole.map(Some)),
        None => timeout(HEAD_TIME, read(client, front, &mut head)).await,
    };
    let request = match read {
        Ok(Ok(Some(request))) => request,
        // Only empty lines came, or nothing.
        Ok(Ok(None)) => return Next::End,
        Ok(Err(why)) => return told(front, why, false),
        Err(_) => return told(front, Answer::Slow, false),
    };
    let came = match request.hop {
        // Only another replica may say so; one that is not known here is told at once that this is the wrong place.
        Some(Hop::Foreign) => Err((Answer::NoRoom, false)),
        Some(Hop::Ask) if request.body != Length::None => Err((Answer::NoRoom, false)),
        Some(Hop::Ask) => return tell_room(front, client).await,
        _ => lead(front, client, &request, head, arriving).await,
    };
    match came.map_err(|(why, whole)| (if request.hop.is_some() { why.to_peer() } else { why }, whole)) {
        Ok(next) => next,
        // Its body has come, and the next request can follow.
        Err((why, true)) if request.persists && request.minor > 0 && !front.desk.closes() && !client.is_last => {
            let mut words = Vec::new();
            front.desk.count(|counts| why.count(&mut counts.told));
            why.write(false, request.method == Method::Head, &mut words);
            sent(client, &words).await
        }
        Err((why, _)) => told(front, why, request.method == Method::Head),
    }
}

/// Tells another replica how many of its requests could be taken now.
async fn tell_room(front: &Front, client: &mut Client) -> Next {
    // One that is to end has none, and stays: whoever asks may have a request for one of its workers. The answer to that ends the connection.
    let room = if front.desk.closes() { 0 } else { front.desk.room() };
    // With its UID, so that who asks sees that its list is right: an address may be another pod's by now.
    // Who goes on asking would hold the door open.
    client.greetings = client.greetings.saturating_add(1);
    let ends = client.greetings > 1 && front.ends.get();
    let close = if ends { "connection: close\r\n" } else { "" };
    let words = format!("HTTP/1.1 204 No Content\r\n{ROOM}: {room} {}\r\n{close}\r\n", front.desk.own());
    let next = sent(client, words.as_bytes()).await;
    if ends { Next::End } else { next }
}

async fn sent(client: &mut Client, words: &[u8]) -> Next {
    let sends = tokio::io::AsyncWriteExt::write_all(&mut client.stream, words);
    if matches!(timeout(WORDS_TIME, sends).await, Ok(Ok(()))) { Next::Another } else { Next::End }
}

/// Reads a head from what is here, where it is whole.
fn parse(client: &mut Client, front: &Front, head: &mut Vec<u8>) -> Result<Read<Request>, Answer> {
    let peers = front.desk.peers_at(client.peer.ip());
    let by = Forwarder {
        client: client.peer,
        written: &client.written,
        trusts: front.trusts,
        peers: &peers,
        together: &front.together,
        cookie: front.affinity.as_ref().map(|affinity| &*affinity.cookie),
    };
    let read = Request::parse(&client.inbox, by, head).map_err(Answer::Bad)?;
    if let Read::Whole(request) = &read {
        client.inbox.advance(request.read);
    }
    Ok(read)
}

/// Reads the next request's head, which is not here as a whole. `None` where the client has gone.
async fn read(client: &mut Client, front: &Front, head: &mut Vec<u8>) -> Result<Option<Request>, Answer> {
    let (mut looked, mut memory) = (client.inbox.len(), None);
    loop {
        if may_be_whole(&client.inbox, looked) {
            looked = client.inbox.len();
            if let Read::Whole(request) = parse(client, front, head)? {
                return Ok(Some(request));
            }
        }
        if client.inbox.len() > HEAD_FREE && memory.is_none() {
            let most = u32::try_from(MAX_HEAD / 1024).unwrap_or(u32::MAX);
            memory = Some(front.bodies.try_acquire_many(most).map_err(|_| Answer::Crowded)?);
        }
        match client.read().await {
            Ok(1..) => {}
            _ => return Ok(None),
        }
    }
}

/// Whether it is worth to read a head that was read so far in vain: its end may have come, or it is twice as long; a head that comes byte by byte would
/// else be read from its beginning with each.
fn may_be_whole(bytes: &[u8], looked: usize) -> bool {
    let new = bytes.get(looked.saturating_sub(3)..).unwrap_or_default();
    bytes.len() >= looked * 2 || bytes.len() >= MAX_HEAD || new.windows(3).any(|three| three == b"\n\r\n")
}

fn told(front: &Front, why: Answer, headless: bool) -> Next {
    front.desk.count(|counts| why.count(&mut counts.told));
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
