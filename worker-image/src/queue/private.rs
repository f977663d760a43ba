//! The sockets of one worker that only the primary connects to.
//!
//! A program may take the listening socket that it inherits, or listen on `PORT` itself. It gets both: the socket, and the number of another port that
//! is kept free for it. Which of them it uses is seen. Node's cluster module refuses a socket that has not the port which the program asked for: for
//! a program with Node's channel it is on the primary's own port, at an address of this machine's own that no other worker has.

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
    /// The port on which it may listen itself.
    pub own: Option<Reserved>,
}

/// A port that is kept for a worker.
#[derive(Debug)]
pub struct Reserved {
    /// Where the worker is found when it listens there.
    pub address: SocketAddr,
    /// Keeps the port from being given to others. It does not listen, and so is not in the way of a program that sets `SO_REUSEADDR`, as servers of
    /// all languages do, or `SO_REUSEPORT`.
    _socket: OwnedFd,
}

impl Private {
    /// Of a worker that takes the socket which it inherits, or listens itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = listener::open(any, false, Transport::Tcp { backlog: BACKLOG, shares_port: false })?;
        let socket = reserve()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bound(&socket)?.port()));
        let own = Some(Reserved { address, _socket: socket });
        Ok(Self { inherited: bound(&listener)?, listener: Arc::new(listener), own })
    }

    /// Of a worker with Node's channel: on this port, at the address that has this number. The primary's own socket on the port has to allow others
    /// beside it; the kernel gives a connection to the one whose address is said most exactly.
    ///
    /// # Errors
    /// The kernel's.
    pub fn on(port: u16, number: u64) -> io::Result<Self> {
        let [.., high, middle, low] = (number % (1 << 22)).to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, FIRST | high, middle, low), port));
        let listener = listener::open(address, false, Transport::Tcp { backlog: BACKLOG, shares_port: true })?;
        Ok(Self { inherited: address, listener: Arc::new(listener), own: None })
    }
}

/// Addresses of workers begin at 127.64.0.0, so that nobody's 127.0.0.1 is in the way; there are 2^22 of them.
const FIRST: u8 = 64;

fn bound(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    listener::local_address(socket).ok_or(Errno::INVAL)
}

/// A port of all addresses, since a program may listen on any of them.
fn reserve() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
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
        let own = private.own.unwrap();
        assert!(TcpStream::connect(own.address).is_err(), "nobody listens there yet");
        // std sets SO_REUSEADDR, as all servers do.
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, own.address.port()));
        let _listener = TcpListener::bind(all).unwrap();
        assert!(TcpStream::connect(own.address).is_ok());
    }

    #[test]
    fn so_can_one_that_sets_only_so_reuseport() {
        let own = Private::open().unwrap().own.unwrap();
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP)).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        bind(&socket, &own.address).unwrap();
        rustix::net::listen(&socket, 16).unwrap();
        assert!(TcpStream::connect(own.address).is_ok());
    }

    #[test]
    fn workers_have_the_primarys_port_at_addresses_of_their_own() {
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let main = listener::open(all, false, Transport::Tcp { backlog: 16, shares_port: true }).unwrap();
        let port = bound(&main).unwrap().port();
        let (one, two) = (Private::on(port, 1).unwrap(), Private::on(port, 300).unwrap());
        assert_eq!(one.inherited, SocketAddr::from(([127, 64, 0, 1], port)));
        assert_eq!(two.inherited, SocketAddr::from(([127, 64, 1, 44], port)));
        let waits = |socket: &OwnedFd| listener::queue(socket).unwrap().depth;
        let _clients =
            [two.inherited, SocketAddr::from((Ipv4Addr::LOCALHOST, port))].map(|to| TcpStream::connect(to).unwrap());
        assert_eq!((waits(&main), waits(&one.listener), waits(&two.listener)), (1, 0, 1));
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
