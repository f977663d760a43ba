//! Where pods stand that may have to go, and telling them. Nothing of it is written down: the order is a function of what is wanted, and an operator
//! that begins takes a pod that has been told to retire for one that serves: it is told that it is in service, or goes on.

use std::{collections::BTreeMap, sync::Arc};

use primary_protocol::Stats;
use tokio::time::Instant;

use super::{
    context::Context,
    events::Happening,
    happenings::listed,
    observe::{self, Seen},
};
use crate::{
    decide::{load::Load, replicas::Decision, retire::Standing},
    signal::OrderError,
    view::PodView,
};

/// Since when pods have been wanted to serve out, by UID.
pub type Retiring = BTreeMap<Arc<str>, Instant>;

/// Where a pod stands.
pub fn standing(seen: &Seen, pod: &PodView) -> Standing {
    let Some(order) = seen.orders.by_pod.get(&pod.uid) else {
        return Standing::Out; // nobody is told anything
    };
    let stats = seen.stats(&pod.uid);
    if let Some(since) = seen.retiring.get(&pod.uid) {
        let since = seen.now.saturating_duration_since(*since);
        return Standing::Retiring { since, left: !pod.is_ready(), idle: stats.is_some_and(is_idle) };
    }
    let Some(reading) = seen.readings.pods.get(&pod.uid) else {
        // Also one that is not ready: it may serve out since before this term, and must not be ended for that. An attempt that fails is a reading.
        return if pod.ip.is_some() { Standing::Unheard } else { Standing::Out };
    };
    // A refusal of what is not wanted any more is none.
    let is_new = stats.is_some_and(|stats| order.is_news_to(stats));
    let refuses = is_new && matches!(reading.order, Some(OrderError::Refused(_) | OrderError::Distrusted(_)));
    // One that was called back just now is not ready yet, and serves. Where nothing is listened on nobody could say when it is idle.
    let serves =
        |stats: &Stats| stats.told.is_some() && stats.workers.ready > 0 && Load::of(Some(stats)) != Load::Unknown;
    if stats.is_some_and(serves) && !refuses && !pod.drain { Standing::Serving } else { Standing::Out }
}

/// Whether nobody uses the replica any more, as its primary says since it was told to retire.
pub fn is_idle(stats: &Stats) -> bool {
    stats.drained && Load::of(Some(stats)).is_idle()
}

/// Has those that are to retire told so, and those that were and are wanted again. Gives what there is to tell of it.
pub fn settle(context: &Context, seen: &mut Seen, decision: &Decision) -> Vec<Happening> {
    let since = |uid: &Arc<str>| seen.retiring.get(uid).copied().unwrap_or(seen.now);
    let retiring: Retiring = decision.retire.iter().map(|uid| (uid.clone(), since(uid))).collect();
    if retiring == seen.retiring {
        return Vec::new();
    }
    let names = |chosen: &dyn Fn(&Arc<str>) -> bool| -> Vec<String> {
        let pods = seen.pods.iter().filter(|pod| pod.is_active() && chosen(&pod.uid));
        pods.map(|pod| pod.name.clone()).collect()
    };
    let gone: Vec<&str> = decision.delete.iter().map(|removal| &*removal.uid).collect();
    let retired = names(&|uid| retiring.contains_key(uid) && !seen.retiring.contains_key(uid));
    let back = names(&|uid| seen.retiring.contains_key(uid) && !retiring.contains_key(uid) && !gone.contains(&&**uid));
    let mut happenings = Vec::new();
    if let Some(first) = retired.first() {
        let note = format!("{}: too many, not ready any more, and deleted when no worker is busy", listed(&retired));
        happenings.push(Happening::normal("PodsRetiring", format!("Retire-{first}"), note));
    }
    if let Some(first) = back.first() {
        let note = format!("{}: wanted again before it was deleted", listed(&back));
        happenings.push(Happening::normal("PodsCalledBack", format!("CallBack-{first}"), note));
    }
    context.memory(&seen.key, |memory| memory.retiring.clone_from(&retiring));
    seen.retiring = retiring;
    observe::publish(context, seen);
    happenings
}
