//! How long a watch that failed waits before it is opened again.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

use crate::chance::chance;

/// 0.2 s, doubled up to 4 s, each made up to a quarter longer by chance, so that the operators of many clusters do not come at once. (kube's goes
/// to 30 s, which alone would be the time in which everything is to be well again after an API server's return.)
///
/// It begins anew when nothing has failed for a while, and not with the first good answer: a server that lists and refuses to watch would
/// otherwise be listed five times a second.
#[derive(Debug, Default)]
pub struct Restart {
    failures: u32,
    last: Option<Instant>,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(4);
/// Longer than the longest pause and a list after it.
const FORGOTTEN: Duration = Duration::from_secs(20);

impl Restart {
    fn pause(&mut self, now: Instant, chance: f64) -> Duration {
        if self.last.is_some_and(|last| now.duration_since(last) > FORGOTTEN) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(1.0 + chance / 4.0)
    }
}

impl Iterator for Restart {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause(Instant::now(), chance()))
    }
}

impl Backoff for Restart {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_four_seconds_and_never_beyond_five() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        let pauses: Vec<u128> = (0..7).map(|_| restart.pause(now, 0.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(restart.pause(now, 1.0), Duration::from_secs(5));
    }

    #[test]
    fn a_good_answer_between_two_failures_does_not_begin_anew_but_quiet_does() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        restart.pause(now, 0.0);
        restart.reset();
        assert_eq!(restart.pause(now, 0.0), FIRST * 2);
        assert_eq!(restart.pause(now + FORGOTTEN * 2, 0.0), FIRST);
    }
}
