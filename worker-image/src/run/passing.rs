//! Connections that the primary accepts and hands over: who gets them, and from where.

use super::Primary;
use crate::config::Balancing;
use crate::ipc::message::Query;
use crate::log::Level;
use crate::machine::Event;

impl Primary {
    pub(super) fn is_passing(&self) -> bool {
        self.config.balancing == Balancing::Passing
    }

    /// A worker was told that it listens: connections come to it from now on; or it was sent a socket, which is what `along` says.
    pub(super) fn admit(&mut self, pid: u32, query: &Query, along: bool) {
        let Some(child) = self.children.get(&pid).filter(|_| self.is_passing()) else { return };
        if along {
            return self.passing.sent(child.id);
        }
        let (Some((key, socket)), Some(channel)) = (self.servers.door(pid, query), child.outbox.clone()) else {
            return;
        };
        if let Err(error) = self.passing.admit(child.id, key, &socket, channel, &mut self.tasks) {
            self.log.write(Level::Warning, &format!("worker {pid} gets no connections: {error}"), &[]);
        }
    }

    /// Has connections go to those who are ready now, and takes in what happened meanwhile at the doors.
    pub(super) fn choose_receivers(&mut self) {
        self.choose_for_queue();
        if !self.is_passing() {
            return;
        }
        let receivers = self.machine.receivers().filter_map(|pid| Some(self.children.get(&pid)?.id));
        self.passing.choose(receivers.collect());
        for id in self.passing.deaf() {
            let deaf = self.children.iter().find(|(_, child)| child.id == id).map(|(pid, _)| *pid);
            if let Some(pid) = deaf {
                self.close_channel(pid);
                self.pending.push_back(Event::ChannelClosed { pid });
            }
        }
        if let Some(words) = self.passing.complaint() {
            self.log.write(Level::Warning, &words, &[]);
        }
    }

    /// Nothing is said to a worker any more.
    pub(super) fn close_channel(&mut self, pid: u32) {
        if let Some(child) = self.children.get_mut(&pid) {
            child.outbox = None;
            self.passing.mute(child.id);
        }
    }
}
