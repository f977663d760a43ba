//! The sockets that workers asked for by Node's cluster module: opened once for each key, kept for ever, and handed
//! to every worker that asks for the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use serde_json::value::RawValue;

use super::channel::Answer;
use super::message::{AddressType, Query};
use super::tell::{refusal, round_robin, server};
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
    /// The file of a unix socket, which stays behind when the socket is closed, and would be in the next one's way.
    file: Option<SocketFile>,
}

/// A file that is unlinked as long as it is still the one that was made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> Option<Self> {
        let made = fs::symlink_metadata(path).ok()?;
        // The worker may live in another folder later; the name is to lead to the same place until the end.
        let path = std::path::absolute(path).ok()?;
        Some(Self { path, device: made.dev(), inode: made.ino() })
    }

    fn unlink(&self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (self.device, self.inode)) {
            let _ = fs::remove_file(&self.path); // the folder may not let us any more: nobody is harmed
        }
    }
}

/// All sockets that Node workers share.
#[derive(Debug, Default)]
pub struct Servers {
    opened: BTreeMap<Identity, Server>,
    /// Workers get connections, and not the sockets that they come in on.
    passing: bool,
    /// Which keys each worker holds at the moment.
    held: BTreeMap<u32, BTreeMap<String, Identity>>,
}

pub use super::main_socket::Main;

/// Whether a worker wants to listen where the primary's own socket is, or would be: its port on any address, or the
/// descriptor that it inherited.
pub fn wants_main(query: &Query, main_port: u16) -> bool {
    let fd = query.fd.unwrap_or(-1);
    let tcp = matches!(query.address_type, AddressType::V4 | AddressType::V6);
    let by_port = fd < 0 && tcp && query.port == Some(i64::from(main_port));
    by_port || fd == i64::from(FIRST_INHERITED_FD)
}

/// The main socket, as one worker has it.
#[derive(Clone, Debug)]
pub struct Own {
    /// Where the primary's is bound.
    pub address: SocketAddr,
    /// What the worker gets for it.
    pub socket: Arc<OwnedFd>,
    /// The primary's.
    pub first: Arc<OwnedFd>,
}

impl Servers {
    /// None yet. With `passing`, workers get the connections and not the listening sockets, but for UDP, which has none.
    pub fn new(passing: bool) -> Self {
        Self { passing, ..Self::default() }
    }

    /// Answers a worker that wants to listen. Any address with the main socket's port means the main socket, or that of the worker.
    pub fn answer(&mut self, pid: u32, query: &Query, main: Option<&Own>) -> Answer {
        let port = query.port.unwrap_or(-1);
        let fd = query.fd.unwrap_or(-1);
        let kind = query.address_type;
        let key = key(query);
        let own = main.map(|main| &main.socket);
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
        let passes = self.passing && !kind.is_udp();
        let opened = self.find_or_open(pid, &identity, query, wants_main);
        let answer = match opened {
            Ok(found) if passes => {
                let bound = listener::local_address(&found.socket);
                Answer::line(round_robin(&key, query.seq, found.data.as_deref(), bound))
            }
            Ok(found) => {
                let bytes = server(&key, query.seq, found.data.as_deref(), kind.is_udp());
                let socket = own.filter(|_| found.is_main).unwrap_or(&found.socket);
                Answer::with(bytes, Arc::clone(socket))
            }
            Err(error) => {
                let bytes = refusal(&key, query.seq, error.raw_os_error(), query.data.as_deref());
                return Answer::line(bytes);
            }
        };
        self.held.entry(pid).or_default().insert(key, identity);
        answer
    }

    /// Where the connections come in that a worker is to be handed, and what it calls its server: after [`Self::answer`] to this query.
    pub fn door(&self, pid: u32, query: &Query) -> Option<(String, Arc<OwnedFd>)> {
        let key = key(query);
        let server = self.opened.get(self.held.get(&pid)?.get(&key)?)?;
        (self.passing && !query.address_type.is_udp()).then(|| (key, Arc::clone(&server.socket)))
    }

    fn find_or_open(
        &mut self,
        pid: u32,
        identity: &Identity,
        query: &Query,
        main: Option<&Own>,
    ) -> Result<&Server, Errno> {
        let holds = self.held.get(&pid).is_some_and(|held| held.values().any(|one| one == identity));
        if holds && !query.address_type.is_udp() {
            return Err(Errno::ADDRINUSE); // a second server of this worker on the same address, as without cluster
        }
        if !self.opened.contains_key(identity) {
            if self.opened.len() >= MAX_SERVERS {
                return Err(Errno::MFILE);
            }
            let opened = match main {
                Some(main) => Server {
                    socket: Arc::clone(&main.first),
                    name: main.address.to_string(),
                    is_tcp: true,
                    data: None,
                    is_main: true,
                    file: None,
                },
                None => open(query)?,
            };
            self.opened.insert(identity.clone(), opened);
        }
        let found = self.opened.get_mut(identity).ok_or(Errno::INVAL)?;
        if found.data.is_none() {
            found.data.clone_from(&query.data);
        }
        Ok(found)
    }

    /// A worker closed a server; the socket stays for the others. Says whether it was that of the primary's port.
    pub fn close(&mut self, pid: u32, key: &str) -> bool {
        let closed = self.held.get_mut(&pid).and_then(|held| held.remove(key));
        closed.and_then(|identity| self.opened.get(&identity)).is_some_and(|server| server.is_main)
    }

    /// The main socket was closed, or another one took its place.
    pub fn forget_main(&mut self) {
        self.opened.retain(|_, server| !server.is_main);
    }

    /// A worker ended.
    pub fn forget(&mut self, pid: u32) {
        self.held.remove(&pid);
    }

    /// The listening sockets that were opened here, with their names; not the main one.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        let opened = self.opened.values().filter(|server| server.is_tcp && !server.is_main);
        opened.map(|server| (server.name.as_str(), server.socket.as_ref()))
    }

    /// Those of them that a worker holds.
    pub fn listeners_of(&self, pid: u32) -> impl Iterator<Item = &OwnedFd> {
        let held = self.held.get(&pid).into_iter().flat_map(BTreeMap::values);
        let servers = held.filter_map(|identity| self.opened.get(identity));
        servers.filter(|server| server.is_tcp && !server.is_main).map(|server| server.socket.as_ref())
    }

    /// Takes the files of unix sockets away: nobody finds them any more, and the next start finds no file in its way.
    pub fn unlink_files(&mut self) {
        for file in self.opened.values_mut().filter_map(|server| server.file.take()) {
            file.unlink();
        }
    }

    /// The ports of the listening sockets that were opened here.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.listeners()
            .filter_map(|(_, socket)| listener::local_address(socket))
            .map(|address| address.port())
            .collect()
    }
}

/// What a worker calls the server that it asks for; no other of its servers has the same.
fn key(query: &Query) -> String {
    let address = query.address.as_deref().unwrap_or("null");
    let (port, fd) = (query.port.unwrap_or(-1), query.fd.unwrap_or(-1));
    format!("{address}:{port}:{}:{fd}:{}", query.address_type.wire_name(), query.index)
}

/// Opens what a worker asked for, as Node's own primary would.
fn open(query: &Query) -> Result<Server, Errno> {
    if query.fd.is_some_and(|fd| fd >= 0) {
        return Err(Errno::INVAL); // a descriptor of the primary: it has none for workers
    }
    let backlog = query.backlog.and_then(|backlog| i32::try_from(backlog).ok()).filter(|backlog| *backlog > 0);
    let transport = match query.address_type {
        AddressType::Udp4 | AddressType::Udp6 => Transport::Udp { reuse: query.flags.unwrap_or(0) & UDP_REUSE != 0 },
        _ => {
            let backlog = backlog.unwrap_or(listener::BACKLOG).min(listener::BACKLOG);
            Transport::Tcp { backlog, shares_port: false }
        }
    };
    let new = |socket: OwnedFd, name: String| {
        let is_tcp = matches!(transport, Transport::Tcp { .. });
        Server { socket: Arc::new(socket), name, is_tcp, data: None, is_main: false, file: None }
    };
    let address = query.address.as_deref().filter(|address| !address.is_empty());
    if query.address_type == AddressType::Path {
        let path = address.ok_or(Errno::INVAL)?;
        // libuv says that the folder may not be written to where there is none, and so do we.
        let socket = listener::open_unix(Path::new(path), backlog.unwrap_or(listener::BACKLOG))
            .map_err(|error| if error == Errno::NOENT { Errno::ACCESS } else { error })?;
        return Ok(Server { file: SocketFile::of(Path::new(path)), ..new(socket, path.to_string()) });
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
        String::from_utf8(answer.bytes.to_vec()).unwrap()
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
            (r#""address":"/no/such/folder/x.sock","port":-1,"addressType":-1"#, "-13"),
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
        let socket = Arc::new(listener::open_dual("127.0.0.1:0".parse().unwrap(), false).unwrap());
        let address = listener::local_address(&socket).unwrap();
        let own = Own { address, socket: socket.clone(), first: socket };
        let rest = format!(r#""port":{},"addressType":4"#, address.port());
        let mut servers = Servers::default();
        assert_eq!(port(&servers.answer(1, &query(1, 0, &rest), Some(&own))), address.port());
        assert!(text(&servers.answer(1, &query(2, 1, &rest), Some(&own))).contains(r#""errno":-98"#));
        let key = format!("null:{}:4:-1:0", address.port());
        servers.close(1, &key);
        assert_eq!(port(&servers.answer(1, &query(3, 2, &rest), Some(&own))), address.port());
        assert_eq!(port(&servers.answer(2, &query(1, 0, r#""fd":3,"port":-1"#), Some(&own))), address.port());
        assert_eq!(servers.listeners().count(), 0, "the main socket is not one of these");
    }

    #[test]
    fn where_connections_are_passed_on_a_worker_gets_no_socket_but_for_udp() {
        let mut servers = Servers::new(true);
        let asked = query(1, 0, ANY_PORT);
        let answer = servers.answer(1, &asked, None);
        let (name, door) = servers.door(1, &asked).unwrap();
        let bound = listener::local_address(&door).unwrap();
        assert!(answer.socket.is_none());
        let sockname = format!(r#""sockname":{{"address":"127.0.0.1","family":"IPv4","port":{}}}"#, bound.port());
        assert!(text(&answer).contains(&sockname) && text(&answer).contains(&name), "{}", text(&answer));
        let udp = query(2, 0, r#""address":"127.0.0.1","port":0,"addressType":"udp4""#);
        assert!(servers.answer(1, &udp, None).socket.is_some() && servers.door(1, &udp).is_none());
        assert!(servers.door(2, &asked).is_none(), "it has not asked");
    }

    #[test]
    fn a_unix_socket_and_udp_are_opened() {
        let path = std::env::temp_dir().join(format!("primary-servers-{}.sock", std::process::id()));
        let mut servers = Servers::default();
        let rest = format!(r#""address":"{}","port":-1,"addressType":-1"#, path.display());
        assert!(servers.answer(1, &query(1, 0, &rest), None).socket.is_some());
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        servers.unlink_files();
        assert!(!path.exists(), "it would be in the way of the next start");
        assert!(Servers::default().answer(1, &query(1, 0, &rest), None).socket.is_some());
        std::fs::remove_file(&path).unwrap();
        let answer = servers.answer(1, &query(2, 0, r#""address":"127.0.0.1","port":0,"addressType":"udp4""#), None);
        assert!(text(&answer).contains("dgram.Native") && answer.socket.is_some());
    }
}
