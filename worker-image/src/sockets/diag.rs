//! The kernel's answer by netlink: `sock_diag(7)`, `linux/inet_diag.h`.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::{Seen, Wanted};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;

/// `struct nlmsghdr`
const HEADER: usize = 16;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`
const REQUEST: usize = HEADER + 56;

/// The kernel fills at most so much at a time.
const PIECE: usize = 32 * 1024;

/// The kernel answers at once; this is for what only looks like it.
const PATIENCE: Duration = Duration::from_secs(1);

/// More pieces than two million sockets would be are no answer.
const PIECES_MAX: usize = 8192;

/// Tells of each TCP socket of these states, IPv4 and IPv6, and of these ports where it is one; the rest is for the caller to
/// leave out.
///
/// # Errors
/// No netlink, no `inet_diag` in the kernel, or an answer that is none.
pub fn each(wanted: Wanted<'_>, take: &mut dyn FnMut(Seen)) -> io::Result<()> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let mut piece = vec![0; PIECE];
    let mut dump = |family| -> io::Result<()> {
        send(&socket, &request(family, wanted), SendFlags::empty())?;
        for _ in 0..PIECES_MAX {
            let (read, length) = recv(&socket, &mut piece, RecvFlags::TRUNC)?;
            if length > read {
                return Err(Errno::MSGSIZE.into());
            }
            if replies(&piece[..read], take)? {
                return Ok(());
            }
        }
        Err(Errno::OVERFLOW.into())
    };
    dump(AddressFamily::INET)?;
    match dump(AddressFamily::INET6) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()), // a kernel without IPv6
        done => done,
    }
}

fn request(family: AddressFamily, wanted: Wanted<'_>) -> [u8; REQUEST] {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    // 0 is any.
    let port = wanted.ports.first().filter(|_| wanted.ports.len() == 1).copied().unwrap_or_default();
    let mut request = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &flags.to_ne_bytes());
    put(HEADER, &[u8::try_from(family.as_raw()).unwrap_or_default(), libc::IPPROTO_TCP.to_ne_bytes()[0]]);
    put(HEADER + 4, &wanted.states.to_ne_bytes());
    put(HEADER + 8, &port.to_be_bytes());
    request
}

/// Tells of each socket in a piece of the answer, and whether it was the last piece.
pub fn replies(mut piece: &[u8], take: &mut dyn FnMut(Seen)) -> io::Result<bool> {
    while !piece.is_empty() {
        let message = u32_at(piece, 0).and_then(|length| piece.get(..usize::try_from(length).ok()?));
        let (message, kind) = message.zip(u16_at(piece, 4)).ok_or(Errno::BADMSG)?;
        let body = message.get(HEADER..).ok_or(Errno::BADMSG)?;
        match i32::from(kind) {
            libc::NLMSG_DONE => return failure(body).map_or(Ok(true), Err),
            libc::NLMSG_ERROR => return Err(failure(body).unwrap_or_else(|| Errno::BADMSG.into())),
            _ if kind == BY_FAMILY => take(seen(body).ok_or(Errno::BADMSG)?),
            _ => {}
        }
        piece = piece.get(message.len().next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The error that a message carries; 0 is none.
fn failure(body: &[u8]) -> Option<io::Error> {
    let code = u32_at(body, 0)?.cast_signed();
    (code < 0).then(|| io::Error::from_raw_os_error(code.saturating_neg()))
}

/// `struct inet_diag_msg`
fn seen(body: &[u8]) -> Option<Seen> {
    Some(Seen {
        state: *body.get(1)?,
        port: u16_at(body, 4).map(u16::from_be)?,
        unread: u32_at(body, 56)?,
        inode: u32_at(body, 68)?.into(),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        [
            &length.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &[0; 10],
            body,
            &vec![0; body.len().next_multiple_of(4) - body.len()],
        ]
        .concat()
    }

    fn told(piece: &[u8]) -> Result<(Vec<Seen>, bool), Option<i32>> {
        let mut told = Vec::new();
        let last = replies(piece, &mut |seen| told.push(seen)).map_err(|error| error.raw_os_error())?;
        Ok((told, last))
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_what_is_none_is_refused() {
        let mut body = [0; 72];
        body[1] = 1;
        body[4..6].copy_from_slice(&8080_u16.to_be_bytes());
        body[56..60].copy_from_slice(&5_u32.to_ne_bytes());
        body[68..72].copy_from_slice(&4242_u32.to_ne_bytes());
        let socket = message(BY_FAMILY, &body);
        let seen = Seen { state: 1, port: 8080, unread: 5, inode: 4242 };
        assert_eq!(told(&socket), Ok((vec![seen], false)));
        let done = message(3, &0_i32.to_ne_bytes());
        assert_eq!(
            told(&[&socket[..], &message(9, b"odd"), &socket, &done, b"beyond"].concat()),
            Ok((vec![seen, seen], true))
        );
        assert_eq!(told(&message(2, &(-libc::ENOENT).to_ne_bytes())), Err(Some(libc::ENOENT)));
        assert_eq!(told(&message(3, &(-libc::EINTR).to_ne_bytes())), Err(Some(libc::EINTR)));
        let broken = Err(Some(Errno::BADMSG.raw_os_error()));
        for piece in
            [&socket[..40], &[0; 16], &message(BY_FAMILY, &body[..71]), b"x", &[&[15, 0, 0, 0][..], &[0; 12]].concat()]
        {
            assert_eq!(told(piece), broken);
        }
    }
}
