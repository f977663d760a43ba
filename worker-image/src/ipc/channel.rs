//! One worker's end of Node's channel: a task that reads and one that writes, both bounded.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::frame::{Frame, Lines};
use super::message::{BrokenFrame, FromWorker, parse};

/// One read takes so much.
const READ_SIZE: usize = 16 * 1024;

/// So many answers may wait for a worker that does not read; more than that, and the channel is closed.
const ANSWERS: usize = 64;

/// An answer, and the socket that goes along.
pub struct Answer {
    /// One line.
    pub bytes: Vec<u8>,
    /// Sent with the first byte.
    pub socket: Option<Arc<OwnedFd>>,
}

/// What came from a worker's channel.
#[derive(Debug)]
pub enum ChannelEvent {
    /// A message.
    Message(FromWorker),
    /// A line of the program's that was too long to be read, and was dropped.
    Dropped,
    /// It is closed; the words say why, unless the worker closed it.
    Closed(Option<String>),
}

/// A pair of connected sockets: the primary's, and the one that the worker inherits.
///
/// # Errors
/// When the kernel gives no descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours_and_theirs = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours_and_theirs.0, true)?;
    Ok(ours_and_theirs)
}

/// Starts to serve a channel. Events carry the worker's process id. The channel closes when the sender is dropped.
///
/// # Errors
/// When the descriptor cannot be watched.
pub fn serve(
    socket: OwnedFd,
    pid: u32,
    events: mpsc::Sender<(u32, ChannelEvent)>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> io::Result<mpsc::Sender<Answer>> {
    let socket = Arc::new(crate::kernel::watched(socket)?);
    let (answers, queue) = mpsc::channel(ANSWERS);
    tasks.spawn(read_all(Arc::clone(&socket), pid, events));
    tasks.spawn(write_all(socket, queue));
    Ok(answers)
}

async fn read_all(socket: Arc<AsyncFd<OwnedFd>>, pid: u32, events: mpsc::Sender<(u32, ChannelEvent)>) {
    let mut lines = Lines::default();
    let reason = loop {
        let mut found = Vec::new();
        let mut bytes = [0_u8; READ_SIZE];
        match socket.async_io(tokio::io::Interest::READABLE, |fd| receive(fd.as_fd(), &mut bytes)).await {
            Ok(0) => break None,
            Ok(length) => {
                let cut = lines.push(bytes.get(..length).unwrap_or_default(), |frame| {
                    match frame {
                        Frame::Line(line) => match parse(line)? {
                            FromWorker::Other => {}
                            message => found.push(ChannelEvent::Message(message)),
                        },
                        Frame::TooLong => found.push(ChannelEvent::Dropped),
                    }
                    Ok::<(), BrokenFrame>(())
                });
                for event in found {
                    if events.send((pid, event)).await.is_err() {
                        return;
                    }
                }
                if let Err(broken) = cut {
                    break Some(broken.to_string());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    let _ = events.send((pid, ChannelEvent::Closed(reason))).await;
}

/// Reads once. Descriptors that come along are closed: the primary has no use for a worker's handles.
fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptors.for_each(drop);
        }
    }
    Ok(received.bytes)
}

async fn write_all(socket: Arc<AsyncFd<OwnedFd>>, mut queue: mpsc::Receiver<Answer>) {
    while let Some(answer) = queue.recv().await {
        let mut sent = 0;
        while let Some(rest) = answer.bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let along = answer.socket.as_deref().filter(|_| sent == 0);
            match socket.async_io(tokio::io::Interest::WRITABLE, |fd| send(fd.as_fd(), rest, along)).await {
                Ok(length) => sent += length,
                Err(_) => return, // the reading task sees the end and reports it
            }
        }
    }
    // Nobody answers any more: the worker shall see the end of the channel, and the reading task as well.
    let _ = rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Both);
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], along: Option<&OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = along.iter().map(|fd| fd.as_fd()).collect();
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}
