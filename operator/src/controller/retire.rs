//! Where pods stand that may have to go, and telling them. Nothing of it is written down: an operator that begins learns it from what the primaries
//! have been told, before it tells them anything else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
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

/// Brings what is remembered up to what is seen.
pub fn recollect(context: &Context, seen: &mut Seen) {
    let before = context.memory(&seen.key, |memory| memory.withdrawn.clone());
    let withdrawn = brought_up(&before, &view(seen));
    if withdrawn != before {
        context.memory(&seen.key, |memory| memory.withdrawn.clone_from(&withdrawn));
    }
    seen.withdrawn = withdrawn;
}

/// What is seen of pods that may be out of service by our word.
struct View<'a> {
    /// Those of the WorkerCluster that are there, each with what its primary said last, and when, if that was a moment ago.
    pods: Vec<(&'a PodView, Option<(&'a Stats, Instant)>)>,
    /// The names of settings that tell a replica to serve out.
    words: Vec<String>,
    min_ready: Duration,
    wall: Timestamp,
    now: Instant,
}

fn view(seen: &Seen) -> View<'_> {
    let heard = |uid: &str| Some((seen.stats(uid)?, seen.readings.pods.get(uid)?.stats.as_ref()?.1));
    let active = seen.owned().into_iter().filter(|pod| pod.is_active());
    View {
        pods: active.map(|pod| (pod, heard(&pod.uid))).collect(),
        words: orders::leaving_words(&seen.cluster),
        min_ready: Strategy::of(&seen.cluster.spec, 0).min_ready,
        wall: seen.wall,
        now: seen.now,
    }
}

/// A pod that was told to leave by the operator before this one leaves on. One that was called back is like all others once it is ready again, or has had
/// the time for it since it was told; so is one that its user drained, and took that back.
fn brought_up(before: &Withdrawn, view: &View<'_>) -> Withdrawn {
    let mut after = Withdrawn { retiring: before.retiring.clone(), returning: BTreeMap::new() };
    for (pod, heard) in &view.pods {
        let leaves = heard.is_some_and(|(stats, _)| {
            stats.drained && stats.told.as_ref().is_some_and(|told| view.words.contains(&told.revision))
        });
        match before.returning.get(&pod.uid) {
            _ if pod.drain => {
                after.returning.insert(pod.uid.clone(), view.now);
            }
            Some(since) => {
                if let Some(since) = still_returning(*since, pod, *heard, view) {
                    after.returning.insert(pod.uid.clone(), since);
                }
            }
            None if leaves && !before.retiring.contains_key(&pod.uid) => {
                after.retiring.insert(pod.uid.clone(), left_at(pod, view));
            }
            None => {}
        }
    }
    after
}

/// Since when a pod that was called back has been in service by our word; `None` where it is like all others.
fn still_returning(
    since: Instant,
    pod: &PodView,
    heard: Option<(&Stats, Instant)>,
    view: &View<'_>,
) -> Option<Instant> {
    let so_long = view.now.saturating_duration_since(since);
    match heard {
        // What it said before it was called back says nothing.
        Some((stats, at)) if at > since && !stats.drained => {
            let over =
                if pod.is_ready() { pod.is_available(view.min_ready, view.wall) } else { so_long >= TAKES_EFFECT };
            (!over).then_some(since)
        }
        // Until it has been told its time has not begun.
        Some((stats, _)) if stats.drained => Some(view.now),
        _ => (so_long < SILENT_IN_SERVICE).then_some(since),
    }
}

/// When a pod left service that another operator told to: what it has had of its time counts.
fn left_at(pod: &PodView, view: &View<'_>) -> Instant {
    let since = match pod.readiness {
        Readiness::NotReady(since) => since.and_then(|since| Duration::try_from(view.wall.duration_since(since)).ok()),
        _ => None,
    };
    since.and_then(|since| view.now.checked_sub(since)).unwrap_or(view.now)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pod::tests::pod;

    fn stats(drained: bool, told: &str) -> Stats {
        let stats = serde_json::json!({
            "version": 1, "primaryVersion": "x", "uptimeMilliseconds": 1000, "state": "Serving",
            "workers": {"desired": 1, "ready": 1, "running": 1, "restarts": 0}, "drained": drained,
            "deaths": {"exited": 0, "crashed": 0, "neverReady": 0, "outOfMemory": 0}, "told": {"revision": told}
        });
        serde_json::from_value(stats).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// What becomes of what was remembered, at 100 s, when a pod was seen so, and its primary said this at that time.
    fn after(before: &Withdrawn, begun: Instant, pod: &PodView, said: Option<(&Stats, u64)>) -> Withdrawn {
        let view = View {
            pods: vec![(pod, said.map(|(stats, at)| (stats, begun + SECOND * u32::try_from(at).unwrap())))],
            words: vec!["leave".to_owned()],
            min_ready: Duration::ZERO,
            wall: Timestamp::from_second(1_000_000).unwrap(),
            now: begun + 100 * SECOND,
        };
        brought_up(before, &view)
    }

    #[test]
    fn one_that_was_told_to_leave_by_the_operator_before_leaves_on_and_its_time_counts() {
        let begun = Instant::now();
        let none = Withdrawn::default();
        let left = PodView { readiness: Readiness::NotReady(Timestamp::from_second(999_960).ok()), ..pod("a") };
        let seen = after(&none, begun, &left, Some((&stats(true, "leave"), 99)));
        assert_eq!(seen.retiring.get(&left.uid), Some(&(begun + 60 * SECOND)));
        for (why, pod, stats) in [
            ("it is in service", pod("a"), stats(false, "leave")),
            ("by its user", pod("a").not_ready(), stats(true, "other")),
            ("by its user's annotation", PodView { drain: true, ..pod("a") }, stats(true, "leave")),
        ] {
            assert!(after(&none, begun, &pod, Some((&stats, 99))).retiring.is_empty(), "{why}");
        }
    }

    #[test]
    fn what_its_user_drained_and_took_back_is_nobody_who_retires() {
        let begun = Instant::now();
        let drained = PodView { drain: true, ..pod("a").not_ready() };
        let before = after(&Withdrawn::default(), begun, &drained, Some((&stats(true, "leave"), 99)));
        let then = after(&before, begun, &pod("a").not_ready(), Some((&stats(true, "leave"), 99)));
        assert!(then.retiring.is_empty() && then.returning.contains_key(&drained.uid), "{then:?}");
    }

    #[test]
    fn one_that_was_called_back_is_so_until_it_is_ready_again_or_had_the_time_for_it() {
        let begun = Instant::now();
        let at =
            |second| Withdrawn { returning: [(pod("a").uid, begun + SECOND * second)].into(), ..Withdrawn::default() };
        let (back, drained) = (stats(false, "serve"), stats(true, "leave"));
        let (ready, unready) = (pod("a"), pod("a").not_ready());
        for (why, since, pod, said, expected) in [
            ("ready again", 95, &ready, Some((&back, 99)), None),
            ("said before it was called back", 95, &ready, Some((&back, 90)), Some(95)),
            ("not ready yet", 95, &unready, Some((&back, 99)), Some(95)),
            ("not ready any more", 89, &unready, Some((&back, 99)), None),
            ("not told yet", 60, &unready, Some((&drained, 99)), Some(100)),
            ("silent for a moment", 80, &unready, None, Some(80)),
            ("silent", 60, &unready, None, None),
        ] {
            let after = after(&at(since), begun, pod, said);
            assert_eq!(after.returning.get(&pod.uid), expected.map(|at| begun + SECOND * at).as_ref(), "{why}");
            assert!(after.retiring.is_empty(), "{why}");
        }
    }

    #[test]
    fn a_primary_is_given_up_that_has_been_silent_for_long() {
        let begun = Instant::now();
        let now = begun + 100 * SECOND;
        let mut reading = PodReading::default();
        assert!(may_answer(&reading, &pod("a"), now), "it was not asked yet");
        reading.failing_since = Some(begun + 96 * SECOND);
        assert!(may_answer(&reading, &pod("a").not_ready(), now), "once is nothing");
        reading.failing_since = Some(begun + 95 * SECOND);
        assert!(!may_answer(&reading, &pod("a"), now), "it has never answered");
        for (heard, expected) in [(71, true), (70, false)] {
            reading.stats = Some((Arc::new(stats(false, "serve")), begun + SECOND * heard));
            assert_eq!(may_answer(&reading, &pod("a"), now), expected, "{heard}");
            assert!(!may_answer(&reading, &pod("a").not_ready(), now));
        }
    }
}
