//! Looks at `/proc` for what the kernel does not report by itself: a worker that binds the port, or takes connections
//! from the inherited socket. Often at first, then less and less, and only while the machine wants to know.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use primary_protocol::ReadyEvidence;

use super::{Primary, pace};
use crate::machine::{Event, Watch};
use crate::{listener, proc, sockets};

/// A program's own socket is evidence of readiness, so it is looked for at this rate at first.
const SHORTEST: Duration = Duration::from_millis(20);

/// Waits grow with the time since the last fork: a tenth of it.
const SHARE: u32 = 10;

/// The longest wait while a worker may bind the port.
const LONGEST_OWN: Duration = Duration::from_secs(1);

/// The longest wait while a worker may use the inherited socket.
const LONGEST_INHERITED: Duration = Duration::from_secs(15);

/// When to look next.
#[derive(Debug)]
pub(super) struct Probe {
    since: Instant,
    next: Option<Instant>,
}

impl Default for Probe {
    fn default() -> Self {
        Self { since: Instant::now(), next: None }
    }
}

impl Probe {
    /// A worker was forked.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// When the loop has to come by.
    pub fn due(&self) -> Option<Instant> {
        self.next
    }
}

impl Primary {
    /// Looks, if it is time and the machine wants to know.
    pub(super) fn look_if_due(&mut self) {
        let now = Instant::now();
        let watch = self.machine.watch();
        if watch.own_socket.is_empty() && watch.uses_listener.is_empty() {
            self.probe.next = None;
            return;
        }
        let due = self.probe.next.is_some_and(|next| now >= next);
        if due || self.probe.next.is_none() {
            let longest = if watch.own_socket.is_empty() { LONGEST_INHERITED } else { LONGEST_OWN };
            let wait = (self.probe.since.elapsed() / SHARE).clamp(SHORTEST, longest);
            if due {
                self.look(&watch);
            }
            self.probe.next = Some(pace::after(now, wait));
        }
    }

    fn look(&mut self, watch: &Watch) {
        for pid in self.binders(&watch.own_socket) {
            self.feed(Event::Evidence { pid, evidence: ReadyEvidence::OwnSocket });
        }
        for pid in self.users(&watch.uses_listener) {
            self.feed(Event::UsesListener { pid });
        }
    }

    /// The workers of these that listen on the port with a socket of their own.
    fn binders(&self, workers: &[u32]) -> Vec<u32> {
        let Some(port) = self.launcher.port().filter(|_| !workers.is_empty()) else { return Vec::new() };
        let listening = sockets::listening_on(port).unwrap_or_default();
        if listening.is_empty() {
            return Vec::new();
        }
        let groups = proc::groups();
        let alone = self.machine.workers().len() == 1;
        let binds = |worker: &&u32| {
            let members = groups.get(worker).map(Vec::as_slice).unwrap_or_default();
            let seen: Vec<Option<bool>> = members.iter().map(|pid| proc::holds(*pid, &listening)).collect();
            // Of a worker with another user id nothing can be seen, nor of one that is just ending, as those do that
            // find the port taken. The primary has let the port go, so whoever listens there is the only worker, if
            // there is only one at all.
            let hidden = !seen.is_empty() && seen.iter().all(Option::is_none) && alone;
            hidden || seen.contains(&Some(true))
        };
        workers.iter().filter(binds).copied().collect()
    }

    /// The workers of these that wait on the inherited socket, or hold a connection that came from it.
    fn users(&self, workers: &[u32]) -> Vec<u32> {
        let Some(main) = self.main.as_ref().filter(|_| !workers.is_empty()) else { return Vec::new() };
        let sockets: Vec<u64> = main.sockets().filter_map(listener::inode).collect();
        let accepted = sockets::accepted_on(&BTreeSet::from([main.address.port()])).unwrap_or_default();
        let groups = proc::groups();
        let holds = |pid: u32| !accepted.is_empty() && proc::holds(pid, &accepted) == Some(true);
        let uses = |worker: &&u32| {
            let members = groups.get(worker).map(Vec::as_slice).unwrap_or_default();
            members.iter().any(|pid| holds(*pid) || sockets.iter().any(|socket| proc::polls(*pid, *socket)))
        };
        workers.iter().filter(uses).copied().collect()
    }
}
