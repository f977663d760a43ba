//! Where new connections go, when each slot has a socket of its own; when nobody waits in that of a worker that is to leave, and what becomes of those
//! who wait where nobody comes any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Primary;
use crate::config::Balancing;
use crate::log::Level;
use crate::machine::{Event, Share, Untold};
use crate::{kernel, listener};

/// How often the queue of a worker that is to leave is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// The kernel has chosen the socket of a connection at its first segment; its last comes a round trip later, and then it waits there.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// How often those are looked for whom nobody will accept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Steering {
    next: Option<Instant>,
    sweep: Option<Instant>,
    /// Since when the queues of slots whose workers are to leave have been empty.
    empty: BTreeMap<u32, Instant>,
}

impl Steering {
    pub fn due(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.sweep).min()
    }
}

impl Primary {
    pub(super) fn is_steered(&self) -> bool {
        self.config.balancing == Balancing::Steered
    }

    /// A worker that is to be forked in this slot finds its socket.
    pub(super) fn open_socket_of(&mut self, slot: u32) {
        let opened = self.main.as_mut().map(|main| main.open_for(slot));
        if let Some(Err(error)) = opened {
            let message =
                format!("slot {slot} shares a socket with slot 1: the system gives it none of its own: {error}");
            self.log.write(Level::Warning, &message, &[]);
        }
    }

    /// New connections go to these slots from now on.
    pub(super) fn steer(&mut self, slots: &[Share]) {
        let Some(main) = &self.main else { return };
        let own = slots.iter().filter(|share| share.slot <= main.slots());
        let members: Vec<(u32, u32)> = own.map(|share| (share.slot.saturating_sub(1), share.weight)).collect();
        if let Err(error) = kernel::steer(main.of(1), &members) {
            self.log.write(Level::Warning, &format!("the kernel spreads new connections by itself: {error}"), &[]);
        }
    }

    /// Tells the machine which of the workers that are to leave have nobody waiting for them any more.
    pub(super) fn look_at_untold_if_due(&mut self) {
        let untold = self.machine.watch().untold;
        let now = Instant::now();
        if untold.is_empty() {
            self.steering.next = None;
            self.steering.empty.clear();
            return;
        }
        if self.steering.next.is_some_and(|next| now < next) {
            return;
        }
        self.steering.next = Some(now + EVERY);
        let moment = self.now();
        for Untold { slot, pid, upgraded_until } in untold {
            let needed =
                if moment < upgraded_until { self.is_needed_in_queue(pid) } else { self.is_busy_in_queue(pid) };
            if let Some(needed) = needed {
                if !needed {
                    self.feed(Event::NobodyWaits { pid });
                }
                continue;
            }
            let waits = self.main.as_ref().is_some_and(|main| listener::has_waiting(main.of(slot)));
            if waits {
                self.steering.empty.remove(&slot);
            } else if now.duration_since(*self.steering.empty.entry(slot).or_insert(now)) >= HANDSHAKE {
                self.feed(Event::NobodyWaits { pid });
            }
        }
    }

    /// Ends connections that nobody will accept: their worker left without looking at them, because it was blocked or hung, and has no successor.
    /// A client that is told so can go elsewhere; else it would wait for ever.
    pub(super) fn turn_away_if_due(&mut self) {
        let now = Instant::now();
        if !self.is_steered() || self.steering.sweep.is_some_and(|next| now < next) {
            return;
        }
        let Some(main) = &self.main else { return };
        let unattended: Vec<u32> = (1..=main.slots()).filter(|slot| !self.machine.attends(*slot)).collect();
        // Slots beyond those that have a socket share the first one's.
        let shared = self.machine.slot_count() > main.slots();
        self.steering.sweep = (!unattended.is_empty()).then_some(now + SWEEP_EVERY);
        for slot in unattended.into_iter().filter(|slot| *slot != 1 || !shared) {
            let ended = std::iter::from_fn(|| rustix::net::accept(main.of(slot).as_ref()).ok()).count();
            if ended > 0 {
                let message = format!(
                    "{ended} connections end unanswered: the worker of slot {slot} left without accepting them"
                );
                self.log.write(Level::Warning, &message, &[("event", serde_json::json!("turned away"))]);
            }
        }
    }
}
