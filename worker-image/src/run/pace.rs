//! How often the loop looks at what costs time to see.

use std::time::{Duration, Instant};

/// A look is followed by at least this many times as long as it took, so that most of the time is left for other things.
const PAUSE: u32 = 10;

/// When to look again after a look that began then and has just ended, where it is to be looked so often if that costs little.
pub(super) fn after(began: Instant, every: Duration) -> Instant {
    began + wait(every, began.elapsed())
}

fn wait(every: Duration, took: Duration) -> Duration {
    every.max(took.saturating_mul(PAUSE + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_takes_long_leaves_ten_times_as_long_for_the_rest() {
        let milliseconds = Duration::from_millis;
        assert_eq!(wait(milliseconds(20), milliseconds(1)), milliseconds(20));
        assert_eq!(wait(milliseconds(20), milliseconds(80)), milliseconds(880));
    }
}
