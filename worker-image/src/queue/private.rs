//! The sockets of one worker that only the primary connects to.
//!
//! A program may take the listening socket that it inherits, or listen on `PORT` itself. It gets both: the socket, and the number of another port that
//! is kept free for it. Which of them it uses is seen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use crate::listener::{self, BACKLOG, Transport};

/// The sockets of one worker. They end with it: whoever waits in them is told so by the kernel, and not left waiting for a dead one.
#[derive(Debug)]
pub struct Private {
    /// The listening socket that the worker inherits.
    pub listener: Arc<OwnedFd>,
    /// Where that is.
    pub inherited: SocketAddr,
    /// Where the worker may listen itself.
    pub own: SocketAddr,
    /// Keeps that port from being given to others. It does not listen, and so is not in the way of a program that sets `SO_REUSEADDR`, as servers of
    /// all languages do.
    _reserved: OwnedFd,
}

impl Private {
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let transport = Transport::Tcp { backlog: BACKLOG, shares_port: false };
        let listener = listener::open(any, false, transport)?;
        let reserved = reserve()?;
        let address = |socket: &OwnedFd| listener::local_address(socket).ok_or(Errno::INVAL);
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, address(&reserved)?.port()));
        Ok(Self { inherited: address(&listener)?, listener: Arc::new(listener), own, _reserved: reserved })
    }
}

/// A port of all addresses, since a program may listen on any of them.
fn reserve() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_program_can_listen_on_the_port_that_is_kept_for_it() {
        let private = Private::open().unwrap();
        assert!(TcpStream::connect(private.own).is_err(), "nobody listens there yet");
        // std sets SO_REUSEADDR, as all servers do.
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, private.own.port()));
        let _listener = TcpListener::bind(all).unwrap();
        assert!(TcpStream::connect(private.own).is_ok());
    }

    #[test]
    fn who_waits_for_a_worker_that_is_gone_is_told_so() {
        use std::io::Read;
        let private = Private::open().unwrap();
        let mut waits = TcpStream::connect(private.inherited).unwrap();
        drop(private);
        assert!(waits.read(&mut [0; 1]).is_err(), "a reset, and not silence");
    }
}
