//! What is said of a client to a worker: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use super::field::{is, write};
use super::together::Paths;
use crate::queue::table::PeerId;

/// How a request is read, and what is added to it on its way.
#[derive(Clone, Copy, Debug)]
pub struct Forwarder<'a> {
    /// Who asks.
    pub client: SocketAddr,
    /// What [`written`] gives for it.
    pub written: &'a [u8],
    /// Whether what came before us may be believed: what it says of the client is kept, and the client is added.
    pub trusts: bool,
    /// The replicas that are known at the client's address: what such a one says of the client is what we would have said.
    pub peers: &'a [PeerId],
    /// Requests for these may be answered together.
    pub together: &'a Paths,
    /// The cookie that says which worker a client wants.
    pub cookie: Option<&'a str>,
}

/// Fields in which a proxy says who asked, and how.
const X: &str = "x-forwarded-";

/// See [`X`].
pub fn is_of_forwarder(name: &str) -> bool {
    is(name, "forwarded") || name.get(..X.len()).is_some_and(|start| is(start, X))
}

/// What is said of a client where nobody before it is believed.
pub fn written(client: IpAddr) -> Vec<u8> {
    let client = client.to_canonical();
    format!("x-forwarded-for: {client}\r\nforwarded: {}\r\nx-forwarded-proto: http\r\n", node(client)).into_bytes()
}

/// A client in `Forwarded` (RFC 7239 6).
fn node(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    }
}

impl Forwarder<'_> {
    /// What came is kept only where it is trusted: a client could say anything of itself.
    pub(super) fn write(self, fields: &[httparse::Header<'_>], hops: bool, to: &mut Vec<u8>) {
        if hops {
            for field in fields.iter().filter(|field| is_of_forwarder(field.name)) {
                write(to, field.name, field.value);
            }
            return;
        }
        if !self.trusts {
            to.extend_from_slice(self.written);
            return;
        }
        let kept = |name: &'static str| fields.iter().filter(move |field| is(field.name, name));
        to.extend_from_slice(b"x-forwarded-for: ");
        for field in kept("x-forwarded-for") {
            to.extend_from_slice(field.value);
            to.extend_from_slice(b", ");
        }
        let client = self.client.ip().to_canonical();
        to.extend_from_slice(client.to_string().as_bytes());
        to.extend_from_slice(b"\r\nforwarded: ");
        for field in kept("forwarded") {
            to.extend_from_slice(field.value);
            to.extend_from_slice(b", ");
        }
        to.extend_from_slice(node(client).as_bytes());
        to.extend_from_slice(b"\r\n");
        let others = fields.iter().filter(|field| is_of_forwarder(field.name));
        for field in others.filter(|field| !is(field.name, "x-forwarded-for") && !is(field.name, "forwarded")) {
            write(to, field.name, field.value);
        }
        if kept("x-forwarded-proto").next().is_none() {
            to.extend_from_slice(b"x-forwarded-proto: http\r\n");
        }
    }
}
