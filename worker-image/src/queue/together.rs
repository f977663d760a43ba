//! Single-flight: requests that are the same, and come while one of them is on its way, get that one's answer.
//!
//! The one that is carried out has no client of its own: it goes on when the client that came first leaves. What it brings is for all of them, if it
//! may be shared and ends soon; else one of them gets it as it comes, and each other is carried out for itself.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use super::client::Client;
use super::desk::{Arriving, Peer};
use super::front::Front;
use super::http::{Hop, Length, Request, Sharing, add, sharing};
use super::lead::{Aim, Call, Next, carry, refused};
use super::peers::Owner;
use super::stream::Stream;
use super::table::{Wants, Why};
use super::upload::Upload;
pub use flights::{Flights, Key};
use flights::{Outcome, Shared};
use hand_out::hand_out;

mod flights;
mod hand_out;

/// An answer that is longer is not kept for others.
const SHARED_MAX: usize = 1 << 20;

/// A client that has closed its side gets what comes within this time.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// All that are kept take so much memory at the most.
pub const ALL_SHARED_KIB: usize = 64 * 1024;

/// An answer that has begun, and is not over after this time, is not waited for.
const BRIEF: Duration = Duration::from_secs(5);

/// A client that takes longer over an answer that is kept for it is let go.
const HAND_OUT_TIME: Duration = Duration::from_secs(120);

/// So much of an answer is on its way within the primary.
const WITHIN: usize = 64 * 1024;

/// So much of an answer is read, and given to a client, at a time.
const PIECE: usize = 16 * 1024;

/// What has to be the same, where a request may be answered together with others: its body is here as a whole.
pub fn key(request: &Request, upload: &Upload, inbox: &BytesMut) -> Option<Key> {
    // One that looks for a free worker was told to do that by a replica that leads it.
    let together = request.together.as_ref().filter(|_| request.hop != Some(Hop::Overflow) && upload.is_whole())?;
    let mut framing = Vec::new();
    // The same bytes are another body where they are framed in another way.
    add(&mut framing, if request.body == Length::Chunked { b"chunked" } else { b"" });
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [&together[..], &framing, &inbox[..upload.own()]] {
        hash.update(part);
    }
    hash.finish().as_ref().try_into().ok()
}

/// Answers a request together with those that are the same.
///
/// # Errors
/// As [`super::lead::lead`].
pub async fn answer(
    front: &Rc<Front>,
    client: &mut Client,
    request: &Request,
    upload: &mut Upload,
    key: Key,
    arriving: Arriving,
) -> Result<Next, (Answer, bool)> {
    let (told, is_first) = front.flights.join(&key);
    let ticket = front.desk.number();
    let arriving = if is_first {
        let body = BytesMut::from(&client.inbox[..upload.own()]);
        let call = Call { ticket, why: Why::New, arriving: Some(arriving) };
        let flight = Flight { key, request: of_all(request), body, upload: upload.again(), from: client.peer, call };
        tokio::task::spawn_local(fly(front.clone(), flight));
        None
    } else {
        Some(arriving)
    };
    match wait(client, upload.own(), told).await {
        None => Ok(Next::End),
        Some(Outcome::Same(came)) => {
            drop(arriving); // it has its answer, and no worker has anything of it
            let handed = timeout(HAND_OUT_TIME, hand_out(front, client, request, upload, came, None)).await;
            Ok(handed.unwrap_or(Next::Reset))
        }
        Some(Outcome::Yours { came, rest }) => {
            drop(arriving);
            Ok(hand_out(front, client, request, upload, came, Some(rest)).await)
        }
        Some(Outcome::Told(why)) => Err(refused(client, upload, why)),
        Some(Outcome::Alone) => {
            let aim = Aim::Line(Wants { roams: request.hop.is_none(), ..Wants::default() });
            let ticket = if is_first { front.desk.number_again() } else { ticket };
            // The one that was carried out took its time: that was no waiting in line.
            let why = Why::Alone(front.desk.now());
            carry(front, client, request, upload, aim, Call { ticket, why, arriving }).await
        }
    }
}

/// The request as it is carried out: its answer is written for a client that can take any.
fn of_all(request: &Request) -> Request {
    Request { minor: 1, persists: true, expects: false, ..request.clone() }
}

/// What comes of it. `None` where the client left before.
async fn wait(client: &mut Client, own: usize, told: oneshot::Receiver<Outcome>) -> Option<Outcome> {
    let mut told = pin!(told);
    let told = tokio::select! {
        biased;
        told = told.as_mut() => Some(told),
        () = ends(client, own) => None,
    };
    Some(told?.unwrap_or(Outcome::Alone))
}

struct Flight {
    key: Key,
    request: Request,
    body: BytesMut,
    upload: Upload,
    /// Who came first.
    from: SocketAddr,
    call: Call,
}

/// Carries one out for all that take part.
async fn fly(front: Rc<Front>, flight: Flight) {
    let Flight { key, request, body, mut upload, from, call } = flight;
    let (near, mut far) = tokio::io::duplex(WITHIN);
    let client = Client { inbox: body, ..Client::new(Stream::Within(near), from) };
    let aim = aim(&front, &request, &key);
    // The client ends with it, so that whoever reads its other end comes to an end.
    let carried = {
        let front = front.clone();
        async move {
            let mut client = client;
            carry(&front, &mut client, &request, &mut upload, aim, call).await
        }
    };
    let mut carried = pin!(carried);
    let (mut came, mut result, mut is_over) = (BytesMut::new(), None, false);
    let (mut held, mut begun) = (Vec::new(), None);
    loop {
        let until = begun.map(|begun: Instant| begun + BRIEF);
        let left = || front.flights.is_forsaken(&key);
        let read = read(&mut far, &mut came, carried.as_mut(), &mut result, until, left).await;
        begun = begun.or_else(|| Some(Instant::now()));
        let shared = match sharing(&came) {
            Sharing::Personal if front.shares_credentials => Sharing::Allowed,
            Sharing::Personal => Sharing::Forbidden,
            shared => shared,
        };
        let fits = came.len() <= SHARED_MAX && hold(&front, &mut held, came.len());
        match read {
            Came::More if shared != Sharing::Forbidden && fits => {}
            Came::End if shared == Sharing::Allowed && fits => break,
            Came::Nobody => {
                front.flights.end(&key);
                is_over = true;
                drop(far); // so that it leaves the queue
                break;
            }
            // Nothing came, or what may not be shared.
            Came::End if came.is_empty() => break,
            Came::More | Came::End | Came::Late => {
                part(&front, &key, Shared { came: came.split().freeze(), held: Rc::new(held.split_off(0)) }, far);
                is_over = true;
                break;
            }
        }
    }
    let result = match result {
        Some(result) => result,
        None => carried.await,
    };
    if is_over {
        return; // the same key is another's by now
    }
    let all = front.flights.end(&key);
    let came = Shared { came: came.freeze(), held: Rc::new(held) };
    let outcome = || match &result {
        Err((why, _)) => Outcome::Told(*why),
        // The worker died in the middle of its answer; that all of them kill another one is not what was asked for.
        Ok(Next::Reset) => Outcome::Told(Answer::Cut),
        Ok(_) if came.came.is_empty() => Outcome::Alone,
        Ok(_) => Outcome::Same(came.clone()),
    };
    let merged = if matches!(outcome(), Outcome::Same(_)) { all.len().saturating_sub(1) } else { 0 };
    front.desk.count(|counts| counts.merged += u64::try_from(merged).unwrap_or(u64::MAX));
    for one in all {
        let _ = one.send(outcome()); // it may have left
    }
}

/// Memory for so much of an answer that is kept; it is given back with what is held.
fn hold(front: &Front, held: &mut Vec<OwnedSemaphorePermit>, bytes: usize) -> bool {
    while held.len() * WITHIN < bytes {
        let kib = u32::try_from(WITHIN / 1024).unwrap_or(u32::MAX);
        let Ok(more) = front.answers.clone().try_acquire_many_owned(kib) else { return false };
        held.push(more);
    }
    true
}

/// Whose it is: of all replicas one carries it out.
fn aim(front: &Front, request: &Request, key: &Key) -> Aim {
    let here = Aim::Line(Wants { roams: request.hop.is_none(), ..Wants::default() });
    if request.hop.is_some() {
        return here;
    }
    match front.desk.owner(key) {
        Owner::Own => here,
        Owner::Peer(id, address) => Aim::Peer(Peer { id, address }),
        Owner::Nobody => {
            if !front.desk.peers().is_empty() {
                front.desk.count(|counts| counts.alone += 1);
            }
            here
        }
    }
}

/// Gives an answer that is not for all to one of them; the others are told to go alone.
fn part(front: &Front, key: &Key, came: Shared, rest: DuplexStream) {
    let mut yours = Some(Outcome::Yours { came, rest });
    for one in front.flights.end(key) {
        let outcome = yours.take().unwrap_or(Outcome::Alone);
        if let Err(back @ Outcome::Yours { .. }) = one.send(outcome) {
            yours = Some(back); // it has just left
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    More,
    End,
    /// Nobody waits for it any more.
    Nobody,
    /// It takes too long to wait for its end.
    Late,
}

type Carried = Result<Next, (Answer, bool)>;

/// Reads what there is of the answer while it is carried out.
async fn read(
    far: &mut DuplexStream,
    came: &mut BytesMut,
    mut carried: Pin<&mut impl Future<Output = Carried>>,
    result: &mut Option<Carried>,
    until: Option<Instant>,
    is_forsaken: impl Fn() -> bool,
) -> Came {
    let mut looks = tokio::time::interval(LOOKS);
    came.reserve(PIECE);
    let late = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    let mut late = pin!(late);
    loop {
        let reads = far.read_buf(came);
        tokio::select! {
            biased;
            read = reads => return if matches!(read, Ok(1..)) { Came::More } else { Came::End },
            done = carried.as_mut(), if result.is_none() => *result = Some(done),
            () = late.as_mut() => return Came::Late,
            _ = looks.tick() => {
                if is_forsaken() {
                    return Came::Nobody;
                }
            }
        }
    }
}

/// How often it is looked whether all have left.
const LOOKS: Duration = Duration::from_millis(100);

/// Until the client has left. One that only has nothing more to say waits for its answer for a moment; under load most of those have left.
async fn ends(client: &mut Client, own: usize) {
    if std::future::poll_fn(|cx| client.poll_ahead(own, cx)).await.is_ok() {
        tokio::time::sleep(HALF_CLOSED).await;
    }
}

/// What comes of it, or `None` where the client's connection breaks before.
async fn or_gone<T>(client: &mut Client, own: usize, mut what: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| match (what.as_mut().poll(cx), client.poll_ahead(own, cx)) {
        (Poll::Ready(came), _) => Poll::Ready(Some(came)),
        (_, Poll::Ready(Err(_))) => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await
}
