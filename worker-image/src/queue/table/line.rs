//! Who waits, in the order in which they came, apart by what they can be given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Moment, Ticket, WorkerId};

/// What a request can be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wants {
    /// This worker and no other, for as long as it gets requests.
    pub worker: Option<WorkerId>,
    /// Any rather than this one, which did not answer it.
    pub not: Option<WorkerId>,
    /// Another replica, where no worker here is free.
    pub roams: bool,
}

/// A request that waits; `who` is how it is told.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub since: Moment,
    pub wants: Wants,
    /// Whether how long it waits is counted: it is once.
    pub counts: bool,
    pub who: W,
}

#[derive(Debug)]
pub(super) struct Line<W> {
    all: BTreeMap<Ticket, Waiting<W>>,
    classes: BTreeMap<Wants, BTreeSet<Ticket>>,
}

impl<W> Line<W> {
    pub fn new() -> Self {
        Self { all: BTreeMap::new(), classes: BTreeMap::new() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Those that more places could serve: of those who wait for one worker only as many as that one may have.
    pub fn asking(&self, cap: u32) -> u32 {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        let asking =
            |(wants, tickets): (&Wants, &BTreeSet<Ticket>)| tickets.len().min(wants.worker.map_or(usize::MAX, |_| cap));
        u32::try_from(self.classes.iter().map(asking).sum::<usize>()).unwrap_or(u32::MAX)
    }

    pub fn put(&mut self, ticket: Ticket, waiting: Waiting<W>) {
        self.classes.entry(waiting.wants).or_default().insert(ticket);
        self.all.insert(ticket, waiting);
    }

    pub fn take(&mut self, ticket: Ticket) -> Option<Waiting<W>> {
        let waiting = self.all.remove(&ticket)?;
        if let Some(class) = self.classes.get_mut(&waiting.wants) {
            class.remove(&ticket);
            if class.is_empty() {
                self.classes.remove(&waiting.wants);
            }
        }
        Some(waiting)
    }

    pub fn take_all(&mut self) -> BTreeMap<Ticket, Waiting<W>> {
        self.classes.clear();
        std::mem::take(&mut self.all)
    }

    /// Who is next of those whose wants can be met. Those that have waited for so long are told that by the next look at them, and not that their turn
    /// has come.
    pub fn first(&self, can: impl Fn(Wants) -> bool, now: Moment, wait: Duration) -> Option<(Ticket, Wants)> {
        let in_time = |ticket: &&Ticket| self.all.get(*ticket).is_some_and(|one| now.saturating_sub(one.since) < wait);
        let of_class = |(wants, tickets): (&Wants, &BTreeSet<Ticket>)| {
            can(*wants).then(|| tickets.iter().find(in_time)).flatten().map(|ticket| (*ticket, *wants))
        };
        self.classes.iter().filter_map(of_class).min()
    }

    /// Those that have waited for so long.
    pub fn late(&self, now: Moment, wait: Duration) -> Vec<Ticket> {
        let is_late = |one: &Waiting<W>| now.saturating_sub(one.since) >= wait;
        self.all.iter().filter(|(_, one)| is_late(one)).map(|(ticket, _)| *ticket).collect()
    }

    /// Since when the first has waited.
    pub fn first_since(&self) -> Option<Moment> {
        self.all.first_key_value().map(|(_, waiting)| waiting.since)
    }

    /// For how long the one has waited that has waited longest.
    pub fn oldest(&self, now: Moment) -> Option<Duration> {
        self.all.values().map(|waiting| now.saturating_sub(waiting.since)).max()
    }

    /// Those that wanted a worker which gets no more requests take any.
    pub fn let_go(&mut self, gets: impl Fn(WorkerId) -> bool) {
        let lost = |wants: &&Wants| wants.worker.is_some_and(|worker| !gets(worker));
        for wants in self.classes.keys().filter(lost).copied().collect::<Vec<_>>() {
            let tickets = self.classes.remove(&wants).unwrap_or_default();
            let now = Wants { worker: None, ..wants };
            for ticket in &tickets {
                if let Some(waiting) = self.all.get_mut(ticket) {
                    waiting.wants = now;
                }
            }
            self.classes.entry(now).or_default().extend(tickets);
        }
    }
}
