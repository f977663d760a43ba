//! A connection to a worker or a client, over TCP, or within the primary.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    /// Its other end is ours as well.
    Within(DuplexStream),
}

impl Stream {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Whether nothing came, and its other end is still there, as far as that is known by now.
    pub fn is_silent(&self) -> bool {
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut [0; 1]),
            Self::Within(_) => return true,
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, as the kernel knows it in this moment: what is known by now may be what was so when something was last read.
    pub fn is_open(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let read = match self {
            Self::Tcp(stream) => recv(stream, &mut [0; 1], flags),
            Self::Within(_) => return true,
        };
        read.is_err_and(|error| error == Errno::AGAIN)
    }

    /// Has the kernel find out a peer that vanishes without a word.
    pub fn keep_alive(&self) {
        if let Self::Tcp(stream) = self {
            let _ = sockopt::set_socket_keepalive(stream, true);
        }
    }

    /// Has the kernel find out within seconds that another replica is gone, as a node that is lost says nothing: it answers whatever is sent, and
    /// keeps silent for as long as a worker works.
    pub fn watch_peer(&self) {
        if let Self::Tcp(stream) = self {
            let second = std::time::Duration::from_secs(1);
            // Each of them only makes it later.
            let _ = sockopt::set_socket_keepalive(stream, true);
            let _ = sockopt::set_tcp_keepidle(stream, second * 2);
            let _ = sockopt::set_tcp_keepintvl(stream, second);
            let _ = sockopt::set_tcp_keepcnt(stream, 3);
        }
    }

    /// Has it end when what was sent is not taken for so long, be it that nobody acknowledges it or that the other end takes no more.
    pub fn end_unanswered(&self, after: std::time::Duration) {
        if let Self::Tcp(stream) = self {
            let milliseconds = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
            let _ = sockopt::set_tcp_user_timeout(stream, milliseconds); // else it ends later
        }
    }

    /// Has it end with a reset, and not as if all had come.
    pub fn end_hard(&self) {
        if let Self::Tcp(stream) = self {
            let _ = sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Within(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Within(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Within(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // nothing is kept back
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Within(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
