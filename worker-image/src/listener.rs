//! Opens the sockets that workers share, and asks the kernel how long their accept queues are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

/// As many connections as may wait to be accepted; the kernel lowers it to net.core.somaxconn.
pub const BACKLOG: i32 = 4096;

/// What a socket is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, listening with this backlog.
    Tcp {
        /// At most so many connections wait.
        backlog: i32,
        /// Whether it is one of several sockets on this port.
        shares_port: bool,
    },
    /// UDP, bound.
    Udp {
        /// Whether several sockets may have the port.
        reuse: bool,
    },
}

/// Opens a socket on an internet address. It does not block, because workers that share it (and Node 18) need that.
///
/// # Errors
/// The kernel's error number, which Node passes on to the program as it is.
pub fn open(address: SocketAddr, only_v6: bool, transport: Transport) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (kind, protocol) = match transport {
        Transport::Tcp { .. } => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp { .. } => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = socket_with(family, kind, flags, Some(protocol))?;
    if !matches!(transport, Transport::Udp { reuse: false }) {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if matches!(transport, Transport::Tcp { shares_port: true, .. }) {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only_v6)?;
    }
    bind(&socket, &address)?;
    if let Transport::Tcp { backlog, .. } = transport {
        // What is accepted from it has it too. Servers set it on each connection, but not all know that an inherited socket is one of TCP: asyncio under
        // `uvicorn --fd` does not, and each answer on a kept connection then waits for the client's delayed acknowledgement, 40 ms.
        sockopt::set_tcp_nodelay(&socket, true)?;
        listen(&socket, backlog)?;
    }
    Ok(socket)
}

/// Opens a listening socket for both versions of the internet protocol where `[::]` is asked for and the machine
/// has IPv6, and for version 4 alone where it has not.
///
/// # Errors
/// The kernel's error number.
pub fn open_dual(address: SocketAddr, shares_port: bool) -> Result<OwnedFd, Errno> {
    let transport = Transport::Tcp { backlog: BACKLOG, shares_port };
    match open(address, false, transport) {
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if address.ip().is_unspecified() && address.is_ipv6() => {
            open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()), false, transport)
        }
        opened => opened,
    }
}

/// Opens a listening unix socket. A file that is there is an error, as in Node.
///
/// # Errors
/// The kernel's error number.
pub fn open_unix(path: &Path, backlog: i32) -> Result<OwnedFd, Errno> {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

/// Makes the accept queue as long again as it was: Node calls `listen` once more with a backlog of 511.
pub fn restore_backlog(socket: &OwnedFd) {
    let _ = listen(socket, BACKLOG); // it listens already, and goes on with the shorter queue otherwise
}

/// Whether somebody waits to be accepted, on a listening socket of any kind.
pub fn has_waiting(socket: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&socket, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// How full an accept queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Connections that no worker has taken yet.
    pub depth: u32,
    /// How many may wait.
    pub backlog: u32,
}

/// Where the number of the socket's file is, to find it in `/proc`. `None` for what is no socket.
pub fn inode(socket: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|stat| stat.st_ino)
}

/// The address that a socket is bound to.
pub fn local_address(socket: impl AsFd) -> Option<SocketAddr> {
    let address = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok()
}

/// Asks the kernel for a listening socket's accept queue.
pub fn queue(socket: &OwnedFd) -> Option<Queue> {
    crate::kernel::accept_queue(socket).map(|(depth, backlog)| Queue { depth, backlog })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_accepted_from_it_sends_small_answers_at_once() {
        for shares_port in [false, true] {
            let listener = open_dual(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), shares_port).unwrap();
            let address = local_address(&listener).unwrap();
            let _client = TcpStream::connect(address).unwrap();
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(false).unwrap();
            assert!(listener.accept().unwrap().0.nodelay().unwrap());
        }
    }
}
