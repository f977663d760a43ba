//! Requests that are on their way for more than one, and who waits for what comes of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::queue::answer::Answer;

/// Requests that are on their way for more than one, by what makes them the same.
#[derive(Debug, Default)]
pub struct Flights(RefCell<BTreeMap<Key, Vec<oneshot::Sender<Outcome>>>>);

/// What makes requests the same, as SHA-256: two that differ have not the same.
pub type Key = [u8; 32];

/// What came of the one that was carried out.
#[derive(Debug)]
pub enum Outcome {
    /// The answer of all.
    Same(Shared),
    /// It is not to be shared, and this one is its only client.
    Yours { came: Shared, rest: DuplexStream },
    /// It is not to be shared: the same again, for itself.
    Alone,
    /// There is none but ours.
    Told(Answer),
}

/// An answer, or a part of one, with the memory that it may take.
#[derive(Clone, Debug)]
pub struct Shared {
    pub came: Bytes,
    pub held: Rc<Vec<OwnedSemaphorePermit>>,
}

impl Flights {
    /// Takes part in one that is on its way; says whether there was none, so that it has to be begun.
    pub fn join(&self, key: &Key) -> (oneshot::Receiver<Outcome>, bool) {
        let (sender, told) = oneshot::channel();
        let mut flights = self.0.borrow_mut();
        if let Some(flight) = flights.get_mut(key) {
            flight.push(sender);
            return (told, false);
        }
        flights.insert(*key, vec![sender]);
        (told, true)
    }

    /// Whether all have left.
    pub fn is_forsaken(&self, key: &Key) -> bool {
        self.0.borrow().get(key).is_none_or(|flight| flight.iter().all(oneshot::Sender::is_closed))
    }

    /// Ends one: who comes now begins another. Gives those that still wait.
    pub fn end(&self, key: &Key) -> Vec<oneshot::Sender<Outcome>> {
        let all = self.0.borrow_mut().remove(key).unwrap_or_default();
        all.into_iter().filter(|one| !one.is_closed()).collect()
    }
}
