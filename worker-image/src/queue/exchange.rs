//! One request at one worker: what goes up and what comes down, at the same time, as far as either side takes it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::client::{Client, read};
use super::desk::Desk;
use super::download::{Download, Fault};
use super::http::{Flaw, Request};
use super::stream::Stream;
use super::upload::Upload;

/// How often it is looked whether the client does its part; twice in a row too little is too slow (nginx's timeouts are 60 s).
const WINDOW: Duration = Duration::from_secs(30);

/// A client that is to give or to take something gives or takes so many bytes in a [`WINDOW`].
const LEAST: u64 = 1024;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client has the whole answer.
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
    /// It is not a worker, but another replica.
    is_peer: bool,
    /// What the client had given and taken when it was looked at last, and whether that was too little.
    seen: (u64, u64, bool),
}

impl<'a> Exchange<'a> {
    pub fn new(
        client: &'a mut Client,
        worker: &'a mut Stream,
        request: &'a Request,
        upload: &'a mut Upload,
        download: &'a mut Download,
        desk: &'a Desk,
        is_peer: bool,
    ) -> Self {
        let seen = (client.given, download.passed, false);
        Self { client, worker, request, upload, download, desk, is_peer, seen }
    }

    pub async fn run(mut self) -> End {
        let mut window = std::pin::pin!(tokio::time::sleep(WINDOW));
        std::future::poll_fn(|cx| self.poll(window.as_mut(), cx)).await
    }

    /// Goes on as far as it can.
    fn poll(&mut self, mut window: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut moved = match self.poll_client(cx) {
                Ok(moved) => moved,
                Err(end) => return Poll::Ready(end),
            };
            let full = !self.upload.has_room();
            let _ = self.upload.poll(self.worker, &mut self.client.inbox, cx);
            moved |= full && self.upload.has_room(); // the client may go on
            if self.download.has_room()
                && let Poll::Ready(came) = read(self.worker, &mut self.download.inbox, cx)
            {
                moved = true;
                let taken = match came {
                    Ok(count) => self.came(count),
                    Err(_) => Err(self.broke()),
                };
                if let Err(end) = taken {
                    return Poll::Ready(end);
                }
            }
            let had = self.download.is_pending();
            match self.download.poll(&mut self.client.stream, cx) {
                Poll::Ready(Ok(())) => moved |= had,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Left),
                Poll::Pending => {}
            }
            if self.download.is_done() {
                return Poll::Ready(if self.download.switches() { End::Switched } else { End::Done });
            }
            if window.as_mut().poll(cx).is_ready() {
                if self.is_too_slow() {
                    return Poll::Ready(End::Left);
                }
                window.as_mut().reset(Instant::now() + WINDOW);
                moved = true;
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Reads from the client: its body, or, where that has come, whether it is still there. Says whether something came.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
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
        if let Err(flaw) = self.upload.take(&self.client.inbox) {
            return Err(if self.download.reached_client() { End::Cut } else { End::Bad(flaw) });
        }
        // A client that has its answer already may leave the rest of its body away.
        if self.client.ended && !self.upload.has_come() && !self.download.has_begun() {
            return Err(End::Left);
        }
        Ok(true)
    }

    /// So many bytes came from the worker; none at the end of its connection.
    fn came(&mut self, count: usize) -> Result<(), End> {
        let closes = self.desk.closes() || self.client.is_last || !self.upload.has_come();
        let taken = match count {
            0 => self.download.end(self.request, closes),
            _ => self.download.take(self.request, closes),
        };
        if self.is_peer && self.download.refuses() {
            return Err(End::Full);
        }
        // Another replica may still say that it has no room.
        if self.download.has_begun() && (!self.is_peer || self.download.has_head()) {
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

    /// Whether the client does too little for the second time. Where it waits for the worker, it has nothing to do; and for the worker others look.
    fn is_too_slow(&mut self) -> bool {
        let (given, taken, before) = self.seen;
        let owes =
            !self.upload.has_come() && self.upload.has_room() && (self.download.has_begun() || !self.request.expects);
        let slow = (owes && self.client.given - given < LEAST)
            || (self.download.is_pending() && self.download.passed - taken < LEAST);
        self.seen = (self.client.given, self.download.passed, slow);
        slow && before
    }
}
