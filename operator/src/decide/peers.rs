//! Which replicas know of each other. Up to [`PEERS_MAX`] that serve know all; more are parts of a circle, on which each stands by the hash of its UID.
//!
//! All of a part have the same list, so that whoever chooses one of them by what a request asks for chooses the same, and that few lists have to be
//! written however many replicas there are. (Were it for each those that follow it on the circle, two would choose differently, and with 5000 replicas
//! there were 5000 lists.) A part is a half of a half of the circle, as often as it takes: one replica that comes or goes concerns its own part, and
//! none of the others.

use primary_protocol::remote::{PEERS_MAX, Peer, Peers};

use crate::text::{place, short_hash};

/// The replicas that serve, by part.
#[derive(Clone, Debug)]
pub struct Circle(Vec<Part>);

#[derive(Clone, Debug)]
struct Part {
    /// Place of the first replica in it.
    from: u64,
    peers: Peers,
}

/// A replica that serves, and where it stands.
struct Placed {
    place: u64,
    peer: Peer,
}

// === impl Circle ===

impl Circle {
    /// Of all that serve, and of those that leave and may ask them, in any order.
    pub fn of(peers: Vec<Peer>) -> Self {
        let all = (peers.len(), peers.iter().filter(|peer| !peer.leaving).count());
        let mut placed: Vec<Placed> = peers.into_iter().map(|peer| Placed { place: place(&peer.id), peer }).collect();
        placed.sort_by(|a, b| (a.place, &a.peer.id).cmp(&(b.place, &b.peer.id)));
        let mut stretches = Vec::new();
        halve(&placed, 1 << 63, &mut stretches);
        if stretches.is_empty() {
            stretches.push(&[]); // that nobody serves is told too
        }
        Self(stretches.into_iter().map(|stretch| Part::of(stretch, all)).collect())
    }

    /// Whom the replica with this UID knows, whether it serves itself or not, and the number of its part.
    pub fn part(&self, uid: &str) -> Option<(usize, &Peers)> {
        let number = match self.0.as_slice() {
            [] | [_] => 0,
            parts => {
                let place = place(uid);
                parts.partition_point(|part| part.from <= place).saturating_sub(1)
            }
        };
        Some((number, &self.0.get(number)?.peers))
    }
}

/// Cuts a stretch in two at the bit `half` of the places, and each of the two at the next, until none is too long. Of 65 thrown into two halves fewer
/// than 16 are in one of them once in thirty thousand times.
fn halve<'a>(stretch: &'a [Placed], half: u64, parts: &mut Vec<&'a [Placed]>) {
    if stretch.len() <= PEERS_MAX || half == 0 {
        parts.extend(stretch.chunks(PEERS_MAX));
        return;
    }
    let (near, far) = stretch.split_at(stretch.partition_point(|placed| placed.place & half == 0));
    halve(near, half >> 1, parts);
    halve(far, half >> 1, parts);
}

// === impl Part ===

impl Part {
    /// `all` are those on the circle, and those of them that serve.
    fn of(stretch: &[Placed], (all, serving): (usize, usize)) -> Self {
        let mut members: Vec<Peer> = stretch.iter().map(|placed| placed.peer.clone()).collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        let from = stretch.first().map_or(0, |placed| placed.place);
        let revision = name(&members, all > members.len());
        Self { from, peers: Peers { revision, members, all: u32::try_from(serving).unwrap_or(u32::MAX) } }
    }
}

/// Names a list. How many there are beyond it is no part of the name: with a thousand replicas that number changes with each that comes or goes, and
/// all would have to be told.
fn name(members: &[Peer], more: bool) -> String {
    let texts: Vec<(&str, String)> = members.iter().map(|peer| (&*peer.id, peer.address.to_string())).collect();
    let mut parts: Vec<&str> = texts.iter().flat_map(|(id, address)| [*id, address.as_str()]).collect();
    // A UID has no space in it.
    let leaving: Vec<String> =
        members.iter().filter(|peer| peer.leaving).map(|peer| format!("{} leaves", peer.id)).collect();
    parts.extend(leaving.iter().map(String::as_str));
    parts.extend(more.then_some("more"));
    short_hash(&parts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn peer(number: usize) -> Peer {
        Peer { id: format!("uid-{number}"), address: ([198, 18, 0, 1], 8000).into(), leaving: false }
    }

    fn peers(count: usize) -> Vec<Peer> {
        (0..count).map(peer).collect()
    }

    /// The name of the list that each of these has.
    fn known(circle: &Circle, numbers: impl Iterator<Item = usize>) -> Vec<String> {
        numbers.map(|number| circle.part(&peer(number).id).unwrap().1.revision.clone()).collect()
    }

    #[test]
    fn up_to_a_lists_length_all_know_all_in_the_order_of_their_names() {
        let circle = Circle::of(peers(PEERS_MAX).into_iter().rev().collect());
        let (number, list) = circle.part("anybody").unwrap();
        assert_eq!((number, list.members.len(), list.all), (0, PEERS_MAX, 64));
        assert!(list.members.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!(list, Circle::of(peers(PEERS_MAX)).part("another").unwrap().1, "whatever order they came in");
    }

    #[test]
    fn that_nobody_serves_is_told_under_a_name() {
        let circle = Circle::of(Vec::new());
        let list = circle.part("a").unwrap().1;
        assert!(list.members.is_empty() && list.all == 0 && !list.revision.is_empty());
    }

    #[test]
    fn another_list_has_another_name() {
        let moved = Peer { address: ([198, 18, 0, 2], 8000).into(), ..peer(0) };
        let lists = [vec![], peers(1), peers(2), vec![moved], vec![peer(1)]];
        let names = lists.map(|list| Circle::of(list).part("a").unwrap().1.revision.clone());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_ne!(name(&peers(2), true), name(&peers(2), false), "that these are all is part of it");
    }

    #[test]
    fn thousands_are_in_parts_of_a_good_size() {
        let circle = Circle::of(peers(5000));
        let sizes: Vec<usize> = circle.0.iter().map(|part| part.peers.members.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 5000);
        assert!(sizes.iter().all(|size| (8..=PEERS_MAX).contains(size)), "{sizes:?}");
    }

    proptest! {
        #[test]
        fn who_serves_is_in_one_part_its_own_and_one_that_comes_concerns_no_other(count in 0_usize..400) {
            let circle = Circle::of(peers(count));
            for (index, part) in circle.0.iter().enumerate() {
                prop_assert!(part.peers.members.len() <= PEERS_MAX);
                prop_assert_eq!(usize::try_from(part.peers.all).unwrap(), count);
                for member in &part.peers.members {
                    prop_assert_eq!(circle.part(&member.id).unwrap().0, index);
                }
            }
            let members: BTreeSet<_> = circle.0.iter().flat_map(|part| &part.peers.members).map(|peer| &peer.id).collect();
            prop_assert_eq!(members.len(), count);
            let more = Circle::of(peers(count + 1));
            let (before, after) = (known(&circle, 0..count), known(&more, 0..count));
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(changed <= PEERS_MAX, "{} of {}", changed, count);
        }

        #[test]
        fn who_does_not_serve_knows_a_part_all_the_same(count in 0_usize..400, uid in "[a-z]{1,8}") {
            prop_assert!(Circle::of(peers(count)).part(&uid).is_some());
        }
    }
}
