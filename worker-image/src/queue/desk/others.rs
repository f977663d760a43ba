//! Other replicas at the desk: who they are, what they have room for, and what of theirs is taken here.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use primary_protocol::remote;

use super::super::peers::Owner;
use super::super::table::{Moment, PeerId, Ticket, Wants};
use super::{Desk, Peer, Seat};

impl Desk {
    /// These replicas serve now. Says whether there is one that was not there before.
    pub fn meet(&self, list: &remote::Peers) -> bool {
        let now = self.now();
        let mut state = self.state();
        let more = state.peers.take(list, now);
        let ids: Vec<PeerId> = state.peers.ids().collect();
        self.0.has_peers.store(!state.peers.is_alone(), Ordering::Relaxed);
        state.table.meet(ids);
        more
    }

    /// Forgets the other replicas where nobody has told of them for too long.
    pub fn lapse(&self) {
        let now = self.now();
        let mut state = self.state();
        if state.peers.lapse(now) {
            self.0.has_peers.store(false, Ordering::Relaxed);
            state.table.meet([]);
        }
    }

    pub fn peers(&self) -> Vec<Peer> {
        let state = self.state();
        let peer = |id: PeerId| Some(Peer { address: state.peers.address(&id)?, id });
        state.peers.ids().filter_map(peer).collect()
    }

    /// The other replicas at this address.
    pub fn peers_at(&self, address: IpAddr) -> Vec<PeerId> {
        if self.0.has_peers.load(Ordering::Relaxed) { self.state().peers.at(address) } else { Vec::new() }
    }

    /// The UID of this replica's pod.
    pub fn own(&self) -> String {
        self.state().peers.own().to_string()
    }

    /// Whose a key is.
    pub fn owner(&self, key: &[u8]) -> Owner {
        self.state().peers.owner(key)
    }

    /// The replica that has this tag, where it is another one.
    pub fn tagged(&self, tag: &str) -> Option<Peer> {
        let state = self.state();
        let id = state.peers.tagged(tag)?;
        Some(Peer { address: state.peers.address(&id)?, id })
    }

    pub fn own_tag(&self) -> String {
        self.state().peers.own_tag().to_string()
    }

    /// Another replica said that it has room for so many.
    pub fn has_room(&self, peer: &PeerId, free: u32) {
        self.turn(|table, now| table.has_room(peer, free, now));
    }

    /// So many requests of others could be taken now.
    pub fn room(&self) -> u32 {
        let state = self.state();
        if state.stops { 0 } else { state.table.room() }
    }

    /// A worker that is free now, for a request of another replica. It does not wait here.
    pub fn visit(&self, ticket: Ticket, wants: Wants) -> Option<Seat> {
        let now = self.now();
        let mut state = self.state();
        if state.stops {
            return None;
        }
        let worker = state.table.visit(ticket, wants, now)?;
        self.seat(&mut state, worker, now)
    }

    /// Another replica has answered a request that came here then.
    pub fn roamed(&self, since: Moment) {
        let now = self.now();
        self.state().table.roamed(since, now);
    }
}
