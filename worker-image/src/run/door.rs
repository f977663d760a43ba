//! The end of the replica at its listening sockets: nobody new is let in, and it is looked at when nobody waits any more.
//! Workers that are told before that close their copies, and with the last one the kernel resets whoever waits.

use std::time::{Duration, Instant};

use super::{Primary, pace};
use crate::ipc::servers::Main;
use crate::log::Level;
use crate::machine::Event;
use crate::queue::Desk;
use crate::{kernel, listener, sockets};

/// How often to look.
const EVERY: Duration = Duration::from_millis(20);

/// What the primary knows of its closed door.
#[derive(Debug, Default)]
pub(super) struct Door {
    closed: bool,
    next: Option<Instant>,
    unread: Unread,
}

impl Door {
    /// Whether nobody new is let in.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// When to look next.
    pub fn due(&self) -> Option<Instant> {
        self.next
    }
}

/// The accepted connections that had bytes to be read when the queues were first seen empty, and still have.
#[derive(Debug, Default)]
struct Unread(Option<sockets::Inodes>);

impl Unread {
    /// Takes in one look: whether somebody is still outside, and the connections with unread bytes, if that can be seen. Says
    /// whether all that was let in has been read from once. Node closes connections that it has accepted and not read from; what
    /// comes later on them is the next request of a client that goes on for ever.
    fn settles(&mut self, somebody_waits: bool, unread: Option<sockets::Inodes>) -> bool {
        if somebody_waits {
            self.0 = None;
            return false;
        }
        let Some(unread) = unread else { return true };
        let left = match self.0.take() {
            Some(before) => before.intersection(&unread).copied().collect(),
            None => unread,
        };
        let settled = left.is_empty();
        self.0 = Some(left);
        settled
    }
}

impl Primary {
    /// Lets no new client in, on any listening socket.
    pub(super) fn close_door(&mut self) {
        self.door.closed = true;
        self.door.next = self.door.next.or_else(|| Some(Instant::now()));
        self.servers.unlink_files();
        if let Some(queue) = &self.queue {
            queue.close();
        }
        let main = self.main.iter().flat_map(Main::sockets);
        for socket in main.chain(self.servers.listeners().map(|(_, socket)| socket)) {
            // A unix socket has no segments; nobody finds it without its file.
            if listener::local_address(socket).is_none() {
                continue;
            }
            if let Err(error) = kernel::close_door(socket) {
                let message =
                    format!("new connections come in until the end, as the system refuses the filter: {error}");
                self.log.write(Level::Warning, &message, &[]);
            }
        }
    }

    /// What was opened since is closed as well: a worker that was replaced may have asked for it.
    pub(super) fn keep_door_closed(&mut self) {
        if self.door.is_closed() {
            self.close_door();
        }
    }

    /// Looks who waits, if it is time and the machine wants to know.
    pub(super) fn look_at_the_door_if_due(&mut self) {
        if !self.machine.watch().emptying {
            self.door.next = None;
            return;
        }
        let now = Instant::now();
        if self.door.next.is_none_or(|next| now < next) {
            return;
        }
        let settled = self.look_at_the_door();
        self.door.next = Some(pace::after(now, EVERY));
        if settled {
            self.feed(Event::Emptied);
        } else if let Some(connections) = self.waiting() {
            self.feed(Event::StillWaiting { connections });
        }
    }

    fn look_at_the_door(&mut self) -> bool {
        let main = self.main.iter().flat_map(Main::sockets);
        let mut sockets = main.chain(self.servers.listeners().map(|(_, socket)| socket)).peekable();
        if sockets.peek().is_none() {
            return true; // the program has its own, which the primary cannot close
        }
        let now = self.now();
        let stays = self.machine.upgraded_until().is_some_and(|until| now < until);
        let holds = |desk: &Desk| desk.holds_requests() || stays && desk.holds_others_upgraded();
        let held = self.queue.as_ref().is_some_and(|queue| holds(&queue.desk));
        let queued = held || self.passing.is_busy() || sockets.any(listener::has_waiting);
        let (half_open, unread) = match sockets::at_the_door(&self.ports()) {
            Some((half_open, unread)) => (half_open, Some(unread)),
            None => (false, None),
        };
        self.door.unread.settles(queued || half_open, unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_settled_when_all_that_was_let_in_was_read_from_once() {
        let sight = |inodes: &[u64]| Some(inodes.iter().copied().collect());
        let mut unread = Unread::default();
        assert!(!unread.settles(true, sight(&[])), "somebody waits");
        assert!(!unread.settles(false, sight(&[1, 2])));
        assert!(!unread.settles(false, sight(&[2, 3])), "3 was read from before, and sent more");
        assert!(!unread.settles(true, sight(&[2])), "a last handshake came to its end");
        assert!(!unread.settles(false, sight(&[2, 4])));
        assert!(unread.settles(false, sight(&[5])));
        assert!(Unread::default().settles(false, None), "nothing can be seen, so nothing is waited for");
    }
}
