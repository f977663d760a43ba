//! The sockets that workers asked for by Node's cluster module: opened once for each key, kept for ever, and handed
//! to every worker that asks for the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use serde_json::value::RawValue;

use super::channel::Answer;
use super::message::{AddressType, Query, refusal, server};
use crate::kernel::FIRST_INHERITED_FD;
use crate::listener::{self, Transport};

/// A worker that asks for more different sockets than this gets an error; each costs a descriptor for ever.
const MAX_SERVERS: usize = 256;

/// libuv's flag for IPv6 without IPv4.
const IPV6_ONLY: i64 = 1;

/// libuv's flag for several UDP sockets on one address.
const UDP_REUSE: i64 = 4;

/// What makes two queries mean the same socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Identity {
    address: Option<String>,
    port: i64,
    kind: &'static str,
    fd: i64,
    /// Only for port 0, where each server of a worker has a port of its own.
    index: u64,
}

/// One socket for all workers.
#[derive(Debug)]
struct Server {
    socket: Arc<OwnedFd>,
    /// Where it is bound, or its path.
    name: String,
    is_tcp: bool,
    /// What the first worker gave for the others.
    data: Option<Box<RawValue>>,
    /// It is the primary's own, from `--listen`.
    is_main: bool,
}

/// All sockets that Node workers share.
#[derive(Debug, Default)]
pub struct Servers {
    servers: BTreeMap<Identity, Server>,
    /// Which keys each worker holds at the moment.
    held: BTreeMap<u32, BTreeMap<String, Identity>>,
}

/// The primary's own listening socket.
#[derive(Clone, Debug)]
pub struct Main {
    /// The socket.
    pub socket: Arc<OwnedFd>,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// Whether a worker wants to listen where the primary's own socket is, or would be: its port on any address, or the
/// descriptor that it inherited.
pub fn wants_main(query: &Query, main_port: u16) -> bool {
    let fd = query.fd.unwrap_or(-1);
    let tcp = matches!(query.address_type, AddressType::V4 | AddressType::V6);
    let by_port = fd < 0 && tcp && query.port == Some(i64::from(main_port));
    by_port || fd == i64::from(FIRST_INHERITED_FD)
}

impl Servers {
    /// Answers a worker that wants to listen. Any address with the main socket's port means the main socket.
    pub fn answer(&mut self, pid: u32, query: &Query, main: Option<&Main>) -> Answer {
        let port = query.port.unwrap_or(-1);
        let fd = query.fd.unwrap_or(-1);
        let kind = query.address_type;
        let address = query.address.as_deref();
        let key = format!("{}:{port}:{}:{fd}:{}", address.unwrap_or("null"), kind.wire_name(), query.index);
        let wants_main = main.filter(|main| wants_main(query, main.address.port()));
        let identity = match wants_main {
            Some(main) => {
                Identity { address: None, port: i64::from(main.address.port()), kind: "main", fd: -1, index: 0 }
            }
            None => Identity {
                address: query.address.clone(),
                port,
                kind: kind.wire_name(),
                fd,
                index: if port == 0 { query.index } else { 0 },
            },
        };
        let opened = self.find_or_open(pid, &identity, query, wants_main);
        let answer = match opened {
            Ok(found) => Answer {
                bytes: server(&key, query.seq, found.data.as_deref(), kind.is_udp()),
                socket: Some(Arc::clone(&found.socket)),
            },
            Err(error) => {
                let bytes = refusal(&key, query.seq, error.raw_os_error(), query.data.as_deref());
                return Answer { bytes, socket: None };
            }
        };
        self.held.entry(pid).or_default().insert(key, identity);
        answer
    }

    fn find_or_open(
        &mut self,
        pid: u32,
        identity: &Identity,
        query: &Query,
        main: Option<&Main>,
    ) -> Result<&Server, Errno> {
        let holds = self.held.get(&pid).is_some_and(|held| held.values().any(|one| one == identity));
        if holds && !query.address_type.is_udp() {
            return Err(Errno::ADDRINUSE); // a second server of this worker on the same address, as without cluster
        }
        if !self.servers.contains_key(identity) {
            if self.servers.len() >= MAX_SERVERS {
                return Err(Errno::MFILE);
            }
            let opened = match main {
                Some(main) => Server {
                    socket: Arc::clone(&main.socket),
                    name: main.address.to_string(),
                    is_tcp: true,
                    data: None,
                    is_main: true,
                },
                None => open(query)?,
            };
            self.servers.insert(identity.clone(), opened);
        }
        let found = self.servers.get_mut(identity).ok_or(Errno::INVAL)?;
        if found.data.is_none() {
            found.data.clone_from(&query.data);
        }
        Ok(found)
    }

    /// A worker closed a server; the socket stays for the others.
    pub fn close(&mut self, pid: u32, key: &str) {
        if let Some(held) = self.held.get_mut(&pid) {
            held.remove(key);
        }
    }

    /// The main socket was closed, or another one took its place.
    pub fn forget_main(&mut self) {
        self.servers.retain(|_, server| !server.is_main);
    }

    /// A worker ended.
    pub fn forget(&mut self, pid: u32) {
        self.held.remove(&pid);
    }

    /// The listening sockets that were opened here, with their names; not the main one.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        let opened = self.servers.values().filter(|server| server.is_tcp && !server.is_main);
        opened.map(|server| (server.name.as_str(), server.socket.as_ref()))
    }

    /// The ports of the listening sockets that were opened here.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.listeners()
            .filter_map(|(_, socket)| listener::local_address(socket))
            .map(|address| address.port())
            .collect()
    }
}

/// Opens what a worker asked for, as Node's own primary would.
fn open(query: &Query) -> Result<Server, Errno> {
    if query.fd.is_some_and(|fd| fd >= 0) {
        return Err(Errno::INVAL); // a descriptor of the primary: it has none for workers
    }
    let backlog = query.backlog.and_then(|backlog| i32::try_from(backlog).ok()).filter(|backlog| *backlog > 0);
    let transport = match query.address_type {
        AddressType::Udp4 | AddressType::Udp6 => Transport::Udp { reuse: query.flags.unwrap_or(0) & UDP_REUSE != 0 },
        _ => Transport::Tcp { backlog: backlog.unwrap_or(listener::BACKLOG).min(listener::BACKLOG) },
    };
    let new = |socket: OwnedFd, name: String| {
        let is_tcp = matches!(transport, Transport::Tcp { .. });
        Server { socket: Arc::new(socket), name, is_tcp, data: None, is_main: false }
    };
    let address = query.address.as_deref().filter(|address| !address.is_empty());
    if query.address_type == AddressType::Path {
        let path = address.ok_or(Errno::INVAL)?;
        let socket = listener::open_unix(Path::new(path), backlog.unwrap_or(listener::BACKLOG))?;
        return Ok(new(socket, path.to_string()));
    }
    let port = query.port.and_then(|port| u16::try_from(port).ok()).ok_or(Errno::INVAL)?;
    let only_v6 = query.flags.unwrap_or(0) & IPV6_ONLY != 0;
    let any = |ip: IpAddr| SocketAddr::new(ip, port);
    let (v4, v6) = (any(Ipv4Addr::UNSPECIFIED.into()), any(Ipv6Addr::UNSPECIFIED.into()));
    let socket = match (address, query.address_type) {
        (Some(text), _) => {
            let ip: IpAddr = text.parse().map_err(|_| Errno::INVAL)?;
            listener::open(any(ip), only_v6, transport)?
        }
        (None, AddressType::Udp4) => listener::open(v4, false, transport)?,
        (None, AddressType::Udp6) => listener::open(v6, only_v6, transport)?,
        // Node tries both versions together first, and version 4 where there is no version 6.
        (None, _) => listener::open(v6, only_v6, transport).or_else(|_| listener::open(v4, false, transport))?,
    };
    let name = listener::local_address(&socket).map_or_else(|| format!("port {port}"), |address| address.to_string());
    Ok(new(socket, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::message::{FromWorker, parse};

    fn query(seq: u64, index: u64, rest: &str) -> Query {
        let line = format!(r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","seq":{seq},"index":{index},{rest}}}"#);
        match parse(line.as_bytes()).unwrap() {
            FromWorker::QueryServer(query) => *query,
            other => panic!("{other:?}"),
        }
    }

    fn text(answer: &Answer) -> String {
        String::from_utf8(answer.bytes.clone()).unwrap()
    }

    fn port(answer: &Answer) -> u16 {
        listener::local_address(answer.socket.as_ref().unwrap()).unwrap().port()
    }

    const ANY_PORT: &str = r#""address":"127.0.0.1","port":0,"addressType":4"#;

    #[test]
    fn workers_that_ask_for_the_same_get_the_same_socket() {
        let mut servers = Servers::default();
        let first = servers.answer(1, &query(1, 0, &format!(r#"{ANY_PORT},"data":{{"ticket":"k"}}"#)), None);
        let second = servers.answer(2, &query(9, 0, ANY_PORT), None);
        assert_eq!(port(&first), port(&second));
        assert!(text(&second).contains(r#""data":{"ticket":"k"}"#), "the first one's data: {}", text(&second));
        assert!(text(&second).contains(r#""ack":9"#));
        let other = servers.answer(1, &query(2, 1, ANY_PORT), None);
        assert_ne!(port(&first), port(&other), "another server on port 0 has a port of its own");
        assert_eq!(servers.listeners().count(), 2);
    }

    #[test]
    fn errors_have_the_kernels_number() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!(r#""address":"127.0.0.1","port":{},"addressType":4"#, taken.local_addr().unwrap().port());
        let cases = [
            (taken.as_str(), "-98"),
            (r#""address":"192.0.2.1","port":9,"addressType":4"#, "-99"),
            (r#""address":"nonsense","port":9,"addressType":4"#, "-22"),
            (r#""port":70000,"addressType":4"#, "-22"),
            (r#""fd":7,"port":-1,"addressType":4"#, "-22"),
        ];
        for (rest, errno) in cases {
            let answer = Servers::default().answer(1, &query(1, 0, rest), None);
            assert!(
                answer.socket.is_none() && text(&answer).contains(&format!(r#""errno":{errno}"#)),
                "{rest}: {}",
                text(&answer)
            );
        }
    }

    #[test]
    fn a_server_that_was_closed_can_listen_again_and_a_second_one_cannot() {
        let socket = Arc::new(listener::open_dual("127.0.0.1:0".parse().unwrap()).unwrap());
        let address = listener::local_address(&socket).unwrap();
        let main = Main { socket, address };
        let rest = format!(r#""port":{},"addressType":4"#, address.port());
        let mut servers = Servers::default();
        assert_eq!(port(&servers.answer(1, &query(1, 0, &rest), Some(&main))), address.port());
        assert!(text(&servers.answer(1, &query(2, 1, &rest), Some(&main))).contains(r#""errno":-98"#));
        let key = format!("null:{}:4:-1:0", address.port());
        servers.close(1, &key);
        assert_eq!(port(&servers.answer(1, &query(3, 2, &rest), Some(&main))), address.port());
        assert_eq!(port(&servers.answer(2, &query(1, 0, r#""fd":3,"port":-1"#), Some(&main))), address.port());
        assert_eq!(servers.listeners().count(), 0, "the main socket is not one of these");
    }

    #[test]
    fn a_unix_socket_and_udp_are_opened() {
        let path = std::env::temp_dir().join(format!("primary-servers-{}.sock", std::process::id()));
        let mut servers = Servers::default();
        let rest = format!(r#""address":"{}","port":-1,"addressType":-1"#, path.display());
        assert!(servers.answer(1, &query(1, 0, &rest), None).socket.is_some());
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        let answer = servers.answer(1, &query(2, 0, r#""address":"127.0.0.1","port":0,"addressType":"udp4""#), None);
        assert!(text(&answer).contains("dgram.Native") && answer.socket.is_some());
    }
}
