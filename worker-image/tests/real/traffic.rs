//! Clients that ask again and again for as long as something is done to the workers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt;

/// The code that `GET /` is answered with, over a connection of its own. That ends with a reset once the answer is there: thousands of such
/// connections would stay behind in the kernel for a minute (`TIME_WAIT`), and whoever looks for a socket there looks through all of them.
pub fn ask(port: u16, patience: Duration) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.filter(|_| answer.contains("\r\n\r\n")).ok_or_else(|| io::Error::other(format!("no answer: {answer:?}")))
}
