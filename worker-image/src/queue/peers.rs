//! The other replicas: where they are, and who of all a key belongs to. Without IO.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use primary_protocol::remote;

use super::table::PeerId;

/// The replicas that serve, as the operator told them last.
#[derive(Debug, Default)]
pub struct Peers {
    own: String,
    others: BTreeMap<PeerId, SocketAddr>,
    /// This one is among those that serve.
    serves: bool,
    /// What the list is called; none has come yet where it is empty.
    revision: String,
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
        Self { own, ..Self::default() }
    }

    /// Takes over a list. Says whether there is a replica that there was not before, in a list that is not the first.
    pub fn take(&mut self, list: &remote::Peers) -> bool {
        let known = std::mem::take(&mut self.others);
        let is_first = self.revision.is_empty();
        let others = list.members.iter().filter(|peer| peer.id != self.own);
        self.others = others.map(|peer| (PeerId::from(peer.id.as_str()), peer.address)).collect();
        self.serves = list.members.iter().any(|peer| peer.id == self.own);
        self.revision.clone_from(&list.revision);
        !is_first && self.others.keys().any(|peer| !known.contains_key(peer))
    }

    pub fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.others.keys().cloned()
    }

    pub fn address(&self, peer: &PeerId) -> Option<SocketAddr> {
        self.others.get(peer).copied()
    }

    /// The one whose tag this is.
    pub fn tagged(&self, tag: &str) -> Option<PeerId> {
        self.others.keys().find(|peer| self::tag(peer) == tag).cloned()
    }

    pub fn own_tag(&self) -> String {
        tag(&self.own)
    }

    /// Whether a replica is there.
    pub fn is_at(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.others.values().any(|peer| peer.ip().to_canonical() == address)
    }

    /// Whose a key is: all replicas that know the same list say the same, and where one comes or goes, only its own keys move (rendezvous hashing).
    /// Of more than 64 replicas each part has a list and owners of its own.
    pub fn owner(&self, key: &[u8]) -> Owner {
        if !self.serves {
            return Owner::Nobody;
        }
        let weight = |id: &str| hash([id.as_bytes(), key]);
        let own = (weight(&self.own), self.own.as_str());
        match self.others.iter().map(|(id, address)| ((weight(id), &**id), id, address)).max() {
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

    fn list(ids: &[&str]) -> remote::Peers {
        let peer = |(index, id): (usize, &&str)| remote::Peer {
            id: (*id).to_string(),
            address: SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap()], 80)),
        };
        remote::Peers {
            revision: ids.join(","),
            members: ids.iter().enumerate().map(peer).collect(),
            all: u32::try_from(ids.len()).unwrap(),
        }
    }

    fn of(own: &str, ids: &[&str]) -> Peers {
        let mut peers = Peers::of(own.to_string());
        peers.take(&list(ids));
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
        assert!(!peers.take(&list(&["a", "b"])), "there was nobody before");
        assert!(peers.take(&list(&["a", "b", "c"])));
        assert!(!peers.take(&list(&["a", "c"])));
        assert!(!peers.take(&list(&["c"])), "and this one itself is none");
        assert_eq!(peers.ids().collect::<Vec<_>>(), ["c".into()]);
        let there = peers.address(&"c".into()).unwrap().ip();
        assert!(peers.is_at(there) && !peers.is_at(IpAddr::from([10, 0, 0, 200])));
        let IpAddr::V4(four) = there else { panic!("{there}") };
        assert!(peers.is_at(IpAddr::V6(four.to_ipv6_mapped())), "as a socket of both kinds sees it");
    }

    #[test]
    fn a_tag_finds_its_replica() {
        let peers = of("a", &["a", "b", "c"]);
        assert_eq!(peers.tagged(&of("b", &["a", "b"]).own_tag()), Some("b".into()));
        assert_eq!(peers.tagged(&peers.own_tag()), None);
    }
}
