//! A connection that can be ended by RST.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection.
pub struct Line {
    stream: TcpStream,
    reset: Reset,
}

/// Whether the connection is to end by RST.
#[derive(Clone, Default)]
pub struct Reset(Arc<AtomicBool>);

// === impl Reset ===

impl Reset {
    /// It is to end so.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// === impl Line ===

impl Line {
    /// A connection that ends in good order.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, reset: Reset::default() }
    }

    /// What ends it by RST.
    pub fn reset(&self) -> Reset {
        self.reset.clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.0.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(())); // no FIN before the RST
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
