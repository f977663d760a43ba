//! One worker's end of Node's channel: a task that reads and one that writes, both bounded.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::body::Bytes;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::frame::{Frame, Lines};
use super::message::{BrokenFrame, FromWorker, parse};
use super::passing::{Passing, WorkerId};

/// One read takes so much.
const READ_SIZE: usize = 16 * 1024;

/// So many answers may wait for a worker that does not read; more than that, and the channel is closed.
const ANSWERS: usize = 64;

/// Messages of other workers leave so many places to answers, and are no more bytes than that; those for which there is no room are dropped.
const PLACES_FOR_ANSWERS: usize = 16;
const MAX_RELAYED: usize = 4 << 20;

/// Bytes of long messages of all workers that may wait for the loop; a worker that says more waits in its own socket.
const ROOM: usize = 4 << 20;

/// Bun writes this before each message of its cluster module, and expects it before the answers.
const INTERNAL_MARK: u8 = 2;

/// An answer, and the socket that goes along.
pub struct Answer {
    /// One line.
    pub bytes: Bytes,
    /// Sent with the first byte.
    pub socket: Option<Arc<OwnedFd>>,
    kind: AnswerKind,
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerKind {
    /// Node's own.
    Internal,
    /// The program's, from the primary.
    Words,
    /// The program's, from another worker.
    Relayed,
}

impl Answer {
    /// One line, with nothing along.
    pub fn line(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), socket: None, kind: AnswerKind::Internal }
    }

    /// One line for the program and not for Node.
    pub fn words(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), socket: None, kind: AnswerKind::Words }
    }

    /// One line, with a socket.
    pub fn with(bytes: Vec<u8>, socket: Arc<OwnedFd>) -> Self {
        Self { bytes: bytes.into(), socket: Some(socket), kind: AnswerKind::Internal }
    }
}

/// The primary's end of a channel, to write to. The channel closes when all of them are dropped.
#[derive(Clone, Debug)]
pub struct Outbox {
    answers: mpsc::Sender<Answer>,
    /// Bytes of messages of other workers that wait.
    relayed: Arc<AtomicUsize>,
}

impl Outbox {
    /// Has it written; `false` where the worker does not read.
    pub fn say(&self, answer: Answer) -> bool {
        self.answers.try_send(answer).is_ok()
    }

    /// The same for what can be left unsaid: `false` where there are not many places left, and nothing else comes of it.
    pub fn ask(&self, answer: Answer) -> bool {
        self.answers.capacity() > PLACES_FOR_ANSWERS && self.say(answer)
    }

    /// The same for a message of another worker; `false` where it is dropped.
    pub fn relay(&self, line: Bytes) -> bool {
        let waiting = self.relayed.load(Ordering::Relaxed);
        if self.answers.capacity() <= PLACES_FOR_ANSWERS || waiting + line.len() > MAX_RELAYED {
            return false;
        }
        let length = line.len();
        self.relayed.fetch_add(length, Ordering::Relaxed);
        let said = self.say(Answer { bytes: line, socket: None, kind: AnswerKind::Relayed });
        if !said {
            self.relayed.fetch_sub(length, Ordering::Relaxed);
        }
        said
    }
}

/// What came from a worker's channel.
#[derive(Debug)]
pub enum ChannelEvent {
    /// A message; with it goes its place among those that wait, where it is a long one.
    Message(FromWorker, Option<OwnedSemaphorePermit>),
    /// A line of the program's that was too long to be read, and was dropped.
    Dropped,
    /// It is closed; the words say why, unless the worker closed it.
    Closed(Option<String>),
}

/// Where what workers say goes.
#[derive(Clone, Debug)]
pub struct Ears {
    events: mpsc::Sender<(u32, ChannelEvent)>,
    passing: Passing,
    /// Somebody wants to know what workers measure.
    gathers: bool,
    room: Arc<Semaphore>,
}

/// A worker, as its process and as what no other ever is.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// Process id.
    pub pid: u32,
    /// Number.
    pub id: WorkerId,
}

impl Ears {
    /// `gathers` is whether answers about metrics are read at all.
    pub fn new(events: mpsc::Sender<(u32, ChannelEvent)>, passing: Passing, gathers: bool) -> Self {
        Self { events, passing, gathers, room: Arc::new(Semaphore::new(ROOM)) }
    }

    /// Has a message taken in; `false` where nobody listens any more.
    async fn take(&self, pid: u32, message: FromWorker, length: usize) -> bool {
        let long = matches!(message, FromWorker::Relay(_) | FromWorker::Metrics { .. });
        let place = match u32::try_from(length.min(ROOM)) {
            Ok(length) if long => Arc::clone(&self.room).acquire_many_owned(length).await.ok(),
            _ => None,
        };
        self.events.send((pid, ChannelEvent::Message(message, place))).await.is_ok()
    }
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

/// Starts to serve a channel. Events carry the worker's process id.
///
/// # Errors
/// When the descriptor cannot be watched.
pub fn serve(
    socket: OwnedFd,
    speaker: Speaker,
    ears: Ears,
    tasks: &mut tokio::task::JoinSet<()>,
) -> io::Result<Outbox> {
    let socket = Arc::new(crate::kernel::watched(socket)?);
    let (answers, queue) = mpsc::channel(ANSWERS);
    let marks = Arc::<AtomicBool>::default();
    tasks.spawn(read_all(Arc::clone(&socket), speaker, ears, Arc::clone(&marks)));
    let relayed = Arc::<AtomicUsize>::default();
    tasks.spawn(write_all(socket, queue, Arc::clone(&relayed), marks));
    Ok(Outbox { answers, relayed })
}

async fn read_all(socket: Arc<AsyncFd<OwnedFd>>, speaker: Speaker, ears: Ears, marks: Arc<AtomicBool>) {
    let Speaker { pid, id } = speaker;
    let mut lines = Lines::default();
    let reason = loop {
        // With its length; `None` for one that was dropped.
        let mut found: Vec<Option<(FromWorker, usize)>> = Vec::new();
        let mut bytes = [0_u8; READ_SIZE];
        match socket.async_io(tokio::io::Interest::READABLE, |fd| receive(fd.as_fd(), &mut bytes)).await {
            Ok(0) => break None,
            Ok(length) => {
                let cut = lines.push(bytes.get(..length).unwrap_or_default(), |frame| {
                    match frame {
                        Frame::Line(line) => {
                            let unmarked = line.strip_prefix(&[INTERNAL_MARK]);
                            if unmarked.is_some() {
                                marks.store(true, Ordering::Relaxed);
                            }
                            match parse(unmarked.unwrap_or(line))? {
                                FromWorker::Other => {}
                                FromWorker::Metrics { .. } if !ears.gathers => {}
                                // One for each connection: they do not go through the loop, which has other things to do.
                                FromWorker::Answered { seq, accepted } => ears.passing.answered(id, seq, accepted),
                                FromWorker::Arrived(arrived) => ears.passing.arrived(id, arrived),
                                message => found.push(Some((message, line.len()))),
                            }
                        }
                        Frame::TooLong => found.push(None),
                    }
                    Ok::<(), BrokenFrame>(())
                });
                for event in found {
                    let taken = match event {
                        Some((message, length)) => ears.take(pid, message, length).await,
                        None => ears.events.send((pid, ChannelEvent::Dropped)).await.is_ok(),
                    };
                    if !taken {
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
    // Whose words cannot be read may still take what it was handed, for as long as it lives.
    ears.passing.heard_out(id, reason.is_none());
    let _ = ears.events.send((pid, ChannelEvent::Closed(reason))).await;
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

async fn write_all(
    socket: Arc<AsyncFd<OwnedFd>>,
    mut queue: mpsc::Receiver<Answer>,
    relayed: Arc<AtomicUsize>,
    marks: Arc<AtomicBool>,
) {
    'all: while let Some(mut answer) = queue.recv().await {
        if answer.kind == AnswerKind::Internal && marks.load(Ordering::Relaxed) {
            answer.bytes = [&[INTERNAL_MARK], &answer.bytes[..]].concat().into();
        }
        let mut sent = 0;
        while let Some(rest) = answer.bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let along = answer.socket.as_deref().filter(|_| sent == 0);
            match socket.async_io(tokio::io::Interest::WRITABLE, |fd| send(fd.as_fd(), rest, along)).await {
                Ok(length) => sent += length,
                Err(_) => break 'all, // the reading task sees the end that follows, and reports it
            }
        }
        if answer.kind == AnswerKind::Relayed {
            relayed.fetch_sub(answer.bytes.len(), Ordering::Relaxed);
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
