//! One try of a request at one worker, and what becomes of the worker's place.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::answer::Answer;
use super::client::Client;
use super::desk::Seat;
use super::download::Download;
use super::exchange::{End, Exchange, deliver};
use super::front::Front;
use super::http::{Flaw, Request};
use super::lead::{Next, next};
use super::stream::Stream;
use super::table::{Place, Wants};
use super::tls;
use super::upload::Upload;

/// A worker on this machine takes a connection at once, where its queue has room.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A process ends a moment after its connections do; it is looked at so often, and so many times, whether it has.
const ENDS: (Duration, u32) = (Duration::from_micros(500), 10);

/// A worker whose client has left may go on with it for so long before its place counts as free.
const ABANDONED: Duration = Duration::from_secs(60);

/// One that is in the middle of its answer ends it within this time, or with this many bytes more, or is cut off.
const WRITES_ON: Duration = Duration::from_secs(1);
const ABANDONED_BYTES: u64 = 256 * 1024;

/// And it has noticed after this time.
const NOTICES: Duration = Duration::from_millis(100);

/// What came of it.
pub enum Tried {
    Over(Next),
    Answer(Answer),
    /// The worker is dead, and another may have the request.
    Dead,
    /// It lives, and another may have the request.
    Broken(Seat),
    /// Nothing of it was sent, or another replica said that it has no room: it has done nothing to whoever did not take it.
    Untaken,
}

/// Has a worker answer a request.
pub async fn attempt(
    front: &Front,
    client: &mut Client,
    request: &Request,
    upload: &mut Upload,
    wants: Wants,
    seat: Seat,
) -> Tried {
    let place = Place::Worker(seat.worker);
    let adds = match &front.affinity {
        Some(affinity) if wants.worker != Some(seat.worker) && request.together.is_none() => {
            affinity.cookie(&front.desk.own_tag(), seat.worker)
        }
        _ => Vec::new(),
    };
    loop {
        let once = !upload.can_be_repeated(request.may_be_sent_again());
        let idle = front.pool.borrow_mut().take(&place, once);
        let used = idle.is_some();
        let connected = match idle {
            Some(stream) => Some(stream),
            None => match timeout(CONNECT_TIME, Stream::connect(seat.address)).await {
                Ok(Ok(stream)) => Some(stream),
                Ok(Err(error)) if is_out_of_resources(&error) => {
                    seat.untaken();
                    return Tried::Answer(Answer::Crowded);
                }
                Ok(Err(_)) | Err(_) => None,
            },
        };
        let Some(mut worker) = connected else {
            let Some(seat) = lost(front, seat).await else { return Tried::Untaken };
            front.desk.rest(seat.worker); // before its place is free for the next
            seat.untaken();
            return Tried::Untaken;
        };
        let mut download = Download::new(BytesMut::new(), adds.clone());
        let who = Some(seat.worker);
        let exchange = Exchange::new(client, &mut worker, request, upload, &mut download, &front.desk, who);
        let end = exchange.run().await;
        match end {
            End::Died if !upload.may_be_sent_again(request.may_be_sent_again()) => {
                let why = match wonder(front, lost(front, seat).await).await {
                    Some(_) if front.desk.meets_tls() => Answer::Tls,
                    Some(_) => Answer::Silent,
                    None => Answer::Died,
                };
                return Tried::Answer(why);
            }
            // It closed a connection that had been idle, as any server may: that says nothing of the worker.
            End::Died if used && !front.desk.has_ended(seat.worker) => upload.rewind(),
            End::Died => {
                let seat = wonder(front, lost(front, seat).await).await;
                return seat.map_or(Tried::Dead, Tried::Broken);
            }
            End::Switched => {
                let mut seat = seat;
                seat.upgrade();
                switch(client, worker, download).await;
                return Tried::Over(Next::End);
            }
            End::Done => {
                // What its client has not taken yet waits here, and the worker is free; where there is no memory for it, it is not.
                let room = front.room_for(download.held());
                let mut kept = Some((worker, seat));
                if room.is_some()
                    && let Some((worker, seat)) = kept.take()
                {
                    leave(front, upload, &download, worker, seat);
                }
                let taken = deliver(client, &mut download).await;
                if let Some((worker, seat)) = kept {
                    leave(front, upload, &download, worker, seat);
                }
                return Tried::Over(if taken { next(client, request, upload, &download) } else { Next::Reset });
            }
            // It broke off before the client had anything of it: the worker may have died.
            End::Wrong(Flaw::Short) => {
                let Some(seat) = lost(front, seat).await else { return Tried::Answer(Answer::Died) };
                tokio::task::spawn_local(abandon(worker, seat, true));
                return Tried::Answer(Answer::Wrong(Flaw::Short));
            }
            End::Wrong(_) | End::Bad(_) | End::Cut | End::Left | End::Full => {
                if end == End::Cut {
                    front.desk.count(|counts| counts.cut += 1);
                }
                tokio::task::spawn_local(abandon(worker, seat, download.has_begun()));
                return match end {
                    End::Wrong(flaw) => Tried::Answer(Answer::Wrong(flaw)),
                    End::Bad(flaw) => Tried::Answer(Answer::Bad(flaw)),
                    End::Cut => Tried::Over(Next::Reset),
                    _ => Tried::Over(after_leaving(&download)),
                };
            }
        }
    }
}

/// It is not the worker's fault that there is no connection to it: of descriptors, of ports, or of memory for sockets there is none left.
fn is_out_of_resources(error: &io::Error) -> bool {
    const SCARCE: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| SCARCE.iter().any(|one| one.raw_os_error() == code))
}

/// The answer has come, and the worker's place is free when it is done with the request.
fn leave(front: &Front, upload: &Upload, download: &Download, worker: Stream, seat: Seat) {
    if download.leaves_connection() && upload.is_done() {
        front.pool.borrow_mut().put(Place::Worker(seat.worker), worker);
        drop(seat); // after its connection is back, for who is next
    } else if upload.is_done() || !download.is_open() {
        drop(seat);
    } else {
        // It has answered early, and may be at it still.
        tokio::task::spawn_local(abandon(worker, seat, false));
    }
}

/// What follows on the connection of a client that left, or takes nothing: one that has a part of an answer must not take it for whole.
pub fn after_leaving(download: &Download) -> Next {
    if download.reached_client() { Next::Reset } else { Next::End }
}

/// Waits until it is known whether a worker whose connection broke is dead, and gives its place back where it lives: so long it is kept, and nobody else
/// is sent to it.
async fn lost(front: &Front, seat: Seat) -> Option<Seat> {
    for _ in 0..ENDS.1 {
        if front.desk.has_ended(seat.worker) {
            return None;
        }
        tokio::time::sleep(ENDS.0).await;
    }
    Some(seat)
}

/// A worker that lives closed a connection without a word. One that speaks TLS does that, and its user should know.
async fn wonder(front: &Front, seat: Option<Seat>) -> Option<Seat> {
    if let Some(seat) = &seat
        && front.desk.wonders(seat.worker)
        && tls::is_spoken_at(seat.address).await
    {
        front.desk.speaks_tls(seat.worker);
    }
    seat
}

/// Both sides speak another protocol from now on.
pub async fn switch(client: &mut Client, mut worker: Stream, download: Download) {
    client.stream.keep_alive();
    let (up, down) = (std::mem::take(&mut client.inbox), download.inbox);
    let both = async {
        worker.write_all(&up).await?;
        client.stream.write_all(&down).await?;
        tokio::io::copy_bidirectional(&mut client.stream, &mut worker).await
    };
    let _ = both.await; // either side may break it off at any time
}

/// A worker whose client has left is told so, and has its place until it is done with it. One that writes and looks at nothing else learns it from the
/// end of its connection alone: what it still has is not read for nobody.
async fn abandon(mut worker: Stream, seat: Seat, writes: bool) {
    let _ = worker.shutdown().await;
    let patience = if writes { WRITES_ON } else { ABANDONED };
    let mut left = (&mut worker).take(ABANDONED_BYTES);
    let _ = timeout(patience, tokio::io::copy(&mut left, &mut tokio::io::sink())).await;
    if left.limit() == 0 || writes {
        drop(worker);
        tokio::time::sleep(NOTICES).await;
    }
    drop(seat);
}
