//! Connections on which nothing leaves once the fence is closed: it is asked at each write to the socket, below TLS.
//!
//! Asked only before a call, a process that is stopped between the question and the socket (SIGSTOP, a frozen cgroup, a long page fault)
//! would send its write when it goes on, under the Lease of another. What is left here is the time between reading the clock and the
//! system call that follows it. A write that is refused halfway is a request that never becomes whole: the API server drops it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower::Service;

use crate::leader::{Pass, fence::Closed};

/// Makes fenced connections out of those of another connector.
#[derive(Clone)]
pub struct Fenced<C> {
    connector: C,
    pass: Pass,
}

/// A connection that reads always and writes only while its term lasts.
pub struct Stream<T> {
    inner: T,
    pass: Pass,
}

/// Whether an error comes from the fence.
pub fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        io.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Closed>)
    })
}

// === impl Fenced ===

impl<C> Fenced<C> {
    pub fn new(connector: C, pass: Pass) -> Self {
        Self { connector, pass }
    }
}

impl<C> Service<Uri> for Fenced<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Stream<C::Response>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<Self::Response, C::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, pass) = (self.connector.call(to), self.pass.clone());
        Box::pin(async move { Ok(Stream { inner: connecting.await?, pass }) })
    }
}

// === impl Stream ===

impl<T> Stream<T> {
    fn permit(&self) -> io::Result<()> {
        self.pass.permit().map(drop).map_err(|closed| io::Error::new(io::ErrorKind::PermissionDenied, closed))
    }
}

impl<T: Write + Unpin> Write for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.permit()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.permit()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // A TCP socket keeps nothing back that a flush would send.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<T: Read + Unpin> Read for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: Connection> Connection for Stream<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::leader::{Fence, fence::Moment};

    fn pair(fence: &Fence, term: u64) -> (Stream<TokioIo<tokio::io::DuplexStream>>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        (Stream { inner: TokioIo::new(ours), pass: fence.pass(term) }, theirs)
    }

    async fn write(stream: &mut Stream<TokioIo<tokio::io::DuplexStream>>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await
    }

    #[tokio::test]
    async fn nothing_leaves_after_the_fence_has_closed_nor_in_the_next_term() {
        let (fence, now) = (Fence::default(), Moment::now());
        fence.open(1, now.after(Duration::from_secs(60)));
        let (mut stream, mut peer) = pair(&fence, 1);
        assert_eq!(write(&mut stream, b"POST").await.unwrap(), 4);
        fence.close();
        let refused = write(&mut stream, b" late").await.unwrap_err();
        assert!(is_closed(&refused), "{refused:?}");
        fence.open(2, now.after(Duration::from_secs(60)));
        assert!(is_closed(&write(&mut stream, b" later").await.unwrap_err()));
        drop(stream);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"POST");
    }
}
