//! Which replicas are said to be in the midst of work, so that the autoscalers of nodes leave them alone, and from when on they are not any more.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use primary_protocol::Stats;

use crate::view::protection::Protected;

/// A replica whose primary takes requests.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    pub uid: &'a Arc<str>,
    pub work: Work,
    /// What its pod says.
    pub protected: Protected,
}

/// What a replica would lose, as its primary said a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A request that a worker has had, or that has waited, for long; or a connection of another protocol.
    Lasting,
    /// None, or requests as they come and go: whatever ends a pod lets it finish those.
    Brief,
    /// Not known.
    Unknown,
}

/// What is to be done about one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Say that it is busy.
    Say,
    /// Take that back.
    TakeBack,
}

/// What is remembered of all replicas. Nothing of it is needed to be right: a new operator begins without, and learns within a minute.
#[derive(Debug, Default)]
pub struct Watch(HashMap<Arc<str>, Watched>);

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    /// Whether it is busy, and since when it has been so without a break; `None` where that is not known.
    busy: Option<(bool, Instant)>,
    /// Since when that is not known.
    unknown: Option<Instant>,
    /// When its pod was last changed.
    changed: Option<Instant>,
}

/// A request is lasting after this time.
const LASTING: Duration = Duration::from_secs(10);
/// A replica that has lasting work for so long is busy.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// And one that has been idle for so long is idle, and not between two requests.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// What was said of a replica of which nothing has been heard for so long is taken back: its node must not be kept for ever.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// Each pod is changed no more often: whatever its load does, that is two writes in two minutes.
const PAUSE: Duration = Duration::from_secs(60);
/// So many pods are changed at a time, and there is one look a second: a twentieth of what one operator may write at all. A thousand replicas that
/// become busy at once are said to be so within two minutes; the cluster-autoscaler takes ten to make up its mind.
pub const AT_A_TIME: usize = 10;

// === impl Work ===

impl Work {
    /// What its primary said.
    pub fn of(stats: Option<&Stats>) -> Self {
        let Some(requests) = stats.and_then(|stats| stats.requests.as_ref()) else { return Self::Unknown };
        let ages = [requests.longest_milliseconds, requests.oldest_milliseconds];
        let lasts = ages.into_iter().flatten().any(|age| Duration::from_millis(age) >= LASTING);
        if lasts || requests.upgraded > 0 { Self::Lasting } else { Self::Brief }
    }
}

// === impl Watch ===

impl Watch {
    /// Takes what is known of all replicas now. Returns what is to be done, first what has been due for longest; it counts as done.
    pub fn look<'a>(
        &mut self,
        replicas: impl IntoIterator<Item = Replica<'a>>,
        now: Instant,
    ) -> Vec<(Arc<str>, Change)> {
        let mut watched = HashMap::new();
        let mut due = Vec::new();
        for replica in replicas {
            let before = self.0.get(replica.uid).copied().unwrap_or_default();
            let busy = busy(replica.work).map(|busy| match before.busy {
                Some((was, since)) if was == busy => (busy, since),
                _ => (busy, now),
            });
            let rested = before.changed.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
            let unknown = busy.is_none().then(|| before.unknown.unwrap_or(now));
            let change = change(replica.protected, busy, now).or_else(|| forgotten(replica.protected, unknown, now));
            if let Some((change, since)) = change.filter(|_| rested) {
                due.push((since, replica.uid, change));
            }
            watched.insert(replica.uid.clone(), Watched { busy, unknown, changed: before.changed });
        }
        due.sort_by_key(|(since, uid, _)| (*since, *uid));
        due.truncate(AT_A_TIME);
        self.0 = watched;
        for (_, uid, _) in &due {
            self.0.entry((*uid).clone()).or_default().changed = Some(now);
        }
        due.into_iter().map(|(_, uid, change)| (uid.clone(), change)).collect()
    }

    /// A pod had changed in another way meanwhile: what was to be done was not.
    pub fn undone(&mut self, uid: &str) {
        if let Some(watched) = self.0.get_mut(uid) {
            watched.changed = None;
        }
    }
}

/// Whether a replica holds work that its end would cut off. What is not known is neither: nothing is said on the strength of it, and nothing taken back.
fn busy(work: Work) -> Option<bool> {
    match work {
        Work::Brief => Some(false),
        Work::Lasting => Some(true),
        Work::Unknown => None,
    }
}

/// What is due for one replica, and since when it has been as it is.
fn change(protected: Protected, busy: Option<(bool, Instant)>, now: Instant) -> Option<(Change, Instant)> {
    let (busy, since) = busy?;
    let lasted = now.saturating_duration_since(since);
    match (protected, busy) {
        (Protected::Free, true) if lasted >= BUSY_FOR => Some((Change::Say, since)),
        (Protected::Ours, false) if lasted >= IDLE_FOR => Some((Change::TakeBack, since)),
        _ => None,
    }
}

/// What is due for one of which nothing has been heard since then.
fn forgotten(protected: Protected, unknown: Option<Instant>, now: Instant) -> Option<(Change, Instant)> {
    let since = unknown.filter(|since| now.saturating_duration_since(*since) >= UNKNOWN_FOR)?;
    (protected == Protected::Ours).then_some((Change::TakeBack, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Work = Work::Lasting;

    /// One replica that is looked at once a second; what is done shows in its pod.
    struct Story {
        watch: Watch,
        begun: Instant,
        second: u64,
        protected: Protected,
        /// In which second what was done.
        done: Vec<(u64, Change)>,
    }

    impl Story {
        fn begin(protected: Protected) -> Self {
            Self { watch: Watch::default(), begun: Instant::now(), second: 0, protected, done: Vec::new() }
        }

        fn goes_on(mut self, seconds: u64, work: Work) -> Self {
            for _ in 0..seconds {
                let (uid, now) = ("a".into(), self.begun + Duration::from_secs(self.second));
                let replica = Replica { uid: &uid, work, protected: self.protected };
                for (_, change) in self.watch.look([replica], now) {
                    self.done.push((self.second, change));
                    self.protected = match change {
                        Change::Say => Protected::Ours,
                        Change::TakeBack => Protected::Free,
                    };
                }
                self.second += 1;
            }
            self
        }
    }

    #[test]
    fn what_lasts_is_a_request_of_ten_seconds_or_another_protocol() {
        let work = |requests: Option<serde_json::Value>| {
            let stats = serde_json::json!({
                "version": 1, "primaryVersion": "x", "uptimeMilliseconds": 1000, "state": "Serving",
                "workers": {"desired": 1, "ready": 1, "running": 1, "restarts": 0},
                "deaths": {"exited": 0, "crashed": 0, "neverReady": 0, "outOfMemory": 0},
                "listeners": [], "requests": requests
            });
            Work::of(Some(&serde_json::from_value(stats).unwrap()))
        };
        let with = |field: &str, value: u64| {
            let mut requests = serde_json::json!({"waiting": 3, "inFlight": 9, "places": 8, "arrived": 9});
            requests[field] = value.into();
            work(Some(requests))
        };
        for (field, value, expected) in [
            ("upgraded", 0, Work::Brief),
            ("upgraded", 1, Work::Lasting),
            ("longestMilliseconds", 9_999, Work::Brief),
            ("longestMilliseconds", 10_000, Work::Lasting),
            ("oldestMilliseconds", 9_999, Work::Brief),
            ("oldestMilliseconds", 10_000, Work::Lasting),
        ] {
            assert_eq!(with(field, value), expected, "{field} {value}");
        }
        assert_eq!((work(None), Work::of(None)), (Work::Unknown, Work::Unknown));
    }

    #[test]
    fn it_is_said_after_ten_seconds_of_work_and_taken_back_after_a_minute_without() {
        let story = Story::begin(Protected::Free).goes_on(100, BUSY).goes_on(100, Work::Brief);
        assert_eq!(story.done, [(10, Change::Say), (160, Change::TakeBack)]);
    }

    #[test]
    fn work_that_comes_and_goes_changes_nothing() {
        let mut story = Story::begin(Protected::Free);
        for _ in 0..30 {
            story = story.goes_on(9, BUSY).goes_on(9, Work::Brief);
        }
        assert_eq!(story.done, []);
        let mut story = Story::begin(Protected::Ours);
        for _ in 0..10 {
            story = story.goes_on(59, Work::Brief).goes_on(1, BUSY);
        }
        assert_eq!(story.done, []);
    }

    #[test]
    fn what_is_not_known_is_neither_and_both_begin_anew() {
        let story = Story::begin(Protected::Free).goes_on(9, BUSY).goes_on(300, Work::Unknown).goes_on(10, BUSY);
        assert_eq!(story.done, []);
        let story = Story::begin(Protected::Ours).goes_on(59, Work::Brief).goes_on(300, Work::Unknown);
        assert_eq!(story.goes_on(60, Work::Brief).done, []);
    }

    #[test]
    fn nothing_is_said_for_ever_of_one_that_is_not_heard_any_more() {
        let story = Story::begin(Protected::Ours).goes_on(700, Work::Unknown).goes_on(20, BUSY);
        assert_eq!(story.done, [(600, Change::TakeBack), (710, Change::Say)]);
        let story =
            Story::begin(Protected::Ours).goes_on(599, Work::Unknown).goes_on(1, BUSY).goes_on(599, Work::Unknown);
        assert_eq!(story.done, []);
    }

    #[test]
    fn a_pod_is_changed_once_a_minute_at_the_most() {
        let story = Story::begin(Protected::Ours).goes_on(61, Work::Brief).goes_on(100, BUSY);
        assert_eq!(story.done, [(60, Change::TakeBack), (120, Change::Say)]);
    }

    #[test]
    fn what_its_user_says_is_left_alone() {
        let story = Story::begin(Protected::Theirs).goes_on(200, BUSY).goes_on(200, Work::Brief);
        assert_eq!(story.done, []);
    }

    #[test]
    fn of_many_the_longest_due_are_first_and_the_others_follow() {
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let uids: Vec<Arc<str>> = (0..25).map(|number| format!("uid-{number:02}").into()).collect();
        let mut said: Vec<Arc<str>> = Vec::new();
        let mut numbers = Vec::new();
        for second in 0..15 {
            // The last of them have been busy from the beginning, the others since a second after.
            let work = |number: usize| if second > 0 || number >= 20 { BUSY } else { Work::Brief };
            let replica = |(number, uid)| {
                let protected = if said.contains(uid) { Protected::Ours } else { Protected::Free };
                Replica { uid, work: work(number), protected }
            };
            let due = watch.look(uids.iter().enumerate().map(replica), begun + Duration::from_secs(second));
            numbers.push(due.len());
            said.extend(due.into_iter().map(|(uid, _)| uid));
        }
        assert_eq!(numbers[9..], [0, 5, 10, 10, 0, 0]);
        assert_eq!(said[..5], uids[20..]);
    }

    #[test]
    fn what_was_not_done_is_due_again_and_what_is_gone_is_forgotten() {
        let (mut watch, begun, uid) = (Watch::default(), Instant::now(), "a".into());
        let look = |watch: &mut Watch, second| {
            let replica = Replica { uid: &uid, work: BUSY, protected: Protected::Free };
            watch.look([replica], begun + Duration::from_secs(second)).len()
        };
        assert_eq!([look(&mut watch, 0), look(&mut watch, 10), look(&mut watch, 11)], [0, 1, 0]);
        watch.undone("a");
        assert_eq!(look(&mut watch, 12), 1);
        watch.look([], begun);
        assert!(watch.0.is_empty());
    }
}
