//! Whether a rollout comes on, and when it has taken too long without: from what status said before, and what there is now.

use std::time::Duration;

use crds::RolloutStatus;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// What there is now.
pub struct Input<'a> {
    pub before: Option<&'a RolloutStatus>,
    /// Number of the revision that is rolled out.
    pub revision: i64,
    /// Replicas of it that are there.
    pub updated: i32,
    /// Replicas of it that are available.
    pub updated_available: i32,
    /// Replicas of older revisions.
    pub outdated: i32,
    pub wanted: i32,
    /// The deadline does not run.
    pub paused: bool,
    /// It did not run until now: it begins anew.
    pub was_paused: bool,
    pub deadline: Duration,
    pub now: Timestamp,
    /// For how long this operator has seen the rollout at this point, by its own monotonic clock: another leader's wall clock may have
    /// written the time.
    pub watched: Duration,
    /// Status says already that the deadline has passed.
    pub was_exceeded: bool,
}

/// How the rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub status: RolloutStatus,
    /// It has not come on for the whole deadline.
    pub exceeded: bool,
    /// The deadline passes in this time, if nothing moves.
    pub wake: Option<Duration>,
}

/// Looks at how far a rollout has come. `progressed_at` stands only while it is under way: replicas that fail later are no rollout.
pub fn look(input: &Input<'_>) -> Progress {
    let complete = input.updated >= input.wanted && input.updated_available >= input.wanted && input.outdated == 0;
    let now = Timestamp::from_second(input.now.as_second()).unwrap_or(input.now);
    let before = input.before.filter(|before| before.revision == input.revision);
    let peak = before.map_or(0, |before| before.peak_available_replicas);
    let came_on = |before: &RolloutStatus| {
        input.updated_available > peak
            || input.outdated < before.outdated_replicas
            || (input.was_paused && !input.paused)
    };
    let progressed_at = match before {
        _ if complete => None,
        None => Some(now),
        Some(before) => match &before.progressed_at {
            Some(at) if !came_on(before) => Some(at.0),
            // It was complete with no replica at all: nothing of it has shown yet that it works.
            None if peak > 0 => None,
            _ => Some(now),
        },
    };
    // Complete, it says nothing about the way there, so that the same end is the same status.
    let reached = match (complete, input.wanted) {
        (true, 0) => peak.min(1),
        (true, wanted) => wanted,
        (false, _) => peak.max(input.updated_available),
    };
    let same = before.is_some_and(|before| before.progressed_at.as_ref().map(|at| at.0) == progressed_at);
    let left = progressed_at.filter(|_| !input.paused).map(|at| {
        let since = Duration::try_from(input.now.duration_since(at)).unwrap_or_default();
        match (same, input.was_exceeded) {
            (true, true) => Duration::ZERO,
            (true, false) => input.deadline.saturating_sub(since.min(input.watched)),
            (false, _) => input.deadline,
        }
    });
    Progress {
        status: RolloutStatus {
            revision: input.revision,
            progressed_at: progressed_at.map(Time),
            updated_available_replicas: input.updated_available,
            peak_available_replicas: reached,
            outdated_replicas: input.outdated,
        },
        exceeded: left == Some(Duration::ZERO),
        wake: left.filter(|left| !left.is_zero()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn input(before: Option<&RolloutStatus>, now: i64) -> Input<'_> {
        Input {
            before,
            revision: 2,
            updated: 0,
            updated_available: 0,
            outdated: 3,
            wanted: 3,
            paused: false,
            was_paused: false,
            deadline: Duration::from_secs(600),
            now: at(now),
            watched: Duration::MAX,
            was_exceeded: false,
        }
    }

    fn begun() -> RolloutStatus {
        look(&input(None, 0)).status
    }

    #[test]
    fn a_new_revision_starts_the_clock() {
        let progress = look(&input(None, 0));
        assert_eq!((progress.exceeded, progress.wake), (false, Some(Duration::from_secs(600))));
    }

    #[test]
    fn without_progress_the_deadline_passes() {
        let begun = begun();
        assert!(!look(&input(Some(&begun), 599)).exceeded);
        assert!(look(&input(Some(&begun), 600)).exceeded);
    }

    #[test]
    fn each_pod_that_becomes_available_or_goes_starts_it_anew() {
        let begun = begun();
        let moves: [fn(&mut Input<'_>); 2] = [|input| input.updated_available = 1, |input| input.outdated = 2];
        for change in moves {
            let mut input = input(Some(&begun), 600);
            change(&mut input);
            assert!(!look(&input).exceeded);
        }
    }

    #[test]
    fn a_complete_rollout_has_no_clock_and_replicas_that_fail_later_start_none() {
        let begun = begun();
        let complete = look(&Input { updated: 3, updated_available: 3, outdated: 0, ..input(Some(&begun), 10) }).status;
        assert_eq!(complete.progressed_at, None);
        let later = look(&Input { updated: 3, updated_available: 1, outdated: 0, ..input(Some(&complete), 9999) });
        assert_eq!((later.exceeded, later.status.progressed_at), (false, None));
    }

    #[test]
    fn the_clock_stands_while_the_rollout_is_paused() {
        let begun = begun();
        let paused = look(&Input { paused: true, ..input(Some(&begun), 9999) });
        assert_eq!((paused.exceeded, &paused.status), (false, &begun), "and nothing is written for it");
        assert!(!look(&Input { was_paused: true, ..input(Some(&begun), 9999) }).exceeded);
    }

    #[test]
    fn a_pod_that_is_made_again_and_again_or_flaps_is_no_progress() {
        let begun = begun();
        assert!(look(&Input { updated: 1, ..input(Some(&begun), 600) }).exceeded);
        let one = look(&Input { updated: 1, updated_available: 1, ..input(Some(&begun), 10) }).status;
        let down = look(&Input { updated: 1, ..input(Some(&one), 20) }).status;
        let up = look(&Input { updated: 1, updated_available: 1, ..input(Some(&down), 615) });
        assert!(up.exceeded, "{up:?}");
    }

    #[test]
    fn the_same_end_is_the_same_status_whatever_the_way() {
        let begun = begun();
        let end = |before: &RolloutStatus| {
            look(&Input { updated: 2, updated_available: 2, outdated: 0, wanted: 2, ..input(Some(before), 20) }).status
        };
        let five = look(&Input { updated: 5, updated_available: 5, outdated: 0, wanted: 5, ..input(Some(&begun), 10) });
        assert_eq!(end(&five.status), end(&begun));
    }

    #[test]
    fn a_revision_that_was_complete_without_replicas_has_its_time_when_there_are_some() {
        let none = Input { outdated: 0, wanted: 0, ..input(None, 0) };
        let complete = look(&none).status;
        assert_eq!(complete.progressed_at, None);
        let scaled = look(&Input { outdated: 0, ..input(Some(&complete), 9999) });
        assert_eq!((scaled.exceeded, scaled.wake), (false, Some(Duration::from_secs(600))));
    }

    #[test]
    fn a_time_that_another_clock_wrote_is_not_taken_at_its_word() {
        let begun = begun();
        let early = Input { watched: Duration::from_secs(5), ..input(Some(&begun), 4000) };
        assert_eq!((look(&early).exceeded, look(&early).wake), (false, Some(Duration::from_secs(595))));
        assert!(look(&Input { was_exceeded: true, ..early }).exceeded, "what has been told stays");
    }
}
