//! A request on its way to a worker: its head as we write it, and its body as it comes from the client. So much of it is kept that it can be sent to
//! another worker.

use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::sync::OwnedSemaphorePermit;

use super::body::Body;
use super::client::write_both;
use super::http::{Flaw, Length};

/// A body of at most so many bytes is kept until the answer begins (decided in design/decisions.md: 64 KiB).
pub const KEPT_MAX: usize = 64 * 1024;

/// So much of a body is here at a time where there is no memory for keeping it.
const FLOWS: usize = 8 * 1024;

/// A request on its way.
#[derive(Debug)]
pub struct Upload {
    head: Vec<u8>,
    /// Where the empty line at its end begins.
    fields: usize,
    body: Body,
    /// So many bytes at the front of the client's inbox belong to the body.
    own: usize,
    /// So many of the head and of those were sent.
    sent: usize,
    /// All that was sent is still there.
    kept: bool,
    /// The worker takes no more of it: it has answered already, or is dead.
    stopped: bool,
    /// So much may be here at a time.
    most: usize,
    /// Memory for what is kept, for as long as it is.
    held: Option<OwnedSemaphorePermit>,
}

impl Upload {
    pub fn new(head: Vec<u8>, length: Length) -> Self {
        let fields = head.len().saturating_sub(2);
        let body = Body::new(length);
        Self { head, fields, body, own: 0, sent: 0, kept: true, stopped: false, most: KEPT_MAX, held: None }
    }

    /// Keeps the body in this memory; without any it flows from the beginning, whatever its length.
    pub fn keep(&mut self, held: Option<OwnedSemaphorePermit>) {
        if held.is_none() {
            self.kept = false;
            self.most = FLOWS;
        }
        self.held = held;
    }

    /// Whether it is kept, as far as is known.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Puts these fields, and no others that were put before, to what is sent next from the beginning.
    pub fn add(&mut self, fields: &[u8]) {
        self.head.truncate(self.fields);
        self.head.extend_from_slice(fields);
        self.head.extend_from_slice(b"\r\n");
    }

    /// The same once more, of which nothing was sent; its body is as far here as this one's, and takes its memory along.
    pub fn again(&mut self) -> Self {
        let held = self.held.take();
        Self { head: self.head.clone(), body: self.body.clone(), sent: 0, stopped: false, held, ..*self }
    }

    /// Looks what of the client's bytes belongs to the body.
    ///
    /// # Errors
    /// Where the body is none.
    pub fn take(&mut self, inbox: &BytesMut) -> Result<(), Flaw> {
        self.own += self.body.take(&inbox[self.own..])?;
        if self.own > KEPT_MAX {
            self.kept = false;
        }
        Ok(())
    }

    /// Whether more of the body may be read now.
    pub fn has_room(&self) -> bool {
        // One that is kept is let go of when it is more than may be kept, and flows from then on.
        self.own <= self.most
    }

    /// Sends what there is.
    pub fn poll<W: AsyncWrite + Unpin>(&mut self, to: &mut W, inbox: &mut BytesMut, cx: &mut Context<'_>) -> Poll<()> {
        while !self.stopped && self.sent < self.head.len() + self.own {
            let (head, from) =
                (self.head.get(self.sent..).unwrap_or_default(), self.sent.saturating_sub(self.head.len()));
            match std::task::ready!(write_both(&mut *to, head, &inbox[from..self.own], cx)) {
                Ok(count @ 1..) => self.sent += count,
                // It may have answered before it closed: the answer is read in any case.
                Ok(0) | Err(_) => self.stopped = true,
            }
            if !self.kept {
                self.let_go(inbox);
            }
        }
        Poll::Ready(())
    }

    /// Nothing has to be kept any more.
    pub fn release(&mut self, inbox: &mut BytesMut) {
        self.kept = false;
        self.held = None;
        self.let_go(inbox);
    }

    fn let_go(&mut self, inbox: &mut BytesMut) {
        let gone = self.sent.saturating_sub(self.head.len());
        inbox.advance(gone);
        self.own -= gone;
        self.sent -= gone;
    }

    /// So many bytes at the front of the client's inbox belong to the body.
    pub fn own(&self) -> usize {
        self.own
    }

    /// What is left of the body is not wanted any more.
    pub fn forget(&mut self, inbox: &mut BytesMut) {
        inbox.advance(self.own);
        (self.own, self.sent, self.stopped) = (0, 0, true);
    }

    /// Another worker gets it from the beginning.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.stopped = false;
    }

    /// Whether a worker that was sent to and is gone cannot have begun with it, or another may get it all the same.
    pub fn may_be_sent_again(&self, idempotent: bool) -> bool {
        self.sent == 0 || (self.kept && idempotent)
    }

    /// Whether that will still hold once it has been sent.
    pub fn can_be_repeated(&self, idempotent: bool) -> bool {
        self.is_whole() && idempotent
    }

    /// All of it is here, and can be sent as often as is needed.
    pub fn is_whole(&self) -> bool {
        self.kept && self.has_come()
    }

    /// The client has sent all of it.
    pub fn has_come(&self) -> bool {
        self.body.is_done()
    }

    /// All of it was sent, and nothing stopped it.
    pub fn is_done(&self) -> bool {
        self.body.is_done() && !self.stopped && self.sent == self.head.len() + self.own
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::AsyncReadExt;

    use super::*;

    async fn sent(upload: &mut Upload, inbox: &mut BytesMut) -> Vec<u8> {
        let (mut to, mut from) = tokio::io::duplex(1 << 20);
        std::future::poll_fn(|cx| upload.poll(&mut to, inbox, cx)).await;
        drop(to);
        let mut all = Vec::new();
        pin!(from.read_to_end(&mut all)).await.unwrap();
        all
    }

    #[tokio::test]
    async fn it_can_be_sent_again_until_it_is_let_go_of() {
        let mut inbox = BytesMut::from(&b"helloGET /"[..]);
        let mut upload = Upload::new(b"POST\r\n\r\n".to_vec(), Length::Bytes(5));
        upload.take(&inbox).unwrap();
        assert!(upload.may_be_sent_again(false), "nothing was sent");
        for _ in 0..2 {
            assert_eq!(sent(&mut upload, &mut inbox).await, b"POST\r\n\r\nhello");
            assert!(upload.is_done() && upload.may_be_sent_again(true) && !upload.may_be_sent_again(false));
            upload.rewind();
        }
        sent(&mut upload, &mut inbox).await;
        upload.release(&mut inbox);
        assert_eq!((&inbox[..], upload.is_done(), upload.may_be_sent_again(true)), (&b"GET /"[..], true, false));
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_to_be_kept_flows() {
        let mut upload = Upload::new(b"POST\r\n\r\n".to_vec(), Length::Bytes(200_000));
        let (mut inbox, mut came) = (BytesMut::new(), 0);
        for _ in 0..20 {
            inbox.extend_from_slice(&[b'x'; 10_000]);
            upload.take(&inbox).unwrap();
            came += sent(&mut upload, &mut inbox).await.len();
            assert!(inbox.len() <= KEPT_MAX + 10_000, "{}", inbox.len());
        }
        assert_eq!(came, 8 + 200_000);
        assert!(upload.is_done() && inbox.is_empty() && !upload.may_be_sent_again(true));
    }
}
