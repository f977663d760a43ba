//! Which pods' processor time counts: the classes of a HorizontalPodAutoscaler (`groupPods` in its replica calculator).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::input::{Now, Phase, Pod, ReadyStatus, Sample};

/// A pod younger than this uses processor time to start, not to serve. `--horizontal-pod-autoscaler-cpu-initialization-period`.
const INITIALISATION_PERIOD: SignedDuration = SignedDuration::from_secs(300);
/// A pod whose readiness last changed this soon after its start has never been ready.
/// `--horizontal-pod-autoscaler-initial-readiness-delay`.
const INITIAL_READINESS_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// What a pod's processor time is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Ending or failed: as if it were not there.
    Dropped,
    /// Not running, not ready yet, or still starting: left out, and an idle replica where more are asked for.
    Unready,
    /// Nothing is known of it: taken for what argues against a change.
    Missing,
    /// It counts.
    Usable {
        /// Thousandths of a processor.
        millicores: i64,
        /// Time since the sample's end.
        age: Duration,
    },
}

/// The class of a pod. The order of the questions is the rule.
pub(super) fn classify(pod: &Pod, sample_max_age: Duration, now: Now) -> Class {
    if pod.deleting || pod.phase == Phase::Failed {
        return Class::Dropped;
    }
    if pod.phase == Phase::Pending {
        return Class::Unready;
    }
    let Sample::Known { millicores, age, window } = pod.sample else { return Class::Missing };
    if age > sample_max_age {
        return Class::Missing;
    }
    if starting(pod, age, window, now) {
        return Class::Unready;
    }
    Class::Usable { millicores, age }
}

fn starting(pod: &Pod, age: Duration, window: Duration, now: Now) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started) else { return true };
    let not_ready = ready.status == ReadyStatus::False;
    if later(started, INITIALISATION_PERIOD) > now.wall {
        let sampled_at = later(now.wall, -signed(age));
        not_ready || sampled_at < later(ready.last_transition, signed(window))
    } else {
        not_ready && later(started, INITIAL_READINESS_DELAY) > ready.last_transition
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// `time + by`, at the calendar's end where it would go past it: the API server's times are anybody's.
fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}
