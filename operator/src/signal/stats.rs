//! A primary's answer, taken apart with suspicion: whoever owns the pod may answer anything.

use primary_protocol::{Listener, Orders, STATS_VERSION, Slot, SlotState, Stats, Times};
use serde::Deserialize;

use super::error::ScrapeError;
use crate::decide::deaths::Verdict;

/// Most workers of one replica that are believed.
const MOST_SLOTS: usize = 4096;
/// Most listening sockets of one replica that are believed.
const MOST_LISTENERS: usize = 256;
/// Most warnings, as the protocol has it.
const MOST_WARNINGS: usize = 8;
/// Most requests at a time that count of one replica: its primary has no more clients.
pub(super) const MOST_PLACES: u32 = 65_536;
/// Longest message of a warning in bytes, as the protocol has it.
const LONGEST_MESSAGE: usize = 1024;
/// Longest other text in bytes: versions, addresses, exit reasons.
const LONGEST_TEXT: usize = 256;
/// Longest uptime in milliseconds: a hundred years.
const LONGEST_UPTIME: u64 = 100 * 366 * 24 * 3600 * 1000;
/// Longest part of a decoder's complaint that is passed on.
const LONGEST_COMPLAINT: usize = 200;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The document in a body.
pub(super) fn decode(body: &[u8]) -> Result<Stats, ScrapeError> {
    let Versioned { version } = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if version != STATS_VERSION {
        return Err(ScrapeError::Version(version));
    }
    let mut stats: Stats = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    check(&stats).map_err(ScrapeError::Implausible)?;
    // Nobody here reads more, and of every pod the last document is kept: whoever has a hundred pods that lie must not fill our memory.
    stats.slots = Verdict::ALL.into_iter().filter_map(|verdict| last_death(&stats, verdict)).collect();
    stats.orders = Orders::default();
    stats.listeners = whole(&stats.listeners).into_iter().collect();
    if let Some(requests) = &mut stats.requests {
        (requests.service, requests.wait) = (Times::default(), Times::default());
        requests.refused.clear();
        // One that claims more would have all others scaled away.
        requests.places = requests.places.min(MOST_PLACES);
        requests.capacity = requests.capacity.min(MOST_PLACES);
        for held in [&mut requests.waiting, &mut requests.in_flight, &mut requests.upgraded, &mut requests.away] {
            *held = (*held).min(MOST_PLACES);
        }
    }
    Ok(stats)
}

/// The slot in which a worker last ended so, as far as it can be told: the one that has the youngest worker since, or waits for it.
fn last_death(stats: &Stats, verdict: Verdict) -> Option<Slot> {
    let died = |slot: &&Slot| slot.last_exit.as_deref().is_some_and(|exit| verdict.is_of(exit));
    let slots = stats.slots.iter().filter(died).filter(|_| verdict.of(&stats.deaths) > 0);
    slots.min_by_key(|slot| (slot.state == SlotState::Stopped, slot.up_milliseconds.unwrap_or(0))).cloned()
}

/// How many connections wait in all accept queues together: all that is read of them here. `None` where there is no queue.
fn whole(listeners: &[Listener]) -> Option<Listener> {
    let depths = listeners.iter().filter_map(|listener| listener.queue_depth);
    let depth = depths.fold(None, |sum: Option<u32>, depth| Some(sum.unwrap_or(0).saturating_add(depth)))?;
    Some(Listener { address: String::new(), queue_depth: Some(depth), backlog: None })
}

fn malformed(error: &serde_json::Error) -> ScrapeError {
    ScrapeError::Malformed(error.to_string().chars().filter(|c| !c.is_control()).take(LONGEST_COMPLAINT).collect())
}

fn check(stats: &Stats) -> Result<(), &'static str> {
    if stats.slots.len() > MOST_SLOTS {
        return Err("too many slots");
    }
    if stats.listeners.len() > MOST_LISTENERS {
        return Err("too many listeners");
    }
    if stats.warnings.len() > MOST_WARNINGS {
        return Err("too many warnings");
    }
    if stats.warnings.iter().any(|warning| warning.message.len() > LONGEST_MESSAGE) {
        return Err("a warning's message is too long");
    }
    let failure = stats.reload.as_ref().and_then(|reload| reload.failure.as_ref());
    if failure.is_some_and(|failure| failure.len() > LONGEST_MESSAGE) {
        return Err("the reason of a failed reload is too long");
    }
    let told =
        stats.told.iter().flat_map(|told| std::iter::once(&told.revision).chain(&told.reload).chain(&told.peers));
    let exits = stats.slots.iter().filter_map(|slot| slot.last_exit.as_ref());
    let mut texts = stats.listeners.iter().map(|listener| &listener.address).chain(exits).chain(told);
    if stats.primary_version.len() > LONGEST_TEXT || texts.any(|text| text.len() > LONGEST_TEXT) {
        return Err("a text is too long");
    }
    if stats.uptime_milliseconds > LONGEST_UPTIME {
        return Err("the primary is older than a hundred years");
    }
    let most = u32::try_from(MOST_SLOTS).unwrap_or(u32::MAX);
    let counts = &stats.workers;
    if [counts.desired, counts.ready, counts.running].into_iter().any(|count| count > most) {
        return Err("too many workers");
    }
    if counts.ready > counts.running {
        return Err("more workers are ready than run");
    }
    Ok(())
}
