//! The primary's own port: one listening socket that all workers share, or one for each slot.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::config::Balancing;
use crate::kernel::MEMBERS_MAX;
use crate::listener::{self, Queue};

/// The primary's own port.
#[derive(Clone, Debug)]
pub struct Main {
    /// Never empty; of several, the first is slot 1's.
    sockets: Vec<Arc<OwnedFd>>,
    /// Where they are bound.
    pub address: SocketAddr,
    steered: bool,
}

impl Main {
    /// Opens the first socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(address: SocketAddr, balancing: Balancing) -> io::Result<Self> {
        let steered = balancing == Balancing::Steered;
        if balancing == Balancing::Queue {
            // The one that stays allows workers' own beside it, and so would not find that the port is taken.
            drop(listener::open_dual(address, false)?);
        }
        let socket = listener::open_dual(address, steered || balancing == Balancing::Queue)?;
        let address = listener::local_address(&socket).unwrap_or(address);
        Ok(Self { sockets: vec![Arc::new(socket)], address, steered })
    }

    /// Opens what is missing up to a slot's own socket. They are opened in the order of their numbers, which is how the kernel counts them, and
    /// never closed: what waits in one has to be accepted by somebody.
    ///
    /// # Errors
    /// The kernel's; the slot shares the first one then.
    pub fn open_for(&mut self, slot: u32) -> io::Result<()> {
        let wanted = usize::try_from(slot).unwrap_or(usize::MAX).min(MEMBERS_MAX);
        while self.steered && self.sockets.len() < wanted {
            self.sockets.push(Arc::new(listener::open_dual(self.address, true)?));
        }
        Ok(())
    }

    /// The socket of a slot.
    pub fn of(&self, slot: u32) -> &Arc<OwnedFd> {
        let own = usize::try_from(slot).ok().and_then(|slot| self.sockets.get(slot.checked_sub(1)?));
        own.filter(|_| self.steered).unwrap_or(&self.sockets[0])
    }

    /// All sockets.
    pub fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        self.sockets.iter().map(AsRef::as_ref)
    }

    /// Slots with a socket of their own.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.sockets.len()).unwrap_or(u32::MAX)
    }

    /// How full the accept queues are, together. `None` where the kernel does not tell.
    pub fn queue(&self) -> Option<Queue> {
        let sum = |all: Queue, one: Queue| Queue {
            depth: all.depth.saturating_add(one.depth),
            backlog: all.backlog.saturating_add(one.backlog),
        };
        self.sockets
            .iter()
            .map(|socket| listener::queue(socket))
            .try_fold(Queue::default(), |all, one| Some(sum(all, one?)))
    }
}
