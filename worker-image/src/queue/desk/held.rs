//! Since when workers have had the requests that they have.

use std::collections::BTreeMap;

use super::Moment;

/// How many were given at each moment, and are not over.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<Moment, u32>);

impl Held {
    pub fn add(&mut self, given: Moment) {
        *self.0.entry(given).or_default() += 1;
    }

    pub fn remove(&mut self, given: Moment) {
        if let Some(count) = self.0.get_mut(&given) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&given);
            }
        }
    }

    /// For how long a worker has had the one that was given first.
    pub fn longest(&self, now: Moment) -> Option<Moment> {
        self.0.first_key_value().map(|(given, _)| now.saturating_sub(*given))
    }
}
