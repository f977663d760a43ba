//! Tests of the decision: the HorizontalPodAutoscaler's own answers, hand-made tables, scenarios on a moved clock, properties.

mod cpu;
mod hpa_rows;
mod limits;
mod pipeline;
mod properties;
mod queue;
mod requests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    CpuRequest, Decision, Demand, History, Input, Metric, Now, Phase, Pod, Policy, Reading, Ready, ReadyStatus, Sample,
    decide,
};

/// The wall clock when the operator of these tests has run for no time at all.
const EPOCH: i64 = 1_800_000_000;

/// The moment at which the operator has run for so long.
fn at(elapsed: Duration) -> Now {
    let wall = Timestamp::from_second(EPOCH).unwrap() + SignedDuration::try_from(elapsed).unwrap();
    Now { elapsed, wall }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Pod {
    /// A pod that has been ready for an hour, requests a processor, and has no sample.
    fn test() -> Self {
        let before = |seconds| Timestamp::from_second(EPOCH - seconds).unwrap();
        Self {
            name: "auth-0".into(),
            phase: Phase::Running,
            deleting: false,
            ready: Some(Ready { status: ReadyStatus::True, last_transition: before(3590) }),
            started: Some(before(3600)),
            request: CpuRequest::Millicores(1000),
            sample: Sample::Missing,
            requests: Demand::Missing,
            trouble: None,
        }
    }

    fn using(mut self, millicores: i64) -> Self {
        self.sample = Sample::Known { millicores, age: Duration::from_millis(500), window: seconds(2) };
        self
    }

    fn aged(mut self, sample_age: Duration) -> Self {
        if let Sample::Known { age, .. } = &mut self.sample {
            *age = sample_age;
        }
        self
    }

    fn pending(mut self) -> Self {
        self.phase = Phase::Pending;
        self.ready = None;
        self.started = None;
        self
    }

    fn deleting(mut self) -> Self {
        self.deleting = true;
        self
    }

    fn never_ready(mut self) -> Self {
        let started = self.started.unwrap();
        self.ready = Some(Ready { status: ReadyStatus::False, last_transition: started });
        self
    }

    fn without_request(mut self) -> Self {
        let field = "spec.template.spec.containers[1].resources.requests.cpu".into();
        self.request = CpuRequest::Missing { container: "worker".into(), field };
        self
    }
}

/// Pods that all use as much, in percent of their request.
fn pods(count: usize, percent: i64) -> Vec<Pod> {
    vec![Pod::test().using(percent * 10); count]
}

impl Input {
    /// From 1 to 10 replicas, one wanted now, profile Fast with a window of 300 s, no metric.
    fn test() -> Self {
        Self { current: 1, min: 1, max: 10, metrics: vec![], pods: vec![], policy: Policy::fast(seconds(300)) }
    }

    fn current(mut self, current: i32) -> Self {
        self.current = current;
        self
    }

    fn bounds(mut self, min: i32, max: i32) -> Self {
        (self.min, self.max) = (min, max);
        self
    }

    fn cpu(mut self, target_utilization: i32, pods: Vec<Pod>) -> Self {
        self.metrics.push(Metric::Cpu { target_utilization });
        self.pods = pods;
        self
    }

    fn queue(mut self, items: u64, target_per_replica: i64) -> Self {
        let reading = Reading::Known { items, age: Duration::from_millis(300) };
        self.metrics.push(Metric::Queue { name: "redisList jobs".into(), target_per_replica, reading });
        self
    }

    fn unknown_queue(mut self) -> Self {
        let reading = Reading::Unknown { error: "Redis at redis:6379 did not answer in time".into() };
        self.metrics.push(Metric::Queue { name: "redisList jobs".into(), target_per_replica: 10, reading });
        self
    }
}

/// A clock, a WorkerCluster and what was decided for it: each step is a second, and what is decided is applied.
struct Story {
    elapsed: Duration,
    current: i32,
    history: History,
}

impl Story {
    fn starting_with(current: i32) -> Self {
        Self { elapsed: seconds(10_000), current, history: History::starting_at(current, seconds(10_000)) }
    }

    /// Decides once, a second after the last time.
    fn second(&mut self, input: Input) -> Decision {
        self.after(seconds(1), input)
    }

    /// Decides once, after a pause.
    fn after(&mut self, pause: Duration, input: Input) -> Decision {
        self.elapsed += pause;
        let decision = decide(&input.current(self.current), &self.history, at(self.elapsed));
        self.current = decision.desired;
        self.history = decision.history.clone();
        decision
    }

    /// Decides every second for so long; the last decision.
    fn seconds(&mut self, count: u64, input: &Input) -> Decision {
        let mut last = self.second(input.clone());
        for _ in 1..count {
            last = self.second(input.clone());
        }
        last
    }
}
