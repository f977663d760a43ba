//! A worker's answer on its way to the client: its head as we write it, and its body as it comes, framed anew where the client needs it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::body::Body;
use super::client::write_both;
use super::http::{Flaw, LAST, Length, Read, Request, Response, Shape, write_size};

/// So much of an answer is held while the client does not read it; the worker is not read from then.
const HELD_MAX: usize = 64 * 1024;

/// So much of a body is put to its head, so that both go with one plain call.
const SMALL: usize = 4 * 1024;

/// An answer on its way.
#[derive(Debug)]
pub struct Download {
    /// What came from the worker and is not sent yet.
    pub inbox: BytesMut,
    /// What goes to the client first: heads, and what is framed anew.
    out: Vec<u8>,
    /// So many of these were sent, and then of `own`.
    sent: usize,
    /// So many bytes at the front of the inbox go to the client as they are.
    own: usize,
    body: Body,
    head: Option<Response>,
    /// The worker's connection has ended.
    ended: bool,
    begun: bool,
    /// A part of the answer, and not only of an interim one, went to the client.
    reached: bool,
    /// So many bytes went to the client.
    pub passed: u64,
    /// Fields that are put to the answer's head.
    adds: Vec<u8>,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ended before its end, or broke.
    Short,
    Flaw(Flaw),
}

impl Download {
    pub fn new(inbox: BytesMut, adds: Vec<u8>) -> Self {
        Self {
            inbox,
            adds,
            out: Vec::with_capacity(512),
            sent: 0,
            own: 0,
            body: Body::new(Length::UntilClose),
            head: None,
            ended: false,
            begun: false,
            reached: false,
            passed: 0,
        }
    }

    /// Takes in what came into the inbox. `closes` is whether the client's connection ends with this answer for a reason of ours.
    ///
    /// # Errors
    /// Where it is no answer.
    pub fn take(&mut self, asked: &Request, closes: bool) -> Result<(), Fault> {
        self.begun |= !self.inbox.is_empty();
        while self.head.is_none() {
            let had = self.out.len();
            // Interim answers are for clients that know of them.
            match Response::parse(&self.inbox, asked, closes, &self.adds, &mut self.out).map_err(Fault::Flaw)? {
                Read::Partial if self.ended => return Err(Fault::Short),
                Read::Partial => return Ok(()),
                Read::Whole(response) => {
                    self.inbox.advance(response.read);
                    if response.is_interim() {
                        if asked.minor == 0 {
                            self.out.truncate(had);
                        }
                        continue;
                    }
                    self.body = Body::new(response.body);
                    self.head = Some(response);
                }
            }
        }
        self.pass()
    }

    /// Looks what of the inbox belongs to the body.
    fn pass(&mut self) -> Result<(), Fault> {
        let shape = self.head.as_ref().map_or(Shape::Same, |head| head.shape);
        if self.switches() {
            return Ok(()); // what follows is of the other protocol
        }
        match shape {
            Shape::Same => self.own += self.body.take(&self.inbox[self.own..]).map_err(Fault::Flaw)?,
            Shape::Bare => {
                let taken = self.body.take_data(&self.inbox, &mut self.out).map_err(Fault::Flaw)?;
                self.inbox.advance(taken);
            }
            Shape::Chunked if !self.inbox.is_empty() => {
                write_size(&mut self.out, self.inbox.len());
                self.out.extend_from_slice(&self.inbox);
                self.out.extend_from_slice(b"\r\n");
                self.inbox.clear();
            }
            Shape::Chunked => {}
        }
        if self.ended && !self.body.is_done() {
            if !self.body.end() {
                return Err(Fault::Short);
            }
            if shape == Shape::Chunked {
                self.out.extend_from_slice(LAST);
            }
        }
        Ok(())
    }

    /// The worker has closed its connection.
    ///
    /// # Errors
    /// Where more should have come.
    pub fn end(&mut self, asked: &Request, closes: bool) -> Result<(), Fault> {
        self.ended = true;
        if self.head.is_none() && self.inbox.is_empty() {
            return Err(Fault::Short);
        }
        self.take(asked, closes)
    }

    /// Whether more may be read from the worker now.
    pub fn has_room(&self) -> bool {
        !self.ended
            && !self.has_come()
            && self.inbox.len() < HELD_MAX
            && self.out.len() - self.sent.min(self.out.len()) < HELD_MAX
    }

    /// Sends what there is.
    pub fn poll<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sent < self.out.len() && self.own <= SMALL {
            self.out.extend_from_slice(&self.inbox[..self.own]);
            self.inbox.advance(self.own);
            self.own = 0;
        }
        while self.is_pending() {
            let count = ready!(write_both(
                &mut *to,
                self.out.get(self.sent..).unwrap_or_default(),
                &self.inbox[..self.own],
                cx
            ))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.passed = self.passed.saturating_add(count as u64);
            self.reached |= self.head.is_some();
            let of_out = count.min(self.out.len() - self.sent);
            self.sent += of_out;
            if self.sent >= HELD_MAX {
                self.out.drain(..self.sent); // a client that is always a little behind
                self.sent = 0;
            }
            self.inbox.advance(count - of_out);
            self.own -= count - of_out;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// So many bytes wait for the client, or to be framed for it.
    pub fn held(&self) -> usize {
        (self.out.len() - self.sent.min(self.out.len())).saturating_add(self.inbox.len())
    }

    /// Whether the client has not taken all that there is for it.
    pub fn is_pending(&self) -> bool {
        self.sent < self.out.len() || self.own > 0
    }

    /// Whether anything of an answer came.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether its head, which is not that of an interim answer, has come.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Whether the client was sent a part of it, after which it can be told nothing else: not so after interim answers that it has as a whole.
    pub fn reached_client(&self) -> bool {
        self.reached || self.sent > 0
    }

    /// Whether nothing but the end of the worker's connection says that it is whole.
    pub fn is_until_close(&self) -> bool {
        self.head.is_some() && self.body.is_until_close() && !self.switches()
    }

    /// Whether all of it is here.
    pub fn has_come(&self) -> bool {
        self.head.is_some() && (self.body.is_done() || self.switches())
    }

    pub fn is_done(&self) -> bool {
        self.has_come() && !self.is_pending()
    }

    pub fn switches(&self) -> bool {
        self.head.as_ref().is_some_and(Response::switches)
    }

    /// Whether the worker's connection can be used again.
    pub fn leaves_connection(&self) -> bool {
        !self.ended && self.inbox.len() == self.own && self.head.as_ref().is_some_and(|head| head.persists)
    }

    /// Whether the worker's connection is still there.
    pub fn is_open(&self) -> bool {
        !self.ended
    }

    /// Whether it is another replica's word that it has no room.
    pub fn refuses(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.refuses)
    }

    /// Whether the client was told that its connection goes on.
    pub fn goes_on(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.goes_on)
    }
}
