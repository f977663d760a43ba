//! One request at one worker: what goes up and what comes down, at the same time, as far as either side takes it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::client::{Client, read};
use super::desk::Desk;
use super::download::{Download, Fault};
use super::http::{Flaw, Request};
use super::stream::Stream;
use super::table::WorkerId;
use super::upload::Upload;

/// Every so many times of its rhythm (30 s) it is looked whether the client does its part; twice in a row too little is too slow (nginx's timeouts are
/// 60 s).
const TIMES: u32 = 2;

/// A client that is to give or to take something gives or takes so many bytes between two looks.
const LEAST: u64 = 1024;

/// And so many while others wait for its worker.
const LEAST_OF_ONE_THAT_IS_IN_THE_WAY: u64 = 64 * 1024;

/// An answer that ends with its connection is taken for whole when so much time has passed and its worker lives: the process that answers may be a child
/// of the worker's, and die a moment before it.
const DOUBT: Duration = Duration::from_millis(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole answer has come; the client may not have all of it yet.
    Done,
    /// The worker is to speak another protocol with the client from now on.
    Switched,
    /// The worker's connection broke, and nothing of an answer came.
    Died,
    /// It broke in the middle of an answer that the client has a part of.
    Cut,
    /// What came from the worker is no answer, and the client has nothing of it.
    Wrong(Flaw),
    /// The client sent a body that is none.
    Bad(Flaw),
    /// The client is gone, or too slow.
    Left,
    /// Another replica has no room for it; the client has nothing of its answer.
    Full,
}

pub struct Exchange<'a> {
    client: &'a mut Client,
    worker: &'a mut Stream,
    request: &'a Request,
    upload: &'a mut Upload,
    download: &'a mut Download,
    desk: &'a Desk,
    /// Which worker it is; `None` where it is another replica.
    who: Option<WorkerId>,
    /// What the client had given and taken when it was looked at last, and whether that was too little.
    seen: (u64, u64, bool),
    /// How often its rhythm came by.
    times: u32,
    /// When the end of the worker's connection is taken for the end of its answer.
    doubt: Option<Pin<Box<Sleep>>>,
}

impl<'a> Exchange<'a> {
    pub fn new(
        client: &'a mut Client,
        worker: &'a mut Stream,
        request: &'a Request,
        upload: &'a mut Upload,
        download: &'a mut Download,
        desk: &'a Desk,
        who: Option<WorkerId>,
    ) -> Self {
        let seen = (client.given, download.passed, false);
        Self { client, worker, request, upload, download, desk, who, seen, times: 0, doubt: None }
    }

    pub async fn run(mut self) -> End {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Goes on as far as it can.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut moved = match self.poll_client(cx) {
                Ok(moved) => moved,
                Err(end) => return Poll::Ready(end),
            };
            let full = !self.upload.has_room();
            let _ = self.upload.poll(self.worker, &mut self.client.inbox, cx);
            moved |= full && self.upload.has_room(); // the client may go on
            match self.poll_worker(cx) {
                Ok(came) => moved |= came,
                Err(end) => return Poll::Ready(end),
            }
            if self.download.has_come() && !self.download.switches() {
                return Poll::Ready(End::Done);
            }
            let had = self.download.is_pending();
            match self.download.poll(&mut self.client.stream, cx) {
                Poll::Ready(Ok(())) => moved |= had,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Left),
                Poll::Pending => {}
            }
            if self.download.is_done() {
                return Poll::Ready(End::Switched);
            }
            if self.client.rhythm.poll(cx).is_ready() {
                self.times += 1;
                if self.times.is_multiple_of(TIMES) && self.is_too_slow() {
                    return Poll::Ready(End::Left);
                }
                moved = true;
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Reads from the worker. Says whether something came.
    fn poll_worker(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if let (Some(doubt), Some(who)) = (&mut self.doubt, self.who) {
            if doubt.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            self.doubt = None;
            return if self.desk.has_ended(who) { Err(self.broke()) } else { self.came(0).map(|()| true) };
        }
        if !self.download.has_room() {
            return Ok(false);
        }
        match read(self.worker, &mut self.download.inbox, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) if self.who.is_some() && self.download.is_until_close() => {
                if self.who.is_some_and(|who| self.desk.has_ended(who)) {
                    return Err(self.broke());
                }
                self.doubt = Some(Box::pin(tokio::time::sleep(DOUBT)));
                Ok(true)
            }
            Poll::Ready(Ok(count)) => self.came(count).map(|()| true),
            Poll::Ready(Err(_)) => Err(self.broke()),
        }
    }

    /// Looks what of the bytes that came from the client, also while nobody wanted them, belongs to its body.
    fn take(&mut self) -> Result<(), End> {
        if self.upload.has_come() || !self.upload.has_room() {
            return Ok(());
        }
        if let Err(flaw) = self.upload.take(&self.client.inbox) {
            return Err(if self.download.reached_client() { End::Cut } else { End::Bad(flaw) });
        }
        // A client that has its answer already may leave the rest of its body away.
        if self.client.ended && !self.upload.has_come() && !self.download.has_head() {
            return Err(End::Left);
        }
        Ok(())
    }

    /// Reads from the client: its body, or, where that has come, whether it is still there. Says whether something came.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        self.take()?;
        let wants = !self.upload.has_come() && self.upload.has_room() && !self.client.ended;
        if !wants {
            // An upgraded client's next bytes are of the other protocol, and any other's of the next request: both wait.
            let ahead = self.client.poll_ahead(self.upload.own(), cx);
            return if matches!(ahead, Poll::Ready(Err(_))) { Err(End::Left) } else { Ok(false) };
        }
        let Poll::Ready(came) = self.client.poll_read(cx) else { return Ok(false) };
        if came.is_err() {
            return Err(End::Left);
        }
        self.take()?;
        Ok(true)
    }

    /// So many bytes came from the worker; none at the end of its connection.
    fn came(&mut self, count: usize) -> Result<(), End> {
        let closes = self.desk.closes() || self.client.is_last || !self.upload.has_come();
        let taken = match count {
            0 => self.download.end(self.request, closes),
            _ => self.download.take(self.request, closes),
        };
        if self.who.is_none() && self.download.refuses() {
            return Err(End::Full);
        }
        // Another replica may still say that it has no room.
        if self.download.has_begun() && (self.who.is_some() || self.download.has_head()) {
            self.upload.release(&mut self.client.inbox);
        }
        taken.map_err(|fault| match fault {
            _ if self.download.reached_client() => End::Cut,
            Fault::Short => self.broke(),
            Fault::Flaw(flaw) => End::Wrong(flaw),
        })
    }

    /// The worker's connection broke before its answer was whole.
    fn broke(&self) -> End {
        match (self.download.reached_client(), self.download.has_begun()) {
            (true, _) => End::Cut,
            (false, true) => End::Wrong(Flaw::Short),
            (false, false) => End::Died,
        }
    }

    /// Whether the client does too little for the second time. Where it waits for the worker, it has nothing to do; and for the worker others look. One
    /// that has ended its side, and is given nothing, is taken to have left: that is all that is seen of one which closed its connection.
    fn is_too_slow(&mut self) -> bool {
        let (given, taken, before) = self.seen;
        let least = if self.desk.waiting() > 0 { LEAST_OF_ONE_THAT_IS_IN_THE_WAY } else { LEAST };
        let owes =
            !self.upload.has_come() && self.upload.has_room() && (self.download.has_begun() || !self.request.expects);
        let slow = (owes && self.client.given - given < least)
            || (self.download.is_pending() && self.download.passed - taken < LEAST)
            || (self.client.ended && self.download.passed == taken);
        self.seen = (self.client.given, self.download.passed, slow);
        slow && before
    }
}

/// Gives a client what is left of an answer that has come as a whole. Says whether it took it.
pub async fn deliver(client: &mut Client, download: &mut Download) -> bool {
    let (mut times, mut passed, mut was_slow) = (0_u32, download.passed, false);
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(sent) = download.poll(&mut client.stream, cx) {
                return Poll::Ready(sent.is_ok());
            }
            if client.rhythm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            times += 1;
            if times.is_multiple_of(TIMES) {
                let slow = download.passed - passed < LEAST;
                if slow && was_slow {
                    return Poll::Ready(false);
                }
                (passed, was_slow) = (download.passed, slow);
            }
        }
    })
    .await
}
