//! A container that is resized in place: the number of workers follows its processor limit again, where it does, and its new limit of memory is seen.

use std::time::{Duration, Instant};

use super::Primary;
use crate::config::Count;
use crate::count::{self, Processors};
use crate::machine::{Event, Order, Settings};

/// How often the limit is looked at: one read of a small file of the kernel's.
const EVERY: Duration = Duration::from_secs(5);

/// How many workers are asked for, and when the limit is looked at next.
#[derive(Debug)]
pub(super) struct Resize {
    pub count: Count,
    next: Instant,
}

impl Resize {
    pub fn new(count: Count) -> Self {
        Self { count, next: Instant::now() + EVERY }
    }

    pub fn due(&self) -> Instant {
        self.next
    }
}

impl Primary {
    /// Looks at the limit, if it is time, and has as many workers as it allows now.
    pub(super) fn follow_the_limit_if_due(&mut self) {
        let now = Instant::now();
        if now < self.resize.next {
            return;
        }
        self.resize.next = now + EVERY;
        // Where there was no limit of memory nobody may look at the workers by now, and would not see that there is one.
        if self.samples.memory_limit().is_some() {
            self.sample_now(false);
        }
        // The pod's request comes in a variable, which a running process does not see change.
        self.processors = Processors::of_this_process(self.samples.cgroups(), self.processors.request_millicores);
        self.machine.start_at_once(self.processors.at_once());
        if self.resize.count != Count::Auto {
            return;
        }
        let count = count::resolve(Count::Auto, self.processors);
        let settings = self.machine.settings();
        if count == settings.count {
            return;
        }
        let order = Order::Configure(Box::new(Settings { count, ..settings.clone() }));
        if self.machine.check(&order).is_ok() {
            self.feed(Event::Order(order));
        }
    }
}
