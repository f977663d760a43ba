//! The other replicas: where they are, and who of all a key belongs to. Without IO.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use primary_protocol::remote;

use super::table::{Moment, PeerId};

/// A replica that was on a list so long ago is not new when it comes back: its connections are still there.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The replicas that serve, as the operator told them last.
#[derive(Debug, Default)]
pub struct Peers {
    own: String,
    own_tag: String,
    /// By the short names that cookies have.
    tags: BTreeMap<String, PeerId>,
    others: BTreeMap<PeerId, SocketAddr>,
    /// Those of them that serve nobody new.
    leaving: BTreeSet<PeerId>,
    /// The same by where they are; pods may share their node's address.
    at: BTreeMap<IpAddr, Vec<PeerId>>,
    /// This one is among those that serve.
    serves: bool,
    /// When the list was told. `None` where none has come, or where it counts no more.
    told: Option<Moment>,
    /// When each that was on a list was on one last.
    listed: BTreeMap<PeerId, Moment>,
}

/// Who of all replicas does something for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This one.
    Own,
    Peer(PeerId, SocketAddr),
    /// This one is not known to the others, or knows nobody: it does it for itself.
    Nobody,
}

impl Peers {
    /// Those of a replica with this UID.
    pub fn of(own: String) -> Self {
        Self { own_tag: tag(&own), own, ..Self::default() }
    }

    /// Takes over a list. Says whether there is a replica that there was not a minute ago either, in a list that is not the first.
    pub fn take(&mut self, list: &remote::Peers, now: Moment) -> bool {
        let is_first = self.told.replace(now).is_none();
        let others = list.members.iter().filter(|peer| peer.id != self.own);
        self.others = others.map(|peer| (PeerId::from(peer.id.as_str()), peer.address)).collect();
        let leaving = list.members.iter().filter(|peer| peer.leaving);
        self.leaving = leaving.map(|peer| PeerId::from(peer.id.as_str())).collect();
        self.serves = list.members.iter().any(|peer| peer.id == self.own && !peer.leaving);
        self.tags = self.others.keys().map(|peer| (tag(peer), peer.clone())).collect();
        self.at.clear();
        for (peer, address) in &self.others {
            self.at.entry(address.ip().to_canonical()).or_default().push(peer.clone());
        }
        self.listed.retain(|_, listed| now.saturating_sub(*listed) < REMEMBERED);
        let mut is_more = false;
        for peer in self.others.keys() {
            is_more |= self.listed.insert(peer.clone(), now).is_none();
        }
        is_more && !is_first
    }

    /// Forgets a list that counts no more. Says whether it did.
    pub fn lapse(&mut self, now: Moment) -> bool {
        let lapses = self.told.is_some_and(|told| now.saturating_sub(told) >= remote::PEERS_LEASE);
        if lapses {
            let (own, listed) = (std::mem::take(&mut self.own), std::mem::take(&mut self.listed));
            *self = Self { listed, ..Self::of(own) };
        }
        lapses
    }

    /// Those that take requests of others.
    pub fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.others.keys().filter(|peer| !self.leaving.contains(*peer)).cloned()
    }

    /// Whether no other replica is known.
    pub fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    pub fn address(&self, peer: &PeerId) -> Option<SocketAddr> {
        self.others.get(peer).copied()
    }

    /// The one whose tag this is.
    pub fn tagged(&self, tag: &str) -> Option<PeerId> {
        self.tags.get(tag).cloned()
    }

    pub fn own_tag(&self) -> &str {
        &self.own_tag
    }

    /// The replicas at this address.
    pub fn at(&self, address: IpAddr) -> Vec<PeerId> {
        self.at.get(&address.to_canonical()).cloned().unwrap_or_default()
    }

    /// This one's UID.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Whose a key is: all replicas that know the same list say the same, and where one comes or goes, only its own keys move (rendezvous hashing).
    /// Of more than 64 replicas each part has a list and owners of its own.
    pub fn owner(&self, key: &[u8]) -> Owner {
        if !self.serves {
            return Owner::Nobody;
        }
        let weight = |id: &str| hash([id.as_bytes(), key]);
        let own = (weight(&self.own), self.own.as_str());
        let serving = self.others.iter().filter(|(id, _)| !self.leaving.contains(*id));
        match serving.map(|(id, address)| ((weight(id), &**id), id, address)).max() {
            Some((weight, id, address)) if weight > own => Owner::Peer(id.clone(), *address),
            _ => Owner::Own,
        }
    }
}

/// A short name for a replica, that says nothing of it to others.
fn tag(id: &str) -> String {
    format!("{:016x}", hash([id.as_bytes()]))
}

/// The same in every primary of every version: FNV-1a (64 bits), and the finish of splitmix64, without which its upper bits would hardly differ.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // A byte that no UTF-8 has parts them.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_leaves_may_ask_and_is_found_by_its_tag_and_is_given_nothing_else() {
        let mut serving = list(&["a", "b", "c"]);
        serving.members[1].leaving = true;
        let told = |own: &str| {
            let mut peers = Peers::of(own.into());
            peers.take(&serving, Duration::ZERO);
            peers
        };
        let (a, b) = (told("a"), told("b"));
        assert_eq!(a.ids().collect::<Vec<_>>(), ["c".into()]);
        assert_eq!(a.at(IpAddr::from([10, 0, 0, 1])), ["b".into()], "it may ask");
        assert_eq!(a.tagged(b.own_tag()), Some("b".into()));
        let is_asked = |key: u32| matches!(a.owner(&key.to_be_bytes()), Owner::Peer(id, _) if id == "b".into());
        assert!(!(0..100).any(is_asked));
        assert_eq!((b.ids().count(), b.owner(b"key")), (2, Owner::Nobody));
    }

    fn list(ids: &[&str]) -> remote::Peers {
        let peer = |(index, id): (usize, &&str)| remote::Peer {
            id: (*id).to_string(),
            address: SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap()], 80)),
            leaving: false,
        };
        remote::Peers {
            revision: ids.join(","),
            members: ids.iter().enumerate().map(peer).collect(),
            all: u32::try_from(ids.len()).unwrap(),
        }
    }

    fn of(own: &str, ids: &[&str]) -> Peers {
        let mut peers = Peers::of(own.to_string());
        peers.take(&list(ids), Moment::ZERO);
        peers
    }

    #[test]
    fn all_replicas_agree_whose_a_key_is_and_few_keys_move() {
        let ids = ["a", "b", "c", "d"];
        let mut count = BTreeMap::<String, usize>::new();
        let mut moved = 0;
        for key in 0..1000_u32 {
            let key = key.to_be_bytes();
            let name = |own: &str, ids: &[&str]| match of(own, ids).owner(&key) {
                Owner::Own => own.to_string(),
                Owner::Peer(id, _) => id.to_string(),
                Owner::Nobody => panic!("all are known"),
            };
            let owner = name("a", &ids);
            assert!(ids.iter().all(|own| name(own, &ids) == owner));
            moved += usize::from(name("a", &ids[..3]) != owner);
            *count.entry(owner).or_default() += 1;
        }
        assert!(count.len() == 4 && count.values().all(|count| (180..320).contains(count)), "{count:?}");
        assert_eq!(moved, count["d"], "only those of the one that went");
    }

    #[test]
    fn who_is_not_known_to_the_others_owns_nothing() {
        assert_eq!(Peers::of("a".into()).owner(b"key"), Owner::Nobody);
        assert_eq!(of("a", &["b", "c"]).owner(b"key"), Owner::Nobody);
        assert_eq!(of("a", &["a"]).owner(b"key"), Owner::Own);
    }

    #[test]
    fn a_replica_that_comes_is_seen_and_one_that_goes_is_not_news() {
        let mut peers = Peers::of("a".into());
        let mut take = |ids: &[&str], seconds| peers.take(&list(ids), Moment::from_secs(seconds));
        assert!(!take(&["a", "b"], 0), "there was nobody before");
        assert!(take(&["a", "b", "c"], 1));
        assert!(!take(&["a", "c"], 2));
        assert!(!take(&["c"], 3), "and this one itself is none");
        assert!(!take(&["b", "c"], 10), "one that flaps is not new each time");
        assert!(!take(&["c"], 11));
        assert!(take(&["b", "c"], 80), "one that was away for long is");
        assert_eq!(peers.ids().collect::<Vec<_>>(), ["b".into(), "c".into()]);
        let there = peers.address(&"c".into()).unwrap().ip();
        assert_eq!((peers.at(there), peers.at(IpAddr::from([10, 0, 0, 200]))), (vec!["c".into()], vec![]));
        let IpAddr::V4(four) = there else { panic!("{there}") };
        assert_eq!(peers.at(IpAddr::V6(four.to_ipv6_mapped())), ["c".into()], "as a socket of both kinds sees it");
    }

    #[test]
    fn a_list_that_is_not_told_again_counts_no_more() {
        const LEASE: Duration = remote::PEERS_LEASE;
        let mut peers = of("a", &["a", "b"]);
        let there = peers.address(&"b".into()).unwrap().ip();
        assert!(!peers.lapse(Duration::from_secs(59)) && peers.ids().count() == 1);
        peers.take(&list(&["a", "b"]), Duration::from_secs(20));
        assert!(!peers.lapse(LEASE), "it was told again");
        assert!(peers.lapse(LEASE + Duration::from_secs(20)));
        assert_eq!((peers.ids().count(), peers.at(there), peers.owner(b"key")), (0, vec![], Owner::Nobody));
        assert!(!peers.lapse(LEASE * 9), "once");
    }

    #[test]
    fn a_tag_finds_its_replica() {
        let peers = of("a", &["a", "b", "c"]);
        assert_eq!(peers.tagged(of("b", &["a", "b"]).own_tag()), Some("b".into()));
        assert_eq!(peers.tagged(peers.own_tag()), None);
    }
}
