//! What holds for every input.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::super::decision::Reason;
use super::super::{
    CpuRequest, Demand, History, Input, Metric, Phase, Pod, Policy, Reading, Ready, ReadyStatus, Sample, decide,
};
use super::{EPOCH, at, seconds};
use jiff::Timestamp;

const NOW: u64 = 20_000;

fn timestamps() -> impl Strategy<Value = Timestamp> {
    let plausible = (0..30_000_i64).prop_map(|offset| EPOCH + offset - 5000);
    let extreme = prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX)];
    prop_oneof![9 => plausible.prop_map(|second| Timestamp::from_second(second).unwrap()), 1 => extreme]
}

fn samples() -> impl Strategy<Value = Sample> {
    let usage = prop_oneof![8 => 0..5000_i64, 1 => any::<i64>()];
    let age = prop_oneof![8 => (0..6000_u64).prop_map(Duration::from_millis), 1 => Just(Duration::MAX)];
    let known = (usage, age, 1000..3000_u64).prop_map(|(millicores, age, window)| Sample::Known {
        millicores,
        age,
        window: Duration::from_millis(window),
    });
    prop_oneof![5 => known, 1 => Just(Sample::Missing)]
}

prop_compose! {
    fn any_pod()(
        phase in prop_oneof![
            6 => Just(Phase::Running), 1 => Just(Phase::Pending), 1 => Just(Phase::Failed), 1 => Just(Phase::Succeeded),
            1 => Just(Phase::Unknown)
        ],
        deleting in prop::bool::weighted(0.1),
        ready in option::weighted(0.9, (
            prop_oneof![6 => Just(ReadyStatus::True), 2 => Just(ReadyStatus::False), 1 => Just(ReadyStatus::Unknown)],
            timestamps()
        )),
        started in option::weighted(0.9, timestamps()),
        request in prop_oneof![12 => 1..4000_i64, 1 => any::<i64>()],
        sample in samples(),
    ) -> Pod {
        let ready = ready.map(|(status, last_transition)| Ready { status, last_transition });
        Pod { name: "p".into(), phase, deleting, ready, started, request: CpuRequest::Millicores(request), sample, requests: Demand::Missing, trouble: None }
    }
}

fn metrics() -> impl Strategy<Value = Metric> {
    let items = prop_oneof![8 => 0..5000_u64, 1 => any::<u64>()];
    let known = (items, 0..6000_u64).prop_map(|(items, age)| Reading::Known { items, age: Duration::from_millis(age) });
    let reading = prop_oneof![4 => known, 1 => Just(Reading::Unknown { error: "down".into() })];
    let cpu = prop_oneof![9 => 1..300_i32, 1 => any::<i32>()]
        .prop_map(|target_utilization| Metric::Cpu { target_utilization });
    let queue = (reading, prop_oneof![9 => 1..100_i64, 1 => any::<i64>()])
        .prop_map(|(reading, target_per_replica)| Metric::Queue { name: "q".into(), target_per_replica, reading });
    prop_oneof![cpu, queue]
}

prop_compose! {
    fn inputs()(
        current in prop_oneof![9 => 0..50_i32, 1 => 0..=i32::MAX],
        min in 0..20_i32,
        more in 0..100_i32,
        metrics in vec(metrics(), 1..5),
        pods in vec(any_pod(), 0..12),
        window in 0..400_u64,
        down_percent in 0..=100_u32,
    ) -> Input {
        let policy = Policy { down_percent, ..Policy::fast(seconds(window)) };
        Input { current, min, max: (min + more).max(1), metrics, pods, policy }
    }
}

/// A history of recommendations, seconds apart.
fn histories() -> impl Strategy<Value = History> {
    (0..50_i32, vec((0..60_u64, 0..50_i32, 0..50_i32), 0..20)).prop_map(|(first, steps)| {
        let policy = Policy::fast(seconds(300));
        let mut elapsed = seconds(NOW - 1300);
        let mut history = History::starting_at(first, elapsed);
        for (pause, current, recommended) in steps {
            elapsed += seconds(pause);
            history.note_current(current, elapsed, &policy);
            history.note_recommendation(recommended, elapsed, &policy);
        }
        history
    })
}

/// The same with so many times the load everywhere.
fn with_load(input: &Input, factor: i64) -> Input {
    let mut input = input.clone();
    for pod in &mut input.pods {
        if let Sample::Known { millicores, .. } = &mut pod.sample {
            *millicores = (*millicores).clamp(0, 5000) * factor;
        }
    }
    for metric in &mut input.metrics {
        if let Metric::Queue { reading: Reading::Known { items, .. }, .. } = metric {
            *items = (*items).clamp(0, 5000) * factor.unsigned_abs();
        }
    }
    input
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_number_is_always_within_the_bounds(input in inputs(), history in histories()) {
        let decision = decide(&input, &history, at(seconds(NOW)));
        prop_assert!((input.min..=input.max).contains(&decision.desired), "{decision:?}");
    }

    #[test]
    fn an_unknown_metric_never_scales_down(input in inputs(), history in histories()) {
        let input = input.unknown_queue();
        let decision = decide(&input, &history, at(seconds(NOW)));
        prop_assert!(decision.desired >= input.current.min(input.max), "{decision:?}");
        prop_assert!(!decision.scaling_active.status);
    }

    #[test]
    fn less_known_of_the_pods_never_removes_more_at_equal_load(count in 1..12_usize, percent in 0..100_i64, lost in 0..12_usize) {
        let whole = Input { pods: super::pods(count, percent), ..Input::test().cpu(100, vec![]) };
        let mut part = whole.clone();
        for pod in part.pods.iter_mut().take(lost) {
            pod.sample = Sample::Missing;
        }
        let count = i32::try_from(count).unwrap();
        let decided = |input: Input| {
            let input = Input { policy: Policy::fast(Duration::ZERO), ..input.current(count).bounds(0, 1000) };
            decide(&input, &History::starting_at(count, Duration::ZERO), at(seconds(NOW))).desired
        };
        prop_assert!(decided(part) >= decided(whole));
    }

    #[test]
    fn more_load_never_asks_for_fewer(input in inputs(), history in histories(), low in 0..20_i64, more in 0..20_i64) {
        let decided = |factor| decide(&with_load(&input, factor), &history, at(seconds(NOW))).desired;
        prop_assert!(decided(low) <= decided(low + more));
    }

    #[test]
    fn the_same_arguments_give_the_same_decision(input in inputs(), history in histories()) {
        let now = at(seconds(NOW));
        prop_assert_eq!(decide(&input, &history, now), decide(&input, &history, now));
    }

    #[test]
    fn a_decision_that_was_applied_is_not_changed_by_deciding_again(input in inputs(), history in histories()) {
        // With a rate the next step comes with the next period, and processor time is about pods that have changed since.
        let queues = input.metrics.iter().filter(|metric| matches!(metric, Metric::Queue { .. })).cloned().collect();
        let policy = Policy { down_percent: 100, ..input.policy };
        let input = Input { metrics: queues, policy, ..input };
        let first = decide(&input, &history, at(seconds(NOW)));
        let second = decide(&input.clone().current(first.desired), &first.history, at(seconds(NOW)));
        prop_assert_eq!(first.desired, second.desired);
    }

    #[test]
    fn nothing_scales_down_within_the_window_of_a_recommendation(input in inputs(), asked in 0..50_i32, ago in 0..300_u64) {
        let policy = Policy::fast(seconds(300));
        let input = Input { policy, ..input.bounds(0, 1000) };
        let mut history = History::starting_at(0, seconds(NOW - 1200));
        history.note_current(0, seconds(NOW - ago), &policy);
        history.note_recommendation(asked, seconds(NOW - ago), &policy);
        let decision = decide(&input, &history, at(seconds(NOW)));
        prop_assert!(decision.desired >= asked.min(input.current).min(1000), "{decision:?}");
    }

    #[test]
    fn a_number_that_is_held_says_by_what(input in inputs(), history in histories()) {
        let decision = decide(&input, &history, at(seconds(NOW)));
        let limited = !matches!(
            decision.reason,
            Reason::CpuUtilization | Reason::QueueLength | Reason::MetricsUnknown | Reason::MetricsPartlyUnknown
        );
        prop_assert_eq!(limited, decision.scaling_limited.status);
        prop_assert_eq!(decision.held_until.is_some(), decision.reason == Reason::ScaleDownStabilized);
    }
}
