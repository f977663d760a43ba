//! What the kernel knows of TCP sockets in this network: who listens on a port, which connections were accepted, and which
//! of those have bytes that nobody has read.
//!
//! It is asked by netlink (`sock_diag`, as `ss` does), which leaves out what is not asked for: a server that gets a
//! connection for each request has some ten thousand in `TIME_WAIT`, of which `/proc/net/tcp` writes a line each, and reading
//! them took longer than the pause between two looks. Where netlink is not to be had (gVisor, some security modules), the
//! table is read all the same.

mod diag;
mod table;

use std::collections::BTreeSet;

/// The numbers of sockets.
pub type Inodes = BTreeSet<u64>;

/// `TCP_SYN_RECV`, `TCP_TIME_WAIT` and `TCP_LISTEN` of the kernel, and the first and the last of all states that its table shows.
const SYN_RECEIVED: u8 = 3;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;
const ESTABLISHED: u8 = 1;
const CLOSING: u8 = 11;

/// One socket as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    state: u8,
    port: u16,
    /// Bytes that have come and were not read.
    unread: u32,
    /// 0 where no process has it: a handshake, a connection that nobody has accepted yet.
    inode: u64,
}

/// Which sockets are asked for: states, each as the bit of its number, and local ports.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    states: u32,
    ports: &'a BTreeSet<u16>,
}

impl<'a> Wanted<'a> {
    fn listening(ports: &'a BTreeSet<u16>) -> Self {
        Self { states: 1 << LISTEN, ports }
    }

    fn connections(ports: &'a BTreeSet<u16>) -> Self {
        let states = (ESTABLISHED..=CLOSING).filter(|state| ![TIME_WAIT, LISTEN].contains(state));
        Self { states: states.fold(0, |bits, state| bits | 1 << state), ports }
    }

    fn includes(self, seen: Seen) -> bool {
        self.states.checked_shr(u32::from(seen.state)).is_some_and(|bits| bits & 1 == 1)
            && self.ports.contains(&seen.port)
    }

    /// Tells of each of them, of some perhaps twice. `None` when that cannot be seen.
    fn each(self, mut take: impl FnMut(Seen)) -> Option<()> {
        let mut take = |seen| {
            if self.includes(seen) {
                take(seen);
            }
        };
        diag::each(self, &mut take).ok().or_else(|| table::each(&mut take))
    }

    fn held(self, wanted: impl Fn(Seen) -> bool) -> Option<Inodes> {
        let mut found = Inodes::new();
        self.each(|seen| found.extend((seen.inode != 0 && wanted(seen)).then_some(seen.inode)))?;
        Some(found)
    }
}

/// The listening sockets on a port. `None` when they cannot be seen.
pub fn listening_on(port: u16) -> Option<Inodes> {
    Wanted::listening(&BTreeSet::from([port])).held(|_| true)
}

/// The accepted connections to these ports. `None` when they cannot be seen.
pub fn accepted_on(ports: &BTreeSet<u16>) -> Option<Inodes> {
    Wanted::connections(ports).held(|_| true)
}

/// The accepted connections to these ports with bytes that their worker has not read. `None` as above.
pub fn unread_on(ports: &BTreeSet<u16>) -> Option<Inodes> {
    Wanted::connections(ports).held(|seen| seen.unread > 0)
}

/// Whether clients are in the middle of the handshake on these ports, and the accepted connections with bytes that their
/// worker has not read. `None` as above.
pub fn at_the_door(ports: &BTreeSet<u16>) -> Option<(bool, Inodes)> {
    let (mut half_open, mut unread) = (false, Inodes::new());
    Wanted::connections(ports).each(|seen| {
        half_open |= seen.state == SYN_RECEIVED;
        unread.extend((seen.inode != 0 && seen.unread > 0).then_some(seen.inode));
    })?;
    Some((half_open, unread))
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! What the kernel answers, from any bytes.

    /// Each way in turn.
    pub fn answers(data: &[u8]) {
        let _ = super::diag::replies(data, &mut |_| {});
        for line in String::from_utf8_lossy(data).lines() {
            let _ = super::table::socket(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn both_ways_tell_the_same_of_a_socket_from_its_listening_to_its_end() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let ports = BTreeSet::from([port]);
            let seen = |wanted: Wanted<'_>| {
                let (mut by_netlink, mut by_table) = (Vec::new(), Vec::new());
                diag::each(wanted, &mut |seen| by_netlink.push(seen)).unwrap();
                table::each(&mut |seen| by_table.push(seen)).unwrap();
                by_netlink.retain(|seen| wanted.includes(*seen));
                by_table.retain(|seen| wanted.includes(*seen));
                assert_eq!(by_netlink, by_table);
                by_netlink
            };
            assert!(matches!(seen(Wanted::listening(&ports))[..], [Seen { state: LISTEN, inode: 1.., .. }]));
            assert_eq!(listening_on(port).map(|found| found.len()), Some(1));
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(b"seven b").unwrap();
            let waiting = Seen { state: ESTABLISHED, port, unread: 7, inode: 0 };
            assert_eq!(seen(Wanted::connections(&ports)), [waiting], "nobody has accepted it");
            assert_eq!(accepted_on(&ports), Some(Inodes::new()));
            let (accepted, _) = listener.accept().unwrap();
            let of_accepted = seen(Wanted::connections(&ports));
            assert!(
                matches!(of_accepted[..], [Seen { state: ESTABLISHED, unread: 7, inode: 1.., .. }]),
                "{of_accepted:?}"
            );
            assert_eq!(unread_on(&ports), accepted_on(&ports));
            assert_eq!(at_the_door(&ports), Some((false, unread_on(&ports).unwrap())));
            assert_eq!(accepted_on(&BTreeSet::new()), Some(Inodes::new()));
            drop(accepted); // with bytes unread, so that the connection is reset and gone
            drop(client);
            assert_eq!(seen(Wanted::connections(&ports)), []);
        }
    }
}
