//! `sd_notify`: one abstract datagram socket for each slot, on which its workers say `READY=1` and `WATCHDOG=1`.

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

/// A worker, or a process of its, says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The number of the slot.
    pub slot: u32,
    /// The group of the process that said it; `None` if that process has ended already, as `systemd-notify` does.
    pub group: Option<u32>,
    /// What it said.
    pub words: Words,
}

/// What of a message concerns the primary; a message may say both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// `READY=1`
    pub ready: bool,
    /// `WATCHDOG=1`
    pub alive: bool,
}

/// Opens the socket of a slot and listens on it in a task. Gives what belongs into `NOTIFY_SOCKET`.
///
/// # Errors
/// When the kernel gives no socket.
pub fn serve(slot: u32, said: mpsc::Sender<Said>, tasks: &mut tokio::task::JoinSet<()>) -> io::Result<String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_passcred(&socket, true)?;
    let mut nonce = [0_u8; 8];
    getrandom(&mut nonce, GetRandomFlags::empty())?;
    // Abstract, so that it needs no writable folder. The nonce keeps two pods' containers in one network apart.
    let name = format!("workercluster/{:016x}/{slot}", u64::from_ne_bytes(nonce));
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    let socket = crate::kernel::watched(socket)?;
    tasks.spawn(listen(socket, slot, said));
    Ok(format!("@{name}"))
}

async fn listen(socket: AsyncFd<OwnedFd>, slot: u32, said: mpsc::Sender<Said>) {
    loop {
        match socket.async_io(tokio::io::Interest::READABLE, |fd| receive(fd.as_fd())).await {
            Ok(Some((sender, words))) => {
                let group = getpgid(Some(sender)).ok().map(|group| group.as_raw_nonzero().get().unsigned_abs());
                if said.send(Said { slot, group, words }).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(_) => return, // the slot then goes by other evidence
        }
    }
}

/// The sender of a message, and what it says; `None` where that is nothing of concern.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Pid, Words)>> {
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
    let words = words(text);
    Ok(sender.filter(|_| words != Words::default()).map(|sender| (sender, words)))
}

fn words(text: &[u8]) -> Words {
    let says = |wanted: &[u8]| text.split(|byte| *byte == b'\n').any(|line| line == wanted);
    Words { ready: says(b"READY=1"), alive: says(b"WATCHDOG=1") }
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! What a worker says on its socket.

    /// Only whole lines count, wherever they stand.
    pub fn message(data: &[u8]) {
        let said = super::words(data);
        let text = String::from_utf8_lossy(data);
        for (line, says) in [("READY=1", said.ready), ("WATCHDOG=1", said.alive)] {
            assert_eq!(says, text.split('\n').any(|one| one == line));
        }
        let after = [data, b"\nREADY=1\nWATCHDOG=1\n"].concat();
        assert_eq!(super::words(&after), super::Words { ready: true, alive: true });
    }
}
