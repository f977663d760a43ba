//! One request from its head to its answer: its body, its turn, its worker, and another worker where the first dies.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::affinity::Wish;
use super::answer::Answer;
use super::attempt::{Tried, attempt};
use super::client::{Client, PIECE};
use super::desk::{Arriving, Desk, Given, Peer, Place};
use super::download::Download;
use super::front::Front;
use super::http::{Hop, Length, Request};
use super::pass_on::pass_on;
use super::table::{Refusal, Ticket, Wants, Why};
use super::together;
use super::upload::{KEPT_MAX, Upload};

/// A body that has begun goes on within this time, and a small one is whole within four times of it.
const BODY_TIME: Duration = Duration::from_secs(15);

/// A body that flows is given to a worker when so much time passed without more of it: its client may wait for an answer to the first part.
const FLOW_PAUSE: Duration = Duration::from_millis(50);

/// A request is tried so often at workers that live and break the connection, or take none; an idle connection that turned out to be closed is not
/// counted.
const ATTEMPTS: u32 = 2;

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

/// Whom a request is to be answered by.
#[derive(Clone, Debug)]
pub enum Aim {
    /// Whoever has room, as far as it wants them.
    Line(Wants),
    /// This other replica, and whoever has room here where that one cannot.
    Peer(Peer),
    /// A worker that is free now: another replica asks for one of its own.
    Visit,
}

/// Has a request answered.
///
/// # Errors
/// What to answer instead, and whether the client's next request can follow that.
pub async fn lead(
    front: &Rc<Front>,
    client: &mut Client,
    request: &Request,
    head: Vec<u8>,
    arriving: Arriving,
) -> Result<Next, (Answer, bool)> {
    let mut upload = Upload::new(head, request.body);
    if request.body != Length::None {
        upload.keep(hold(front, request));
    }
    if !gather(client, request, &mut upload).await.map_err(|why| (why, false))? {
        return Ok(Next::End);
    }
    if let Some(key) = together::key(request, &upload, &client.inbox) {
        return together::answer(front, client, request, &mut upload, key, arriving).await;
    }
    let aim = aim(front, request);
    let ticket = front.desk.number();
    carry(front, client, request, &mut upload, aim, Call { ticket, why: Why::New, arriving: Some(arriving) }).await
}

/// Under which number a request asks for a worker, and why.
#[derive(Debug)]
pub struct Call {
    pub ticket: Ticket,
    pub why: Why,
    pub arriving: Option<Arriving>,
}

fn aim(front: &Front, request: &Request) -> Aim {
    if request.hop == Some(Hop::Overflow) {
        return Aim::Visit;
    }
    let wish = front.affinity.as_ref().map(|affinity| affinity.wish(&front.desk, request.wish.as_deref()));
    match wish {
        Some(Wish::Worker(worker)) => Aim::Line(Wants { worker: Some(worker), ..Wants::default() }),
        Some(Wish::Peer(peer)) if request.hop.is_none() => Aim::Peer(peer),
        // One that was passed on once is not passed on again: none goes in circles.
        _ => Aim::Line(Wants { roams: request.hop.is_none() && !request.upgrades, ..Wants::default() }),
    }
}

/// Has a request answered whose body is here, or flows.
///
/// # Errors
/// As [`lead`].
pub async fn carry(
    front: &Front,
    client: &mut Client,
    request: &Request,
    upload: &mut Upload,
    aim: Aim,
    call: Call,
) -> Result<Next, (Answer, bool)> {
    let Call { ticket, mut why, mut arriving } = call;
    // Until it has its place here.
    let mut away = None;
    let since = why.since().unwrap_or_else(|| front.desk.now());
    let mut wants = match &aim {
        Aim::Line(wants) => *wants,
        Aim::Peer(peer) => {
            let away = away.insert(front.desk.sends_away());
            arriving = None;
            match pass_on(front, client, request, upload, peer, Hop::Owner, away).await {
                Tried::Over(next) => return Ok(next),
                Tried::Answer(why) => return Err((why, false)),
                _ => front.desk.count(|counts| counts.alone += 1),
            }
            upload.rewind();
            why = Why::Alone(since); // what it waited there counts, and it was not let in here
            Wants::default()
        }
        Aim::Visit => Wants::default(),
    };
    // What another replica does not take comes back, and has to be here as a whole then.
    wants.roams &= upload.is_whole();
    let visits = matches!(aim, Aim::Visit);
    let mut place = match aim {
        Aim::Visit => match front.desk.visit(ticket, wants) {
            Some(seat) => Place::Now(Given::Here(seat)),
            None => return Err(refused(client, upload, Answer::NoRoom)),
        },
        Aim::Line(_) | Aim::Peer(_) => front.desk.ask(ticket, why, wants),
    };
    drop((arriving, away.take()));
    let (mut deaths, mut attempts) = (0, 0);
    loop {
        let given = seat(front, client, upload, ticket, place).await;
        let Some(given) = given.map_err(|why| refused(client, upload, Answer::Refused(why)))? else {
            return Ok(Next::End);
        };
        let is_away = matches!(given, Given::There(_));
        let came_of_it = match given {
            Given::Here(seat) => attempt(front, client, request, upload, wants, seat).await,
            Given::There(peer) => {
                let away = away.insert(front.desk.sends_away());
                pass_on(front, client, request, upload, &peer, Hop::Overflow, away).await
            }
        };
        let mut why = Why::Back(deaths);
        match came_of_it {
            Tried::Over(next) => {
                if is_away {
                    front.desk.roamed(since);
                }
                return Ok(next);
            }
            Tried::Answer(why) => return Err((why, false)),
            Tried::Dead => {
                deaths += 1;
                why = Why::Back(deaths);
            }
            Tried::Untaken => {
                why = Why::Untaken(since);
                wants.worker = None;
            }
            Tried::Broken(seat) => {
                (wants.worker, wants.not) = (None, Some(seat.worker));
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err((if front.desk.meets_tls() { Answer::Tls } else { Answer::Broken }, false));
                }
            }
        }
        upload.rewind();
        // One of another replica has its place in line there, until a worker here died of it: it is not sent on to kill others elsewhere.
        if visits && deaths == 0 {
            let Some(seat) = front.desk.visit(ticket, wants) else {
                return Err(refused(client, upload, Answer::NoRoom));
            };
            place = Place::Now(Given::Here(seat));
            continue;
        }
        place = front.desk.ask(ticket, why, wants);
        away = None;
    }
}

/// Memory for keeping a body. Where others have all of it, the body flows, and is sent to one worker alone.
fn hold(front: &Front, request: &Request) -> Option<OwnedSemaphorePermit> {
    let kept = match request.body {
        Length::None => 0,
        Length::Bytes(bytes) => usize::try_from(bytes).unwrap_or(KEPT_MAX).min(KEPT_MAX),
        Length::Chunked | Length::UntilClose => KEPT_MAX,
    };
    // What carries it out for several has it once more.
    let times = if request.together.is_some() { 2 } else { 1 };
    let kib = u32::try_from((kept.saturating_add(PIECE) * times).div_ceil(1024)).unwrap_or(u32::MAX);
    front.bodies.clone().try_acquire_many_owned(kib).ok()
}

/// What is told to a client whose request nobody was given, and whether its next one can follow.
pub fn refused(client: &mut Client, upload: &mut Upload, why: Answer) -> (Answer, bool) {
    let whole = upload.has_come();
    if whole {
        upload.forget(&mut client.inbox);
    }
    (why, whole)
}

/// Reads so much of a body that nobody's worker waits for a slow client. Says whether the client is still there.
async fn gather(client: &mut Client, request: &Request, upload: &mut Upload) -> Result<bool, Answer> {
    upload.take(&client.inbox).map_err(Answer::Bad)?;
    if upload.has_come() {
        return Ok(true);
    }
    let small = matches!(request.body, Length::Bytes(length) if length <= KEPT_MAX as u64) && upload.is_kept();
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
) -> Result<Option<Given>, Refusal> {
    let mut waits = match place {
        Place::Now(given) => return Ok(Some(given)),
        Place::Refused(why) => return Err(why),
        Place::Later(told) => Waits { told, desk: &front.desk, ticket, is_over: false },
    };
    std::future::poll_fn(|cx| {
        if let Poll::Ready(told) = Pin::new(&mut waits.told).poll(cx) {
            waits.is_over = true;
            return Poll::Ready(told.map_or(Err(Refusal::Late), |told| told.map(Some)));
        }
        // Who closed its side while it waits is taken to have left: under load most of those have, and their work would be for nobody.
        client.poll_ahead(upload.own(), cx).map(|_| Ok(None))
    })
    .await
}

/// Takes a request off the table where its future is dropped.
struct Waits<'a> {
    told: oneshot::Receiver<Result<Given, Refusal>>,
    desk: &'a Desk,
    ticket: Ticket,
    /// It was told, and is not on the table any more.
    is_over: bool,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.told.close();
        match self.told.try_recv() {
            Ok(Ok(Given::Here(seat))) => seat.untaken(), // it was its turn in this moment: the worker had nothing of it
            _ => self.desk.leave(self.ticket),
        }
    }
}

/// What follows an answer that the client has as a whole.
pub fn next(client: &mut Client, request: &Request, upload: &mut Upload, download: &Download) -> Next {
    let whole = upload.has_come();
    // What was not wanted of the body is not the next request.
    upload.forget(&mut client.inbox);
    // Another request may be on its way where it is we who end it: what is not read would cost the client its answer.
    match (download.goes_on(), whole && client.inbox.is_empty() && !request.persists) {
        (true, _) => Next::Another,
        (false, true) => Next::End,
        (false, false) => Next::Linger,
    }
}
