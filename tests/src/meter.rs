//! Processor time of a pod from what its primary says.

use std::collections::VecDeque;

use primary_protocol::Stats;

/// Processor time of one pod as its primary tells it, over a second or more.
#[derive(Debug, Default)]
pub struct Meter(VecDeque<(u64, u64)>);

// === impl Meter ===

impl Meter {
    /// Thousandths of a processor, once there are two samples that are a second apart.
    pub fn millicores(&mut self, stats: &Stats) -> Option<u64> {
        let (now, used) = (stats.uptime_milliseconds, stats.cpu?.usage_microseconds);
        self.0.push_back((now, used));
        while self.0.get(1).is_some_and(|(at, _)| at + 1000 <= now) {
            self.0.pop_front();
        }
        let (at, before) = *self.0.front()?;
        (at + 1000 <= now).then(|| (used - before) / (now - at))
    }
}
