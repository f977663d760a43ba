//! Passes messages of workers on to each other, as a program's branch of the primary would: that branch does not run here. Only for libraries that
//! are known to do so, each with its own way to name a sender and a receiver; all other messages end in the primary.

use std::collections::{BTreeMap, BTreeSet};

use hyper::body::Bytes;

/// A worker has a name for each of its namespaces; more than so many are not remembered, and what is meant for them goes to all.
const MAX_NAMES: usize = 64;
/// The same of a name that is longer; socket.io's have some twenty letters.
const LONGEST_NAME: usize = 128;

/// Libraries whose messages are passed on, by the `source` that they carry. @socket.io/cluster-adapter: `uid` is who sends, `requesterUid` who is
/// answered.
pub const SOURCES: [&str; 1] = ["_sio_adapter"];

/// A message for other workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// The name of the sender.
    pub from: Option<String>,
    /// The name of the receiver; `None` for all others.
    pub to: Option<String>,
    /// The line as it came, with its end.
    pub line: Bytes,
}

/// Knows who has which name.
#[derive(Debug, Default)]
pub struct Broker {
    names: BTreeMap<u32, BTreeSet<String>>,
}

impl Broker {
    /// Who gets a message of worker `pid`, of these workers. Whoever has sent under a name has that name.
    pub fn route(&mut self, pid: u32, relayed: &Relayed, workers: impl Iterator<Item = u32>) -> Vec<u32> {
        if let Some(from) = &relayed.from {
            let names = self.names.entry(pid).or_default();
            if names.len() < MAX_NAMES && from.len() <= LONGEST_NAME {
                names.insert(from.clone());
            }
        }
        let named = relayed
            .to
            .as_ref()
            .and_then(|to| self.names.iter().find_map(|(pid, names)| names.contains(to).then_some(*pid)));
        match named {
            Some(named) => workers.filter(|worker| *worker == named).collect(),
            None => workers.filter(|worker| *worker != pid).collect(),
        }
    }

    /// A worker ended.
    pub fn forget(&mut self, pid: u32) {
        self.names.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: &str, to: Option<&str>) -> Relayed {
        Relayed { from: Some(from.into()), to: to.map(Into::into), line: Bytes::new() }
    }

    #[test]
    fn a_message_goes_to_all_others_and_an_answer_to_whoever_asked() {
        let mut broker = Broker::default();
        let workers = || [1, 2, 3].into_iter();
        assert_eq!(broker.route(1, &message("a", None), workers()), [2, 3]);
        assert_eq!(broker.route(2, &message("b", Some("a")), workers()), [1]);
        assert_eq!(broker.route(2, &message("b", Some("nobody")), workers()), [1, 3], "whoever knows takes it");
        broker.forget(1);
        assert_eq!(broker.route(2, &message("b", Some("a")), [2, 3].into_iter()), [3]);
    }

    #[test]
    fn names_are_bounded() {
        let mut broker = Broker::default();
        for number in 0..1000 {
            broker.route(1, &message(&number.to_string(), None), std::iter::empty());
        }
        assert_eq!(broker.names[&1].len(), MAX_NAMES);
        broker.route(2, &message(&"x".repeat(1000), None), std::iter::empty());
        assert!(broker.names[&2].is_empty());
    }
}
