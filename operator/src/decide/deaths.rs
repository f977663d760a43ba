//! Workers that ended and were not asked to, from what their primaries count: what has come since the last look is told together, by events and not by a
//! condition: such a worker is replaced at once, and one that dies again and again is a crash loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use primary_protocol::{Deaths as Counted, Stats};

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By itself, with code 0.
    Exited,
    /// With another code, or by a signal that its primary did not send.
    Crashed,
}

/// One replica, and what its primary said a moment ago.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    pub uid: &'a Arc<str>,
    pub name: &'a str,
    pub stats: Option<&'a Stats>,
}

/// What is remembered of the deaths in one WorkerCluster.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// What each primary had counted, by the pod's UID, and its uptime then.
    counted: BTreeMap<Arc<str>, (u64, Counted)>,
    exited: Tally,
    crashed: Tally,
}

/// Deaths of one verdict that are still to be told.
#[derive(Clone, Debug, Default)]
struct Tally {
    count: u64,
    /// The pods that they were in, by UID.
    pods: BTreeSet<Arc<str>>,
    /// The last of them: its pod, and what is known of it.
    last: (String, String),
    /// When some were last told.
    told: Option<Instant>,
}

/// What is to be told of one verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    /// The reason of the event.
    pub reason: &'static str,
    pub note: String,
}

/// Deaths of one verdict are told no more often: a program that crashes with every tenth request is one matter, and not one each second.
const EVERY: Duration = Duration::from_secs(300);

// === impl Verdict ===

impl Verdict {
    pub const ALL: [Self; 2] = [Self::Crashed, Self::Exited];

    /// Whether a primary's words about the end of a worker are of this verdict.
    pub fn is_of(self, exit: &str) -> bool {
        (exit == "exit code 0") == (self == Self::Exited)
    }

    /// How many a primary has counted.
    pub fn of(self, counted: &Counted) -> u64 {
        match self {
            Self::Exited => counted.exited,
            Self::Crashed => counted.crashed,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Exited => "WorkersExited",
            Self::Crashed => "WorkersCrashed",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Exited => {
                ("ended with code 0", "nobody asked for it, and a program that is to serve on does not end")
            }
            Self::Crashed => ("crashed", "what it was doing is lost"),
        }
    }
}

// === impl Deaths ===

impl Deaths {
    /// Takes what the primaries say now. Returns what is to be told, and when there will be something to tell that waits.
    pub fn look<'a>(
        &mut self,
        replicas: impl IntoIterator<Item = Replica<'a>>,
        now: Instant,
    ) -> (Vec<Died>, Option<Duration>) {
        let mut counted = BTreeMap::new();
        for replica in replicas {
            let before = self.counted.get(replica.uid).copied();
            // Of one that is silent for a while it is remembered how far it had counted.
            let after = replica.stats.map(|stats| (stats.uptime_milliseconds, stats.deaths)).or(before);
            if let Some(after) = after {
                counted.insert(replica.uid.clone(), after);
            }
            let (Some(before), Some(after), Some(stats)) = (before, after, replica.stats) else { continue };
            // One that began anew counts from 0 again: all of it has come since the last look.
            let before = if after.0 < before.0 { (0, Counted::default()) } else { before };
            for verdict in Verdict::ALL {
                let new = verdict.of(&after.1).saturating_sub(verdict.of(&before.1));
                if new > 0 {
                    self.tally(verdict).add(verdict, new, replica, stats);
                }
            }
        }
        self.counted = counted;
        let mut wake: Option<Duration> = None;
        let told = Verdict::ALL.into_iter().filter_map(|verdict| match self.tally(verdict).due(now)? {
            Duration::ZERO => Some(self.tally(verdict).tell(verdict, now)),
            wait => {
                wake = Some(wake.map_or(wait, |wake| wake.min(wait)));
                None
            }
        });
        (told.collect(), wake)
    }

    fn tally(&mut self, verdict: Verdict) -> &mut Tally {
        match verdict {
            Verdict::Exited => &mut self.exited,
            Verdict::Crashed => &mut self.crashed,
        }
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, verdict: Verdict, new: u64, replica: Replica<'_>, stats: &Stats) {
        self.count = self.count.saturating_add(new);
        self.pods.insert(replica.uid.clone());
        let slots = stats.slots.iter().filter_map(|slot| Some((slot.slot, slot.last_exit.as_deref()?)));
        let exit = slots.into_iter().find(|(_, exit)| verdict.is_of(exit));
        let exit = exit.map(|(slot, exit)| format!(" (slot {slot}: {exit})")).unwrap_or_default();
        self.last = (replica.name.to_owned(), exit);
    }

    /// In which time it may be told; `None` where there is nothing.
    fn due(&self, now: Instant) -> Option<Duration> {
        let since = self.told.map_or(EVERY, |told| now.saturating_duration_since(told));
        (self.count > 0).then_some(EVERY.saturating_sub(since))
    }

    fn tell(&mut self, verdict: Verdict, now: Instant) -> Died {
        let Self { count, pods, last: (pod, exit), .. } = std::mem::take(self);
        self.told = Some(now);
        let workers = if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") };
        let others = if pods.len() > 1 { format!(" in {} pods, last", pods.len()) } else { String::new() };
        let (ended, meaning) = verdict.words();
        let note = format!(
            "{workers} {ended}{others} in pod {pod}{exit}: {meaning}. Others take their places; the log has the last words: kubectl logs {pod}"
        );
        Died { reason: verdict.reason(), note }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A primary's words: its uptime in seconds, how many crashed and exited, and how the last one ended.
    fn stats(uptime: u64, crashed: u64, exited: u64, last: &str) -> Stats {
        let document = json!({
            "version": 1, "primaryVersion": "x", "uptimeMilliseconds": uptime * 1000, "state": "Serving",
            "workers": {"desired": 2, "ready": 2, "running": 2, "restarts": crashed + exited},
            "deaths": {"exited": exited, "crashed": crashed, "neverReady": 0, "outOfMemory": 0},
            "slots": [{"slot": 1, "state": "Ready", "restarts": 9, "lastExit": last}]
        });
        serde_json::from_value(document).unwrap()
    }

    fn look(deaths: &mut Deaths, pods: &[(&str, Option<&Stats>)], now: Instant) -> (Vec<Died>, Option<Duration>) {
        let uids: Vec<Arc<str>> = pods.iter().map(|(name, _)| (*name).into()).collect();
        let replicas = pods.iter().zip(&uids).map(|((name, stats), uid)| Replica { uid, name, stats: *stats });
        deaths.look(replicas, now)
    }

    #[test]
    fn what_has_come_since_the_last_look_is_told_with_pod_and_exit() {
        let (mut deaths, now) = (Deaths::default(), Instant::now());
        let (first, second) = (stats(5, 3, 0, "exit code 1"), stats(6, 5, 0, "signal 9 (SIGKILL)"));
        assert_eq!(look(&mut deaths, &[("web-1", Some(&first))], now).0, [], "an operator before has told it");
        let told = look(&mut deaths, &[("web-1", Some(&second))], now).0;
        assert_eq!(told[0].reason, "WorkersCrashed");
        assert!(told[0].note.starts_with("2 workers crashed in pod web-1 (slot 1: signal 9 (SIGKILL))"), "{told:?}");
        assert_eq!(look(&mut deaths, &[("web-1", Some(&second))], now), (Vec::new(), None));
    }

    #[test]
    fn within_five_minutes_it_is_told_once_and_then_all_together() {
        let (mut deaths, begun) = (Deaths::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        let all: Vec<Stats> = (0..4).map(|crashed| stats(crashed, crashed, 0, "exit code 7")).collect();
        look(&mut deaths, &[("a", Some(&all[0])), ("b", Some(&all[0]))], at(0));
        assert_eq!(look(&mut deaths, &[("a", Some(&all[1])), ("b", Some(&all[0]))], at(1)).0.len(), 1);
        let later = look(&mut deaths, &[("a", Some(&all[2])), ("b", Some(&all[1]))], at(101));
        assert_eq!(later, (Vec::new(), Some(Duration::from_secs(200))));
        let told = look(&mut deaths, &[("a", Some(&all[2])), ("b", Some(&all[1]))], at(301)).0;
        assert!(
            told[0].note.starts_with("2 workers crashed in 2 pods, last in pod b (slot 1: exit code 7)"),
            "{told:?}"
        );
    }

    #[test]
    fn each_verdict_is_told_for_itself() {
        let (mut deaths, now) = (Deaths::default(), Instant::now());
        look(&mut deaths, &[("a", Some(&stats(1, 0, 0, "")))], now);
        let told = look(&mut deaths, &[("a", Some(&stats(2, 1, 1, "exit code 0")))], now).0;
        let reasons: Vec<_> = told.iter().map(|told| told.reason).collect();
        assert_eq!(reasons, ["WorkersCrashed", "WorkersExited"]);
        assert!(told[0].note.contains("in pod a: what"), "of this one no exit is known: {}", told[0].note);
        assert!(told[1].note.contains("in pod a (slot 1: exit code 0):"), "{}", told[1].note);
    }

    #[test]
    fn a_primary_that_began_anew_counts_from_nothing() {
        let (mut deaths, now) = (Deaths::default(), Instant::now());
        let exit = "exit code 1";
        look(&mut deaths, &[("a", Some(&stats(60, 5, 0, exit)))], now);
        let told = look(&mut deaths, &[("a", Some(&stats(1, 2, 0, exit)))], now).0;
        assert!(told[0].note.starts_with("2 workers crashed"), "{told:?}");
        assert_eq!(look(&mut deaths, &[("a", Some(&stats(2, 2, 0, exit)))], now).0, []);
        assert_eq!(look(&mut deaths, &[("b", Some(&stats(9, 9, 0, exit)))], now).0, [], "another pod");
    }

    #[test]
    fn deaths_while_a_primary_was_not_heard_are_told_when_it_is() {
        let (mut deaths, now) = (Deaths::default(), Instant::now());
        look(&mut deaths, &[("a", Some(&stats(1, 0, 0, "")))], now);
        look(&mut deaths, &[("a", None)], now);
        assert_eq!(look(&mut deaths, &[("a", Some(&stats(9, 1, 0, "exit code 1")))], now).0.len(), 1);
    }
}
