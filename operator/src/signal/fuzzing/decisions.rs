//! Primaries that say anything for a while, beside others that are honest and just as busy as they should be: no number that is made up, that
//! is missing or that cannot be true takes a replica away.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    decide::autoscale::{
        CpuRequest, Demand, History, Input, Metric, Now, Phase, Pod, Policy, Ready, ReadyStatus, Sample, decide,
    },
    fuzzing::Knobs,
    signal::{error::ScrapeError, reading::PodReading, stats::decode, witness::Witness},
};

/// Target in percent of a request of a whole processor; the honest pods use exactly that.
const TARGET: i32 = 60;
const MOST_MILLICORES: i64 = 8_192_000;
/// Samples that are older count as missing.
const MAX_AGE: Duration = Duration::from_secs(5);

/// One primary that is made up by the fuzzer.
#[derive(Default)]
struct Liar {
    witness: Witness,
    reading: PodReading,
    /// Every document that passed: its clock and its counter, in microseconds.
    said: Vec<(u64, u64)>,
}

/// A story: how many lie and how many do not, then what is said when.
pub fn decisions(data: &[u8]) {
    let mut knobs = Knobs::new(data);
    let mut liars: Vec<Liar> = (0..=knobs.byte() % 3).map(|_| Liar::default()).collect();
    let honest = usize::from(knobs.byte() % 3);
    let current = i32::try_from(liars.len() + honest).unwrap_or(1);
    let begun = Instant::now();
    let mut elapsed = Duration::from_secs(10_000);
    let mut history = History::starting_at(current, elapsed);
    for _ in 0..64 {
        if knobs.is_empty() {
            break;
        }
        let step = Duration::from_millis(u64::from(knobs.byte()) * 20);
        elapsed += step;
        let now = begun + elapsed;
        for liar in &mut liars {
            liar.speak(&mut knobs, now);
            liar.check(now);
        }
        // The window shut, so that whatever goes down goes down at once.
        let policy = Policy { sample_max_age: MAX_AGE, ..Policy::fast(Duration::ZERO) };
        let pods = liars.iter().map(|liar| pod(liar.reading.sample(now))).chain((0..honest).map(|_| pod(used())));
        let metrics = vec![Metric::Cpu { target_utilization: TARGET }];
        let input = Input { current, min: 1, max: 10, metrics, pods: pods.collect(), policy };
        let decision = decide(&input, &history, Now { elapsed, wall: wall() });
        assert!((1..=10).contains(&decision.desired), "{decision:?}");
        // Who says in earnest that it does nothing is believed; who says nothing that can be used is not idle.
        let silent = liars.iter().all(|liar| known(&liar.reading, now).is_none());
        assert!(!silent || decision.desired == current, "{decision:?}");
        let least: i64 = liars.iter().map(|liar| known(&liar.reading, now).unwrap_or(i64::from(TARGET) * 10)).sum();
        if least >= i64::from(TARGET) * 10 * i64::try_from(liars.len()).unwrap_or(0) {
            assert!(decision.desired >= current, "{decision:?}");
        }
        assert!(decision.message.len() < 4000 && !decision.message.chars().any(char::is_control));
        history = decision.history;
    }
}

/// What of a reading is still used.
fn known(reading: &PodReading, now: Instant) -> Option<i64> {
    match reading.sample(now) {
        Sample::Known { millicores, age, .. } if age <= MAX_AGE => Some(millicores),
        _ => None,
    }
}

// === impl Liar ===

impl Liar {
    fn speak(&mut self, knobs: &mut Knobs<'_>, now: Instant) {
        let last = self.said.last().copied().unwrap_or((60_000, 1_000_000));
        let small = u64::from(knobs.byte());
        let (uptime, used) = match knobs.byte() % 12 {
            0 => return self.take(Err(ScrapeError::Timeout), now),
            1 => {
                let body = knobs.bytes(usize::try_from(small).unwrap_or(0));
                return self.take(decode(body), now);
            }
            2 => last,
            3 => (last.0, last.1.wrapping_add(small)),
            4 => (last.0.saturating_sub(small * 100), last.1),
            5 => (last.0 + small * 20, last.1.saturating_sub(small * 1000)),
            6 => (knobs.number(), knobs.number()),
            7 => (last.0 + small * 20, u64::MAX - small),
            8 => (last.0 + 1000, 0),
            // As one that is honest would.
            _ => (last.0 + small * 20, last.1.saturating_add(small * 20 * 1000 * u64::from(knobs.byte()) / 100)),
        };
        let body = format!(
            r#"{{"version":1,"primaryVersion":"x","uptimeMilliseconds":{uptime},"state":"Serving","workers":{{"desired":1,"ready":1,"running":1,"restarts":0}},"deaths":{{"exited":0,"crashed":0,"neverReady":0,"outOfMemory":0}},"cpu":{{"usageMicroseconds":{used}}}}}"#
        );
        self.take(decode(body.as_bytes()), now);
    }

    fn take(&mut self, decoded: Result<primary_protocol::Stats, ScrapeError>, now: Instant) {
        if let Ok(stats) = &decoded
            && let Some(cpu) = stats.cpu
        {
            self.said.push((stats.uptime_milliseconds, cpu.usage_microseconds));
        }
        let failed = decoded.is_err();
        let heard = decoded.and_then(|stats| self.witness.hear(stats, now));
        let refused = heard.is_err();
        self.reading.take(heard, self.witness.rate(), now);
        assert!(!failed || self.reading.failure.is_some());
        assert_eq!(refused, self.reading.failure.is_some());
    }

    /// A rate is that of two documents that were really given, one after the other, and is one that a machine can have.
    fn check(&self, now: Instant) {
        let Sample::Known { millicores, window, .. } = self.reading.sample(now) else { return };
        assert!((0..=MOST_MILLICORES).contains(&millicores) && window >= Duration::from_secs(1), "{millicores}");
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let real = |(first, last): (&(u64, u64), &(u64, u64))| {
            let used = last.1.checked_sub(first.1).filter(|_| last.0.checked_sub(first.0) == Some(window))?;
            i64::try_from(u128::from(used).div_ceil(u128::from(window))).ok()
        };
        let mut pairs = self
            .said
            .iter()
            .enumerate()
            .flat_map(|(at, first)| self.said.iter().skip(at + 1).map(move |last| (first, last)));
        assert!(pairs.any(|pair| real(pair) == Some(millicores)), "{millicores} in {window} ms of {:?}", self.said);
    }
}

fn wall() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or_default()
}

fn used() -> Sample {
    let window = Duration::from_secs(2);
    Sample::Known { millicores: i64::from(TARGET) * 10, age: Duration::ZERO, window }
}

/// One that has been ready for long.
fn pod(sample: Sample) -> Pod {
    let long_ago = Timestamp::from_second(1_700_000_000).unwrap_or_default();
    Pod {
        name: "web-1".into(),
        phase: Phase::Running,
        deleting: false,
        ready: Some(Ready { status: ReadyStatus::True, last_transition: long_ago }),
        started: Some(long_ago),
        request: CpuRequest::Millicores(1000),
        sample,
        requests: Demand::Missing,
        trouble: None,
    }
}
