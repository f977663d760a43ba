//! One request at one worker: what goes up and what comes down, at the same time, as far as either side takes it.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::client::{Client, read};
use super::download::{Download, Fault};
use super::http::{Flaw, Request};
use super::stream::Stream;
use super::upload::Upload;

/// A client that neither takes nor gives anything for so long while it should is cut off (nginx's `send_timeout` and `client_body_timeout`).
pub const CLIENT_STALL: Duration = Duration::from_secs(60);

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
    /// The client is gone, or stands still.
    Left,
}

pub struct Exchange<'a> {
    pub client: &'a mut Client,
    pub worker: &'a mut Stream,
    pub request: &'a Request,
    pub upload: &'a mut Upload,
    pub download: &'a mut Download,
    /// The client's connection ends with this answer for a reason of ours.
    pub closes: bool,
}

impl Exchange<'_> {
    /// Goes on as far as it can.
    fn poll(&mut self, mut stall: std::pin::Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut moved = false;
            // An upgraded client's next bytes are of the other protocol, and any other's of the next request: both wait.
            if !self.upload.has_come() && self.upload.has_room() && !self.client.ended {
                match self.client.poll_read(cx) {
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(End::Left),
                    Poll::Pending => {}
                }
                if let Err(flaw) = self.upload.take(&self.client.inbox) {
                    return Poll::Ready(if self.download.reached_client() { End::Cut } else { End::Bad(flaw) });
                }
                if self.client.ended && !self.upload.has_come() {
                    return Poll::Ready(End::Left);
                }
            } else if let Poll::Ready(Err(_)) = self.client.poll_ahead(cx) {
                return Poll::Ready(End::Left);
            }
            let _ = self.upload.poll(self.worker, &mut self.client.inbox, cx);
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
            if moved {
                stall.as_mut().reset(Instant::now() + CLIENT_STALL);
                continue;
            }
            if stall.as_mut().poll(cx).is_ready() {
                if self.download.is_pending() || !self.upload.has_come() {
                    return Poll::Ready(End::Left);
                }
                // It waits for the worker, for whom others look.
                stall.as_mut().reset(Instant::now() + CLIENT_STALL);
                continue;
            }
            return Poll::Pending;
        }
    }

    /// So many bytes came from the worker; none at the end of its connection.
    fn came(&mut self, count: usize) -> Result<(), End> {
        let closes = self.closes || !self.upload.has_come();
        let taken = match count {
            0 => self.download.end(self.request, closes),
            _ => self.download.take(self.request, closes),
        };
        if self.download.has_begun() {
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
            (false, true) => End::Wrong(Flaw::Syntax),
            (false, false) => End::Died,
        }
    }

    pub async fn run(mut self) -> End {
        let mut stall = std::pin::pin!(tokio::time::sleep(CLIENT_STALL));
        std::future::poll_fn(|cx| self.poll(stall.as_mut(), cx)).await
    }
}
