//! How often a WorkerCluster with much going on is worked on, and told of: what hundreds of pods do within a second is one look, and one
//! status, and leaves the processor and the writes to those who have something to do.

use std::time::Duration;

use crds::{RolloutStatus, WorkerClusterStatus, WorkerTotals};

/// A WorkerCluster takes at most one part in so many of a processor. With 5000 pods a look takes some milliseconds, and while they are made
/// something changes at any moment.
const SHARE: u32 = 10;
/// It rests no longer than this, however much there was to do: a changed spec waits for it too.
const LONGEST_REST: Duration = Duration::from_millis(250);
/// Less than this is not worth being called again for: the scheduler's clock is no finer.
const SHORTEST_REST: Duration = Duration::from_millis(2);
/// Status of which only the numbers have changed is written so often, and to an API server that takes its time less often: telling takes one
/// part in [`SHARE`] of the time at most. Who waits for an end waits for a condition, and that is told at once.
const NUMBERS_EVERY: Duration = Duration::from_millis(500);

/// No API server is so slow that they are told less often: one write that hung is no reason to see numbers of half a minute ago.
const NUMBERS_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// When the numbers were last told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// How long ago.
    pub since: Duration,
    /// How long the write took.
    pub took: Duration,
}

/// How long a WorkerCluster rests after a look that took `busy`.
pub fn rest(busy: Duration) -> Option<Duration> {
    Some((busy * SHARE).min(LONGEST_REST)).filter(|rest| *rest >= SHORTEST_REST)
}

/// How long status waits to be written, where nothing but its numbers has changed.
pub fn hold(before: &WorkerClusterStatus, after: &WorkerClusterStatus, told: Option<Told>) -> Option<Duration> {
    let Told { since, took } = told?;
    let left = (took * SHARE)
        .clamp(NUMBERS_EVERY, NUMBERS_AT_LEAST_EVERY)
        .checked_sub(since)
        .filter(|left| !left.is_zero())?;
    only_numbers(before, after).then_some(left)
}

/// Conditions whose messages hold no figure that changes by itself: another message is another matter, and an event.
const TOLD: [&str; 2] = ["ScalingActive", "Stalled"];

/// Whether two are the same but for numbers, and the messages that quote them.
pub fn only_numbers(before: &WorkerClusterStatus, after: &WorkerClusterStatus) -> bool {
    without_numbers(before) == without_numbers(after)
}

fn without_numbers(status: &WorkerClusterStatus) -> WorkerClusterStatus {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().filter(|condition| !TOLD.contains(&condition.type_.as_str())) {
        condition.message.clear();
    }
    let rollout =
        status.rollout.map(|rollout| RolloutStatus { revision: rollout.revision, ..RolloutStatus::default() });
    WorkerClusterStatus {
        replicas: 0,
        ready_replicas: 0,
        available_replicas: 0,
        updated_replicas: 0,
        retiring_replicas: 0,
        terminating_replicas: 0,
        workers: WorkerTotals::default(),
        rollout,
        ..status
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };

    use super::*;

    fn status(ready: i32, reason: &str) -> WorkerClusterStatus {
        let condition = Condition {
            type_: "Ready".into(),
            status: "False".into(),
            reason: reason.into(),
            message: format!("{ready} of 9 replicas ready"),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        WorkerClusterStatus {
            ready_replicas: ready,
            rollout: Some(RolloutStatus { revision: 1, peak_available_replicas: ready, ..RolloutStatus::default() }),
            conditions: vec![condition],
            ..WorkerClusterStatus::default()
        }
    }

    #[test]
    fn numbers_wait_after_the_last_and_reasons_never() {
        let (before, after) = (status(1, "ReplicasNotReady"), status(2, "ReplicasNotReady"));
        let ms = Duration::from_millis;
        let told = |since, took| Some(Told { since: ms(since), took: ms(took) });
        assert_eq!(hold(&before, &after, None), None, "the first is told at once");
        assert_eq!(hold(&before, &after, told(100, 5)), Some(ms(400)));
        assert_eq!(hold(&before, &after, told(500, 50)), None);
        assert_eq!(hold(&before, &after, told(500, 300)), Some(ms(2500)), "an API server that takes its time");
        assert_eq!(hold(&before, &after, told(2000, 9000)), Some(ms(3000)));
        assert_eq!(hold(&before, &status(2, "RollingOut"), told(100, 5)), None);
        let generation = WorkerClusterStatus { observed_generation: 2, ..after.clone() };
        assert_eq!(hold(&before, &generation, told(100, 5)), None);
        let revision =
            WorkerClusterStatus { rollout: Some(RolloutStatus { revision: 2, ..RolloutStatus::default() }), ..after };
        assert_eq!(hold(&before, &revision, told(100, 5)), None);
    }

    #[test]
    fn a_look_that_took_long_is_followed_by_a_rest_and_a_short_one_is_not() {
        let ms = Duration::from_millis;
        assert_eq!(
            [Duration::from_micros(100), ms(1), ms(5), ms(500)].map(rest),
            [None, Some(ms(10)), Some(ms(50)), Some(ms(250))]
        );
    }
}
