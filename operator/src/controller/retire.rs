//! Where pods stand that may have to go, and telling them. Nothing of it is written down: an operator that begins learns it from what the primaries
//! have been told, before it tells them anything else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use primary_protocol::Stats;
use tokio::time::Instant;

use super::{
    context::Context,
    events::Happening,
    happenings::listed,
    observe::{self, Seen},
    orders,
};
use crate::{
    decide::{
        load::Load,
        replicas::{Decision, Strategy},
        retire::{Standing, TAKES_EFFECT},
    },
    signal::{OrderError, PodReading},
    view::{PodView, Readiness},
};

/// Pods that are not ready by our own word, by UID, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// They serve out before they are deleted.
    pub retiring: BTreeMap<Arc<str>, Instant>,
    /// They were called back, and have yet to be ready again.
    pub returning: BTreeMap<Arc<str>, Instant>,
}

/// A primary that has not answered for so long cannot be told anything.
const SILENT: Duration = Duration::from_secs(5);
/// Nor one whose pod is ready and that has answered before: others reach it, so it is we who do not, and that may be over soon.
const SILENT_IN_SERVICE: Duration = Duration::from_secs(30);

/// Where a pod stands.
pub fn standing(seen: &Seen, pod: &PodView) -> Standing {
    let Some(order) = seen.orders.by_pod.get(&pod.uid) else {
        return Standing::Out; // nobody is told anything
    };
    let stats = seen.stats(&pod.uid);
    if let Some(since) = seen.withdrawn.retiring.get(&pod.uid) {
        let since = seen.now.saturating_duration_since(*since);
        return Standing::Retiring { since, left: !pod.is_ready(), idle: stats.is_some_and(is_idle) };
    }
    let reading = seen.readings.pods.get(&pod.uid);
    let Some(stats) = stats else {
        // Also one that is not ready: it may serve out since before this term, and must not be ended for that.
        let may_answer = pod.ip.is_some() && reading.is_none_or(|reading| may_answer(reading, pod, seen.now));
        return if may_answer { Standing::Unheard } else { Standing::Out };
    };
    // A refusal of what is not wanted any more is none.
    let problem = reading.and_then(|reading| reading.order.as_ref()).filter(|_| order.is_news_to(stats));
    let refuses = matches!(problem, Some(OrderError::Refused(_) | OrderError::Distrusted(_)));
    // Where nothing is listened on nobody could say when it is idle.
    let serves = stats.told.is_some() && stats.workers.ready > 0 && Load::of(Some(stats)) != Load::Unknown;
    match serves && !refuses && !pod.drain {
        true if seen.withdrawn.returning.contains_key(&pod.uid) => Standing::Returning,
        true => Standing::Serving,
        false => Standing::Out,
    }
}

/// Whether a primary of which nothing is known may be heard again soon.
fn may_answer(reading: &PodReading, pod: &PodView, now: Instant) -> bool {
    let within = |at: Instant, time| now.saturating_duration_since(at) < time;
    let was_heard = reading.stats.as_ref().is_some_and(|(_, at)| within(*at, SILENT_IN_SERVICE));
    reading.failing_since.is_none_or(|since| within(since, SILENT)) || pod.is_ready() && was_heard
}

/// Brings what is remembered up to what is seen: a pod that was told to leave by the operator before this one leaves on, and one that was called back
/// is like all others once it is ready again, or has had the time for it.
pub fn recollect(context: &Context, seen: &mut Seen) {
    let before = context.memory(&seen.key, |memory| memory.withdrawn.clone());
    let mut withdrawn = before.clone();
    let words = orders::leaving_words(&seen.cluster);
    let min_ready = Strategy::of(&seen.cluster.spec, 0).min_ready;
    let pods: BTreeMap<&str, &PodView> = seen.owned().into_iter().map(|pod| (&*pod.uid, pod)).collect();
    for (uid, pod) in pods.iter().filter(|(_, pod)| pod.is_active() && !pod.drain) {
        let Some(told) = seen.stats(uid).and_then(|stats| stats.told.as_ref()) else { continue };
        let is_known = before.retiring.contains_key(*uid) || before.returning.contains_key(*uid);
        if !is_known && words.contains(&told.revision) {
            withdrawn.retiring.insert(pod.uid.clone(), left_at(pod, seen));
        }
    }
    withdrawn.returning.retain(|uid, since| {
        let Some(pod) = pods.get(&**uid).filter(|pod| pod.is_active()) else { return false };
        // Until it has been told, its time has not begun.
        let is_told = seen.stats(uid).is_some_and(|stats| !stats.drained);
        let is_over = seen.now.saturating_duration_since(*since) >= TAKES_EFFECT + min_ready;
        !(is_told && (is_over || pod.is_available(min_ready, seen.wall)))
    });
    if withdrawn != before {
        context.memory(&seen.key, |memory| memory.withdrawn.clone_from(&withdrawn));
    }
    seen.withdrawn = withdrawn;
}

/// When a pod left service that another operator told to: what it has had of its time counts.
fn left_at(pod: &PodView, seen: &Seen) -> Instant {
    let since = match pod.readiness {
        Readiness::NotReady(since) => since.and_then(|since| Duration::try_from(seen.wall.duration_since(since)).ok()),
        _ => None,
    };
    since.and_then(|since| seen.now.checked_sub(since)).unwrap_or(seen.now)
}

/// Whether nobody uses the replica any more, as its primary says since it was told to retire.
pub fn is_idle(stats: &Stats) -> bool {
    stats.drained && Load::of(Some(stats)).is_idle()
}

/// Has those that are to retire told so, and those that were and are wanted again. Gives what there is to tell of it.
pub fn settle(context: &Context, seen: &mut Seen, decision: &Decision) -> Vec<Happening> {
    let before = &seen.withdrawn.retiring;
    let since = |uid: &Arc<str>| before.get(uid).copied().unwrap_or(seen.now);
    let retiring: BTreeMap<Arc<str>, Instant> = decision.retire.iter().map(|uid| (uid.clone(), since(uid))).collect();
    if retiring == *before {
        return Vec::new();
    }
    let names = |chosen: &dyn Fn(&Arc<str>) -> bool| -> Vec<String> {
        let pods = seen.pods.iter().filter(|pod| pod.is_active() && chosen(&pod.uid));
        pods.map(|pod| pod.name.clone()).collect()
    };
    let gone: Vec<&str> = decision.delete.iter().map(|removal| &*removal.uid).collect();
    let is_back = |uid: &Arc<str>| before.contains_key(uid) && !retiring.contains_key(uid) && !gone.contains(&&**uid);
    let retired = names(&|uid| retiring.contains_key(uid) && !before.contains_key(uid));
    let back = names(&is_back);
    let mut returning = seen.withdrawn.returning.clone();
    returning.retain(|uid, _| !retiring.contains_key(uid));
    returning.extend(before.keys().filter(|uid| is_back(uid)).map(|uid| (uid.clone(), seen.now)));
    let mut happenings = Vec::new();
    if let Some(first) = retired.first() {
        let note = format!("{}: too many, not ready any more, and deleted when no worker is busy", listed(&retired));
        happenings.push(Happening::normal("PodsRetiring", format!("Retire-{first}"), note));
    }
    if let Some(first) = back.first() {
        let note = format!("{}: wanted again before it was deleted", listed(&back));
        happenings.push(Happening::normal("PodsCalledBack", format!("CallBack-{first}"), note));
    }
    let withdrawn = Withdrawn { retiring, returning };
    context.memory(&seen.key, |memory| memory.withdrawn.clone_from(&withdrawn));
    seen.withdrawn = withdrawn;
    observe::publish(context, seen);
    happenings
}
