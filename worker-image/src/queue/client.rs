//! A client's connection: what came on it, and whether it is still there.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::http::written;
use super::rhythm::Rhythm;
use super::stream::Stream;

/// So much is read at a time.
pub const PIECE: usize = 16 * 1024;

/// A client that has sent so much after its request has to wait with more.
const AHEAD_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub struct Client {
    pub stream: Stream,
    pub peer: SocketAddr,
    /// What came and is not used yet.
    pub inbox: BytesMut,
    /// It sends nothing more.
    pub ended: bool,
    /// It has not asked for anything yet.
    pub is_new: bool,
    /// So many bytes came from it.
    pub given: u64,
    /// Its connection ends with the next answer.
    pub is_last: bool,
    /// So often another replica has asked on it what there is room for.
    pub greetings: u32,
    pub rhythm: Rhythm,
    /// What is said of it to workers where nobody before it is believed.
    pub written: Vec<u8>,
}

impl Client {
    pub fn new(stream: Stream, peer: SocketAddr) -> Self {
        let (inbox, rhythm, written) = (BytesMut::new(), Rhythm::new(), written(peer.ip()));
        Self {
            stream,
            peer,
            inbox,
            ended: false,
            is_new: true,
            given: 0,
            is_last: false,
            greetings: 0,
            rhythm,
            written,
        }
    }

    /// Reads what there is; 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(read(&mut self.stream, &mut self.inbox, cx))?;
        self.ended |= count == 0;
        self.given = self.given.saturating_add(count as u64);
        Poll::Ready(Ok(count))
    }

    pub async fn read(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Reads ahead, while it waits for something else, so that its end is seen; so many bytes of what came are still of the request that waits.
    pub fn poll_ahead(&mut self, own: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended && self.inbox.len() < own + AHEAD_MAX {
            ready!(self.poll_read(cx))?;
        }
        if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Empty lines between two requests are nothing (RFC 9112 2.2).
    pub fn skip_empty_lines(&mut self) {
        let empty = self.inbox.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.inbox.advance(empty);
    }

    /// Sends these bytes and ends the connection so that they arrive: what the client still sends is read for a moment, else the kernel would take
    /// back what was sent.
    pub async fn dismiss(mut self, words: &[u8]) {
        if self.stream.write_all(words).await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        self.inbox.clear();
        let mut left = LINGER_MAX;
        while let Ok(count @ 1..) = self.read().await {
            self.inbox.clear();
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }
}

/// So much a client that is sent away may still send before it is cut off.
const LINGER_MAX: usize = 1 << 20;

/// Writes as much of two parts as is taken, one after the other; with a plain call where one of them is empty, which costs the kernel less.
pub fn write_both<W: AsyncWrite + Unpin>(
    to: &mut W,
    first: &[u8],
    second: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let to = Pin::new(to);
    match (first, second) {
        (only, []) | ([], only) => to.poll_write(cx, only),
        _ => to.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]),
    }
}

/// Reads what there is, over a place on the stack: an inbox takes no more memory than what has come, however slowly that is.
pub fn read<R: AsyncRead + Unpin>(from: &mut R, inbox: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(from).poll_read(cx, &mut piece))?;
    inbox.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}
