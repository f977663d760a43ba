//! `sd_notify`: one abstract datagram socket for each slot, on which its worker says `READY=1`.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, bind,
    recvmsg, socket_with, sockopt,
};
use rustix::process::{Pid, getpgid};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// systemd's own limit for a message is 4 KiB.
const MESSAGE_MAX: usize = 4096;

/// A worker, or a process of its, says that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyMessage {
    /// The slot, as an index.
    pub slot: usize,
    /// The group of the process that said it; `None` if that process has ended already, as `systemd-notify` does.
    pub group: Option<u32>,
}

/// Opens the socket of a slot and listens on it in a task. Gives what belongs into `NOTIFY_SOCKET`.
///
/// # Errors
/// When the kernel gives no socket.
pub fn serve(
    slot: usize,
    ready: mpsc::Sender<ReadyMessage>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> io::Result<String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_passcred(&socket, true)?;
    let mut nonce = [0_u8; 8];
    getrandom(&mut nonce, GetRandomFlags::empty())?;
    // Abstract, so that it needs no writable folder. The nonce keeps two pods' containers in one network apart.
    let name = format!("workercluster/{:016x}/{}", u64::from_ne_bytes(nonce), slot + 1);
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    let socket = crate::kernel::watched(socket)?;
    tasks.spawn(listen(socket, slot, ready));
    Ok(format!("@{name}"))
}

async fn listen(socket: AsyncFd<OwnedFd>, slot: usize, ready: mpsc::Sender<ReadyMessage>) {
    loop {
        match socket.async_io(tokio::io::Interest::READABLE, |fd| receive(fd.as_fd())).await {
            Ok(Some(sender)) => {
                let group = getpgid(Some(sender)).ok().map(|group| group.as_raw_nonzero().get().unsigned_abs());
                if ready.send(ReadyMessage { slot, group }).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(_) => return, // the slot then goes by other evidence
        }
    }
}

/// The sender of a message that says `READY=1`; `None` for any other message.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    let mut bytes = [0_u8; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut sender = None;
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.for_each(drop),
            _ => {}
        }
    }
    let text = bytes.get(..received.bytes).unwrap_or_default();
    Ok(sender.filter(|_| says_ready(text)))
}

fn says_ready(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! What a worker says on its socket.

    /// Only the whole line counts, wherever it stands.
    pub fn message(data: &[u8]) {
        let says = super::says_ready(data);
        let text = String::from_utf8_lossy(data);
        assert_eq!(says, text.split('\n').any(|line| line == "READY=1"));
        let after = [data, b"\nREADY=1\n"].concat();
        assert!(super::says_ready(&after));
    }
}
