//! One request from its head to its answer: its body, its turn, its worker, and another worker where the first dies.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::Answer;
use super::client::Client;
use super::desk::{Arriving, Desk, Place, Seat};
use super::download::Download;
use super::exchange::{End, Exchange};
use super::front::Front;
use super::http::{Length, Request};
use super::stream::Stream;
use super::table::{Refusal, Ticket};
use super::upload::{KEPT_MAX, Upload};

/// A body that has begun goes on within this time, and a small one is whole within four times of it.
const BODY_TIME: Duration = Duration::from_secs(15);

/// A body that flows is given to a worker when so much time passed without more of it: its client may wait for an answer to the first part.
const FLOW_PAUSE: Duration = Duration::from_millis(50);

/// A worker on this machine takes a connection at once, where its queue has room.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A process ends a moment after its connections do; it is looked at so often, and so many times, whether it has.
const ENDS: (Duration, u32) = (Duration::from_micros(500), 10);

/// A request is tried so often at workers that live and break the connection, or take none.
const ATTEMPTS: u32 = 3;

/// A worker whose client has left may go on with it for so long before its place counts as free.
const ABANDONED: Duration = Duration::from_secs(60);

/// What follows a request on its connection.
pub enum Next {
    Another,
    End,
    /// The end, but what the client still sends is read for a moment, so that it gets the answer.
    Linger,
    /// The end, seen as such by a client that has a part of an answer.
    Reset,
    /// Last words.
    Told(Vec<u8>),
}

/// Has a worker answer a request.
///
/// # Errors
/// What to answer instead, and whether the client's next request can follow that.
pub async fn lead(
    front: &Front,
    client: &mut Client,
    request: &Request,
    head: Vec<u8>,
    arriving: Arriving,
) -> Result<Next, (Answer, bool)> {
    let mut upload = Upload::new(head, request.body);
    if !gather(client, request, &mut upload).await.map_err(|why| (why, false))? {
        return Ok(Next::End);
    }
    let (ticket, mut place) = front.desk.ask_first();
    drop(arriving);
    let (mut deaths, mut attempts) = (0, 0);
    // Places at workers that live and are not to be asked again by this request.
    let mut tried = Vec::new();
    loop {
        let Some(seat) =
            seat(front, client, &upload, ticket, place).await.map_err(|why| refused(client, &mut upload, why))?
        else {
            return Ok(Next::End);
        };
        match attempt(front, client, request, &mut upload, seat).await {
            Tried::Over(next) => return Ok(next),
            Tried::Answer(why) => return Err((why, false)),
            Tried::Dead => deaths += 1,
            Tried::Broken(seat) => {
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err((Answer::Broken, false));
                }
                tried.push(seat);
            }
        }
        upload.rewind();
        place = front.desk.ask_again(ticket, deaths);
        if !matches!(place, Place::Now(_)) {
            tried.clear(); // there is no other, and it must not wait for itself
        }
    }
}

fn refused(client: &mut Client, upload: &mut Upload, why: Refusal) -> (Answer, bool) {
    let whole = upload.has_come();
    if whole {
        upload.forget(&mut client.inbox);
    }
    (Answer::Refused(why), whole)
}

/// Reads so much of a body that nobody's worker waits for a slow client. Says whether the client is still there.
async fn gather(client: &mut Client, request: &Request, upload: &mut Upload) -> Result<bool, Answer> {
    upload.take(&client.inbox).map_err(Answer::Bad)?;
    let small = matches!(request.body, Length::Bytes(length) if length <= KEPT_MAX as u64);
    let patience = if small { BODY_TIME } else { FLOW_PAUSE };
    let whole = timeout(BODY_TIME * 4, async {
        while !request.expects && !upload.has_come() && upload.has_room() {
            match timeout(patience, client.read()).await {
                Ok(Ok(1..)) => upload.take(&client.inbox).map_err(Answer::Bad)?,
                Ok(_) => return Ok(false),
                Err(_) if small => return Err(Answer::Slow),
                Err(_) => break,
            }
        }
        Ok(true)
    });
    match whole.await {
        Ok(gathered) => gathered,
        Err(_) if small => Err(Answer::Slow),
        Err(_) => Ok(true),
    }
}

/// A place at a worker, when its turn has come. `None` where the client left before.
async fn seat(
    front: &Front,
    client: &mut Client,
    upload: &Upload,
    ticket: Ticket,
    place: Place,
) -> Result<Option<Seat>, Refusal> {
    let mut waits = match place {
        Place::Now(seat) => return Ok(Some(seat)),
        Place::Refused(why) => return Err(why),
        Place::Later(told) => Waits { told, desk: &front.desk, ticket },
    };
    std::future::poll_fn(|cx| {
        if let Poll::Ready(told) = Pin::new(&mut waits.told).poll(cx) {
            return Poll::Ready(told.map_or(Err(Refusal::Late), |told| told.map(Some)));
        }
        // Who closed its side while it waits is taken to have left: under load most of those have, and their work would be for nobody.
        client.poll_ahead(upload.own(), cx).map(|_| Ok(None))
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

/// What came of a request at one worker.
enum Tried {
    Over(Next),
    Answer(Answer),
    /// The worker is dead, and another may have the request.
    Dead,
    /// It lives, and another may have the request.
    Broken(Seat),
}

async fn attempt(front: &Front, client: &mut Client, request: &Request, upload: &mut Upload, seat: Seat) -> Tried {
    loop {
        let idle = front.pool.borrow_mut().take(seat.worker);
        let used = idle.is_some();
        let connected = match idle {
            Some(stream) => Some(stream),
            None => timeout(CONNECT_TIME, Stream::connect(&seat.address)).await.ok().and_then(Result::ok),
        };
        let Some(mut worker) = connected else { return lost(front, seat).await };
        let mut download = Download::new(BytesMut::new());
        let exchange = Exchange::new(client, &mut worker, request, upload, &mut download, &front.closes);
        let end = exchange.run().await;
        match end {
            End::Died if !upload.may_be_sent_again(request.may_be_sent_again()) => {
                return Tried::Answer(Answer::Died);
            }
            // It closed a connection that had been idle, as any server may: that says nothing of the worker.
            End::Died if used && !front.desk.has_ended(seat.worker) => upload.rewind(),
            End::Died => return lost(front, seat).await,
            End::Switched => {
                switch(client, worker, download, seat).await;
                return Tried::Over(Next::End);
            }
            End::Done => return Tried::Over(done(front, client, upload, &download, worker, seat)),
            End::Wrong(_) | End::Bad(_) | End::Cut | End::Left => {
                tokio::task::spawn_local(abandon(worker, seat));
                return match end {
                    End::Wrong(flaw) => Tried::Answer(Answer::Wrong(flaw)),
                    End::Bad(flaw) => Tried::Answer(Answer::Bad(flaw)),
                    End::Cut => Tried::Over(Next::Reset),
                    _ => Tried::Over(Next::End),
                };
            }
        }
    }
}

/// The client has its answer.
fn done(
    front: &Front,
    client: &mut Client,
    upload: &mut Upload,
    download: &Download,
    worker: Stream,
    seat: Seat,
) -> Next {
    let whole = upload.has_come();
    if download.leaves_connection() && upload.is_done() {
        front.pool.borrow_mut().put(seat.worker, worker);
        drop(seat); // after its connection is back, for who is next
    } else if upload.is_done() || !download.is_open() {
        drop(seat);
    } else {
        // It has answered early, and may be at it still.
        tokio::task::spawn_local(abandon(worker, seat));
    }
    // What the worker did not want of the body is not the next request.
    upload.forget(&mut client.inbox);
    match (download.goes_on(), whole && client.inbox.is_empty()) {
        (true, _) => Next::Another,
        (false, true) => Next::End,
        (false, false) => Next::Linger,
    }
}

/// Waits until it is known whether a worker whose connection broke is dead: so long its place is kept, and nobody else is sent to it.
async fn lost(front: &Front, seat: Seat) -> Tried {
    for _ in 0..ENDS.1 {
        if front.desk.has_ended(seat.worker) {
            return Tried::Dead;
        }
        tokio::time::sleep(ENDS.0).await;
    }
    Tried::Broken(seat)
}

/// Both sides speak another protocol from now on.
async fn switch(client: &mut Client, mut worker: Stream, download: Download, mut seat: Seat) {
    seat.upgrade();
    // A peer that vanished without a word is found out by the kernel.
    let _ = sockopt::set_socket_keepalive(&client.stream, true);
    let (up, down) = (std::mem::take(&mut client.inbox), download.inbox);
    let both = async {
        worker.write_all(&up).await?;
        client.stream.write_all(&down).await?;
        tokio::io::copy_bidirectional(&mut client.stream, &mut worker).await
    };
    let _ = both.await; // either side may break it off at any time
}

/// A worker whose client has left is told so, and has its place until it is done with it.
async fn abandon(mut worker: Stream, seat: Seat) {
    let _ = worker.shutdown().await;
    let _ = timeout(ABANDONED, tokio::io::copy(&mut worker, &mut tokio::io::sink())).await;
    drop(seat);
}
