//! What is wrong with workers, over all replicas of a WorkerCluster: each reason once, the most severe first, and which of them is new.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use primary_protocol::WarningReason;

/// What is said for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The reason in conditions and events.
    pub reason: &'static str,
    /// The first replica of which it is said, and what.
    pub pod: String,
    pub message: String,
    /// Of so many replicas.
    pub pods: usize,
}

/// What is said of one replica: its name, the reason, the message.
pub type Said<'a> = (&'a str, WarningReason, Cow<'a, str>);

/// Reasons that have been told by an event, and since when each is gone; `None` while it lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(BTreeMap<&'static str, Option<Instant>>);

/// What comes back so soon was not gone: an answer was late, a container began again, workers were well for a moment.
const NOT_GONE: Duration = Duration::from_secs(60);

/// Every reason, to find those that were told before.
const ALL: [WarningReason; 10] = [
    WarningReason::CommandNotFound,
    WarningReason::OutOfMemory,
    WarningReason::CrashLoop,
    WarningReason::NeverReady,
    WarningReason::TlsBehindQueue,
    WarningReason::Hung,
    WarningReason::PortBoundByWorker,
    WarningReason::OverMemory,
    WarningReason::Unknown,
    WarningReason::ChannelSwallowed,
];

/// How severe a reason is, 0 the most, and what it is called in conditions and events.
fn rank(reason: WarningReason) -> (u8, &'static str) {
    match reason {
        // No worker serves, or ever will as it is.
        WarningReason::CommandNotFound => (0, "CommandNotFound"),
        // The work of a whole container was lost, and will be again.
        WarningReason::OutOfMemory => (1, "WorkersOutOfMemory"),
        // A slot of a replica serves nobody, or all of them.
        WarningReason::CrashLoop => (2, "CrashLoop"),
        WarningReason::NeverReady => (3, "NeverReady"),
        // Workers serve, and no request reaches them.
        WarningReason::TlsBehindQueue => (4, "TlsBehindQueue"),
        // Work of one worker was lost.
        WarningReason::Hung => (5, "WorkersHung"),
        // All that comes is served, by fewer workers than are asked for.
        WarningReason::PortBoundByWorker => (6, "PortBoundByWorker"),
        // Workers are replaced before anything is lost.
        WarningReason::OverMemory => (7, "WorkersOverMemory"),
        // Whatever a newer primary means, it is more than what is so from the first moment and does no harm to most programs.
        WarningReason::Unknown => (8, "WorkersWarn"),
        WarningReason::ChannelSwallowed => (9, "ChannelSwallowed"),
    }
}

/// What is said of all replicas, from what is said of each, with all of one pod together.
pub fn complaints<'a>(said: impl IntoIterator<Item = Said<'a>>) -> Vec<Complaint> {
    let mut all: BTreeMap<u8, (Complaint, &str)> = BTreeMap::new();
    for (pod, reason, message) in said {
        let (severity, reason) = rank(reason);
        let first = || (Complaint { reason, pod: pod.into(), message: message.into_owned(), pods: 0 }, "");
        let (complaint, last) = all.entry(severity).or_insert_with(first);
        // A pod may say one thing twice, in two ways.
        if *last != pod {
            complaint.pods += 1;
            *last = pod;
        }
    }
    all.into_values().map(|(complaint, _)| complaint).collect()
}

/// The most severe in full, and which others there are. Empty where nothing is wrong.
pub fn in_words(complaints: &[Complaint]) -> String {
    let Some((worst, others)) = complaints.split_first() else { return String::new() };
    if others.is_empty() {
        return worst.to_string();
    }
    let brief = |other: &Complaint| {
        let pods = if other.pods == 1 { "pod" } else { "pods" };
        format!("{} ({} {pods})", other.reason, other.pods)
    };
    format!("{worst} Also: {}.", others.iter().map(brief).collect::<Vec<_>>().join(", "))
}

// === impl Complaint ===

impl Complaint {
    /// Whether a replica of which it is said may never be ready for it.
    pub fn blocks(&self) -> bool {
        let blocking = [WarningReason::CommandNotFound, WarningReason::CrashLoop, WarningReason::NeverReady];
        blocking.into_iter().any(|reason| rank(reason).1 == self.reason)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.pods > 1 { format!(" (and {} more)", self.pods - 1) } else { String::new() };
        write!(formatter, "pod {}{more}: {}", self.pod, self.message)
    }
}

// === impl Told ===

impl Told {
    /// What an operator before this one has told, by the reason and the message of its condition.
    pub fn recalled(reason: &str, message: &str, now: Instant) -> Self {
        let names = ALL.into_iter().map(|reason| rank(reason).1);
        let told = names.filter(|name| *name == reason || message.contains(*name));
        Self(told.map(|name| (name, Some(now))).collect())
    }

    /// Takes what is wrong now, and returns what of it is new.
    pub fn news<'a>(&mut self, complaints: &'a [Complaint], now: Instant) -> Vec<&'a Complaint> {
        let lasts = |reason: &str| complaints.iter().any(|complaint| complaint.reason == reason);
        for (reason, gone) in &mut self.0 {
            if !lasts(reason) {
                gone.get_or_insert(now);
            }
        }
        self.0.retain(|_, gone| gone.is_none_or(|since| now.saturating_duration_since(since) < NOT_GONE));
        complaints.iter().filter(|complaint| self.0.insert(complaint.reason, None).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWALLOWED: WarningReason = WarningReason::ChannelSwallowed;
    const HUNG: WarningReason = WarningReason::Hung;

    fn complaints<'a>(said: impl IntoIterator<Item = (&'a str, WarningReason, &'a str)>) -> Vec<Complaint> {
        super::complaints(said.into_iter().map(|(pod, reason, message)| (pod, reason, message.into())))
    }

    fn reasons<'a>(complaints: impl IntoIterator<Item = &'a Complaint>) -> Vec<&'static str> {
        complaints.into_iter().map(|complaint| complaint.reason).collect()
    }

    #[test]
    fn the_most_severe_of_all_replicas_is_told_first_and_the_others_are_named() {
        let said = [
            ("web-1", SWALLOWED, "Run the script."),
            ("web-2", SWALLOWED, "Run the script."),
            ("web-2", HUNG, "No progress."),
            ("web-3", HUNG, "No progress for long."),
        ];
        let complaints = complaints(said);
        assert_eq!(reasons(&complaints), ["WorkersHung", "ChannelSwallowed"]);
        assert_eq!(in_words(&complaints), "pod web-2 (and 1 more): No progress. Also: ChannelSwallowed (2 pods).");
    }

    #[test]
    fn one_reason_of_one_pod_is_told_plainly() {
        assert_eq!(in_words(&complaints([("web-1", HUNG, "No progress.")])), "pod web-1: No progress.");
        assert_eq!(in_words(&[]), "");
    }

    #[test]
    fn what_a_pod_says_twice_counts_once() {
        let said = [("web-1", HUNG, "a"), ("web-1", SWALLOWED, "b"), ("web-1", HUNG, "c")];
        assert!(complaints(said).iter().all(|complaint| complaint.pods == 1 && complaint.message != "c"));
    }

    #[test]
    fn every_reason_has_a_severity_and_a_name_of_its_own() {
        let ranks: Vec<u8> = ALL.into_iter().map(|reason| rank(reason).0).collect();
        assert_eq!(ranks, (0..10).collect::<Vec<u8>>());
        let names: std::collections::BTreeSet<_> = ALL.into_iter().map(|reason| rank(reason).1).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn each_new_reason_is_news_once_and_not_again_while_it_lasts() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let one = complaints([("web-1", SWALLOWED, "a")]);
        let both = complaints([("web-1", SWALLOWED, "a"), ("web-1", HUNG, "b")]);
        assert_eq!(reasons(told.news(&one, at(0))), ["ChannelSwallowed"]);
        assert_eq!(reasons(told.news(&both, at(1))), ["WorkersHung"]);
        assert!(told.news(&both, at(5000)).is_empty());
        assert!(told.news(&one, at(5001)).is_empty());
        assert!(told.news(&both, at(5050)).is_empty(), "it was not gone");
        assert!(told.news(&one, at(5051)).is_empty());
        assert_eq!(reasons(told.news(&both, at(5200))), ["WorkersHung"], "it is back after a while");
    }

    #[test]
    fn what_an_operator_before_has_told_is_not_told_again() {
        let now = Instant::now();
        let both = complaints([("web-1", SWALLOWED, "a"), ("web-2", HUNG, "b")]);
        let mut told = Told::recalled("WorkersHung", &in_words(&both), now);
        assert!(told.news(&[], now).is_empty(), "no primary has been asked yet");
        assert!(told.news(&both, now + Duration::from_secs(2)).is_empty());
        assert_eq!(Told::recalled("AllWell", "2 of 2 workers ready", now), Told::default());
    }
}
