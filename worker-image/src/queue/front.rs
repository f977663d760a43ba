//! Clients: each request of a connection in turn gets a worker, and its answer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::answer::{Answer, HTTP2_REFUSAL};
use super::client::Client;
use super::desk::{Desk, Place, Seat};
use super::download::Download;
use super::exchange::{End, Exchange};
use super::http::{Flaw, Forwarder, Length, Method, Read, Request};
use super::pool::Pool;
use super::stream::Stream;
use super::table::{Refusal, Ticket};
use super::upload::{KEPT_MAX, Upload};

/// A head has to come within this time from its first byte (nginx has 60 s, haproxy's example 5); a small body as well.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// A connection may be idle for so long between two requests; longer than the usual minute of those in front of it, so that they end it and not we.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// So long a client that is sent away may take to read why.
const LINGER: Duration = Duration::from_secs(2);

/// So long a client that has just connected may take to send its request when connections are to end.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// A worker whose client has left may go on with it for so long before its place counts as free.
const ABANDONED: Duration = Duration::from_secs(60);

/// A process ends a moment after its connections do; it is looked at so often, and so many times, whether it has.
const ENDS: (Duration, u32) = (Duration::from_micros(500), 10);

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
}

/// What follows a request on its connection.
enum Next {
    Another,
    End,
}

/// Serves one connection to its end.
pub async fn serve(front: Rc<Front>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let mut client = Client::new(stream, peer);
    loop {
        if client.inbox.is_empty() {
            client.inbox = BytesMut::new(); // ten thousand idle connections need no memory
            if !is_asked(&front, &client).await {
                return;
            }
        }
        let mut head = Vec::with_capacity(512);
        let came = timeout(HEAD_TIME, next(&mut client, front.trusts, &mut head)).await;
        let request = match came {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) => return,
            Ok(Err(flaw)) => return refuse(client, Answer::Bad(flaw), false).await,
            Err(_) => return refuse(client, Answer::Slow, false).await,
        };
        client.is_new = false;
        match answer(&front, &mut client, &request, head).await {
            Ok(Next::Another) => {}
            Ok(Next::End) => return,
            Err(why) => return refuse(client, why, request.method == Method::Head).await,
        }
    }
}

/// Waits for the first byte of a request. Says whether one came.
async fn is_asked(front: &Front, client: &Client) -> bool {
    let closing = front.closing.notified();
    if !front.closes.get() {
        tokio::select! {
            biased;
            readable = timeout(IDLE_TIME, client.stream.readable()) => return matches!(readable, Ok(Ok(()))),
            () = closing => {}
        }
    }
    // Who has just connected sends its request at any moment; who has had an answer can go elsewhere with the next.
    client.is_new && timeout(LAST_GRACE, client.stream.readable()).await.is_ok_and(|readable| readable.is_ok())
}

/// Reads the next request's head, and a small body after it: nobody's worker waits for a slow client. `None` where the client has gone.
async fn next(client: &mut Client, trusts: bool, head: &mut Vec<u8>) -> Result<Option<Request>, Flaw> {
    let by = Forwarder { client: client.peer, trusts };
    let request = loop {
        if let Read::Whole(request) = Request::parse(&client.inbox, by, head)? {
            break request;
        }
        match client.read().await {
            Ok(1..) => {}
            _ => return Ok(None),
        }
    };
    client.inbox.advance(request.read);
    if let Length::Bytes(length) = request.body
        && let Ok(length) = usize::try_from(length)
        && length <= KEPT_MAX
        && !request.expects
    {
        while client.inbox.len() < length {
            match client.read().await {
                Ok(1..) => {}
                _ => return Ok(None),
            }
        }
    }
    Ok(Some(request))
}

/// Has a worker answer a request, and another one where the first dies.
async fn answer(front: &Front, client: &mut Client, request: &Request, head: Vec<u8>) -> Result<Next, Answer> {
    let ticket = front.desk.number();
    let mut upload = Upload::new(head, request.body);
    upload.take(&client.inbox).map_err(Answer::Bad)?;
    let mut deaths = 0;
    loop {
        let Some(seat) = seat(front, client, ticket, deaths).await.map_err(Answer::Refused)? else {
            return Ok(Next::End);
        };
        let Some(mut worker) = connect(front, &seat).await else {
            is_lost(front, &seat).await;
            deaths += 1;
            continue;
        };
        let mut download = Download::new(BytesMut::new());
        let closes = !request.persists || front.closes.get();
        let (upload_, download_) = (&mut upload, &mut download);
        let exchange = Exchange { client, worker: &mut worker, request, upload: upload_, download: download_, closes };
        match exchange.run().await {
            End::Done => {
                let goes_on = !closes && upload.has_come() && !download.ends_old_client(request);
                if download.leaves_connection() && upload.is_done() {
                    front.pool.borrow_mut().put(seat.worker, worker);
                }
                drop(seat); // after its connection is back, for who is next
                return Ok(if goes_on { Next::Another } else { Next::End });
            }
            End::Switched => {
                switch(client, worker, download, seat).await;
                return Ok(Next::End);
            }
            End::Died if upload.may_be_sent_again(request.may_be_sent_again()) => {
                is_lost(front, &seat).await;
                deaths += 1;
                upload.rewind();
            }
            End::Died => return Err(Answer::Died),
            End::Wrong(flaw) => return Err(Answer::Wrong(flaw)),
            End::Bad(flaw) => return Err(Answer::Bad(flaw)),
            End::Cut => return Ok(Next::End),
            End::Left => {
                tokio::task::spawn_local(abandon(worker, seat));
                return Ok(Next::End);
            }
        }
    }
}

/// A place at a worker, when its turn has come. `None` where the client left before.
async fn seat(front: &Front, client: &mut Client, ticket: Ticket, deaths: u32) -> Result<Option<Seat>, Refusal> {
    let mut told = match front.desk.ask(ticket, deaths) {
        Place::Now(seat) => return Ok(Some(seat)),
        Place::Refused(why) => return Err(why),
        Place::Later(told) => Waits { told, desk: &front.desk, ticket },
    };
    std::future::poll_fn(|cx| {
        if let Poll::Ready(told) = std::pin::Pin::new(&mut told.told).poll(cx) {
            return Poll::Ready(told.map_or(Err(Refusal::Late), |told| told.map(Some)));
        }
        // Who closed its side while it waits is taken to have left: under load most of those have, and their work would be for nobody.
        client.poll_ahead(cx).map(|_| Ok(None))
    })
    .await
}

/// Takes a request off the table where its future is dropped.
struct Waits<'a> {
    told: oneshot::Receiver<Result<Seat, Refusal>>,
    desk: &'a Desk,
    ticket: Ticket,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.desk.leave(self.ticket);
    }
}

/// Waits until it is known whether a worker whose connection broke is dead: so long its place is kept, and nobody else is sent to it.
async fn is_lost(front: &Front, seat: &Seat) {
    for _ in 0..ENDS.1 {
        if front.desk.has_ended(seat.worker) {
            return;
        }
        tokio::time::sleep(ENDS.0).await;
    }
}

async fn connect(front: &Front, seat: &Seat) -> Option<Stream> {
    let idle = front.pool.borrow_mut().take(seat.worker);
    match idle {
        Some(stream) => Some(stream),
        None => Stream::connect(&seat.address).await.ok(),
    }
}

/// Both sides speak another protocol from now on.
async fn switch(client: &mut Client, mut worker: Stream, download: Download, mut seat: Seat) {
    seat.upgrade();
    let (up, down) = (std::mem::take(&mut client.inbox), download.inbox);
    let both = async {
        tokio::io::AsyncWriteExt::write_all(&mut worker, &up).await?;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &down).await?;
        tokio::io::copy_bidirectional(&mut client.stream, &mut worker).await
    };
    let _ = both.await; // either side may break it off at any time
}

/// A worker whose client has left is told so, and has its place until it is done with it.
async fn abandon(mut worker: Stream, seat: Seat) {
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut worker).await;
    let _ = timeout(ABANDONED, tokio::io::copy(&mut worker, &mut tokio::io::sink())).await;
    drop(seat);
}

/// Says why, and ends the connection.
async fn refuse(client: Client, why: Answer, headless: bool) {
    let mut words = Vec::new();
    match why {
        Answer::Bad(Flaw::Http2) => words.extend_from_slice(HTTP2_REFUSAL),
        _ => why.write(true, headless, &mut words),
    }
    let _ = timeout(LINGER, client.dismiss(&words)).await;
}
