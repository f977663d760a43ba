//! Requests that replicas have: two windows, whatever a rollout adds, and what is not told.

use super::super::decision::Reason;
use super::super::{Demand, Metric, Pod, Ready, ReadyStatus};
use super::{Input, Story, at, seconds};

/// Pods with ten places each, that have so many requests together.
fn busy(count: usize, requests: f64) -> Vec<Pod> {
    let count_f = f64::from(u32::try_from(count).unwrap());
    vec![Pod::test().asked(requests / count_f, 10); count]
}

impl Pod {
    fn asked(mut self, requests: f64, places: u32) -> Self {
        self.requests = Demand::Known { requests, places, serves: true, age: seconds(1) };
        self
    }
}

impl Input {
    fn requests(mut self, target_in_flight: i32, pods: Vec<Pod>) -> Self {
        self.metrics.push(Metric::Requests { target_in_flight });
        self.pods = pods;
        self
    }
}

#[test]
fn replicas_have_as_many_places_as_the_requests_need_at_the_target() {
    for (requests, target, replicas) in
        [(0.0, 100, 1), (10.0, 100, 1), (11.0, 100, 1), (11.1, 100, 2), (14.0, 70, 2), (14.1, 70, 3), (7.0, 70, 1)]
    {
        let mut story = Story::starting_with(1);
        let input = Input::test().requests(target, busy(1, requests));
        assert_eq!(story.seconds(61, &input).desired, replicas, "{requests} at {target} %");
    }
}

#[test]
fn a_sudden_rise_counts_at_once_and_a_slow_one_by_its_minute() {
    let mut story = Story::starting_with(2);
    story.seconds(60, &Input::test().requests(100, busy(2, 15.0)));
    let slow = story.second(Input::test().requests(100, busy(2, 25.0)));
    assert_eq!((slow.desired, slow.reason), (2, Reason::RequestsInFlight), "a second of it is nothing in a minute");
    let sudden = story.seconds(8, &Input::test().requests(100, busy(2, 200.0)));
    assert_eq!(sudden.reason, Reason::AtMaxReplicas, "{}", sudden.message);
    assert_eq!(sudden.desired, 10);
}

#[test]
fn in_a_surge_nothing_goes_down() {
    let mut story = Story::starting_with(6);
    let decision = story.seconds(8, &Input::test().requests(100, busy(2, 45.0)));
    assert_eq!((decision.desired, decision.reason), (6, Reason::RequestsSurge), "two are ready, and five would do");
}

#[test]
fn a_little_more_than_a_single_replica_has_room_for_is_no_surge() {
    let mut story = Story::starting_with(1);
    story.seconds(60, &Input::test().requests(70, busy(1, 6.0)));
    let decision = story.seconds(10, &Input::test().requests(70, busy(1, 13.0)));
    assert_eq!(
        decision.reason,
        Reason::RequestsInFlight,
        "nearly twice its places at the target: {}",
        decision.message
    );
    let decision = story.seconds(7, &Input::test().requests(70, busy(1, 16.0)));
    assert_eq!((decision.desired, decision.reason), (3, Reason::RequestsSurge));
}

#[test]
fn the_number_stays_where_demand_is_about_what_it_is_for() {
    let mut story = Story::starting_with(2);
    for second in 0..900 {
        let requests = if second % 20 < 10 { 19.0 } else { 21.0 };
        let decision = story.second(Input::test().requests(100, busy(2, requests)));
        assert_eq!(decision.desired, 2, "{second}: {}", decision.message);
    }
}

#[test]
fn those_of_whom_nothing_is_known_leave_no_hole_in_the_mean() {
    let mut story = Story::starting_with(10);
    let mut few = busy(10, 90.0);
    for pod in &mut few[1..] {
        pod.requests = Demand::Missing;
    }
    story.seconds(600, &Input::test().requests(100, few));
    let decision = story.second(Input::test().requests(100, busy(10, 90.0)));
    assert!(decision.message.contains("90.0 requests") && decision.desired == 10, "{}", decision.message);
}

#[test]
fn a_replica_whose_workers_all_start_does_not_count_and_is_told() {
    let mut story = Story::starting_with(2);
    let mut pods = busy(2, 8.0);
    for pod in &mut pods {
        pod.requests = Demand::Known { requests: 4.0, places: 10, serves: false, age: seconds(1) };
    }
    let decision = story.second(Input::test().requests(100, pods));
    assert!(decision.scaling_active.message.contains("no worker is ready"), "{:?}", decision.scaling_active);
}

#[test]
fn the_pods_of_a_rollout_change_nothing() {
    let mut story = Story::starting_with(2);
    story.seconds(60, &Input::test().requests(80, busy(2, 15.0)));
    let mut both = busy(4, 15.0);
    both[0].deleting = true;
    assert_eq!(story.seconds(60, &Input::test().requests(80, both)).desired, 2);
}

#[test]
fn what_is_not_told_may_ask_for_more_and_never_for_fewer() {
    let mut story = Story::starting_with(4);
    let mut some = busy(4, 8.0);
    some[0].requests = Demand::Missing;
    let decision = story.seconds(400, &Input::test().requests(100, some.clone()));
    assert_eq!((decision.desired, decision.reason), (4, Reason::MetricsUnknown));
    let mut more = busy(4, 90.0);
    more[0].requests = Demand::Missing;
    assert!(story.seconds(60, &Input::test().requests(100, more)).desired > 4);
    let nobody = vec![Pod::test(); 4];
    let decision = story.second(Input::test().requests(100, nobody));
    assert!(
        decision.scaling_active.message.contains("no replica that is ready tells its requests"),
        "{:?}",
        decision.scaling_active
    );
}

#[test]
fn what_comes_after_a_moment_without_any_worker_is_not_taken_for_all_time() {
    let mut story = Story::starting_with(1);
    story.seconds(60, &Input::test().requests(70, busy(1, 5.0)));
    let mut none = busy(1, 0.0);
    none[0].requests = Demand::Known { requests: 100.0, places: 10, serves: false, age: seconds(1) };
    story.seconds(10, &Input::test().requests(70, none.clone()));
    let after = story.second(Input::test().requests(70, busy(1, 200.0)));
    assert_eq!(after.desired, 1, "a second of what waited meanwhile: {}", after.message);
    // After a long time nothing is known of before, and a moment is no mean.
    story.seconds(60, &Input::test().requests(70, none));
    let after = story.second(Input::test().requests(70, busy(1, 200.0)));
    assert_eq!(after.desired, 1, "{}", after.message);
    assert_eq!(story.seconds(10, &Input::test().requests(70, busy(1, 200.0))).desired, 10, "but what lasts is");
}

#[test]
fn a_pause_of_the_operator_is_no_load() {
    let mut story = Story::starting_with(1);
    story.seconds(60, &Input::test().requests(100, busy(1, 50.0)));
    let decision = story.after(seconds(600), Input::test().requests(100, busy(5, 10.0)));
    assert!(decision.message.contains("10.0 requests"), "what was before it is not in the mean: {}", decision.message);
}

#[test]
fn a_sudden_rise_counts_also_where_all_are_asked_but_each_ten_seconds() {
    let mut story = Story::starting_with(2);
    let input = |requests| {
        let mut input = Input::test().requests(100, busy(2, requests));
        input.policy.sample_max_age = seconds(50);
        input
    };
    for _ in 0..6 {
        story.after(seconds(10), input(15.0));
    }
    let sudden = story.after(seconds(10), input(200.0));
    assert_eq!(sudden.desired, 10, "{}", sudden.message);
}

#[test]
fn one_that_claims_to_have_room_for_all_takes_nobody_away() {
    let mut story = Story::starting_with(10);
    let mut pods = busy(10, 100.0);
    pods[3].requests = Demand::Known { requests: 0.0, places: 65_536, serves: true, age: seconds(1) };
    let decision = story.seconds(600, &Input::test().requests(100, pods));
    assert_eq!(decision.desired, 10, "{}", decision.message);
}

#[test]
fn after_a_surge_the_calm_before_it_takes_nothing_away() {
    let mut story = Story::starting_with(2);
    let with_window = |pods| {
        let mut input = Input::test().requests(100, pods);
        input.policy.down_window = seconds(20);
        input
    };
    story.seconds(60, &with_window(busy(2, 10.0)));
    assert_eq!(story.seconds(8, &with_window(busy(2, 100.0))).desired, 10);
    for second in 0..120 {
        let decision = story.second(with_window(busy(10, 100.0)));
        assert_eq!(decision.desired, 10, "{second}: {}", decision.message);
    }
    story.seconds(90, &with_window(busy(10, 20.0)));
    assert!(story.second(with_window(busy(10, 20.0))).desired < 10);
}

#[test]
fn those_that_fail_their_probes_under_too_much_load_still_ask_for_more_and_not_for_fewer() {
    let unready = |requests| {
        let mut pods = busy(2, requests);
        for pod in &mut pods {
            pod.ready = pod.ready.map(|ready| Ready { status: ReadyStatus::False, ..ready });
        }
        pods
    };
    let mut story = Story::starting_with(2);
    let decision = story.seconds(70, &Input::test().requests(100, unready(35.0)));
    assert_eq!(decision.desired, 4, "{}", decision.message);
    let mut story = Story::starting_with(4);
    let decision = story.seconds(600, &Input::test().requests(100, unready(1.0)));
    assert_eq!((decision.desired, decision.reason), (4, Reason::MetricsUnknown));
}

#[test]
fn a_replica_that_has_just_become_ready_is_neither_silent_nor_idle() {
    let input = |story: &Story, fresh: usize, requests: f64| {
        let mut pods = busy(1, requests);
        let new = Ready { status: ReadyStatus::True, last_transition: at(story.elapsed).wall };
        pods.extend(vec![Pod { ready: Some(new), ..Pod::test() }; fresh]);
        Input { max: 1000, ..Input::test().requests(100, pods) }
    };
    let mut story = Story::starting_with(1);
    for second in 0..10 {
        let decision = story.second(input(&story, second.min(4), 200.0));
        assert!(decision.desired <= 20, "200 requests are 20 replicas': {}", decision.message);
    }
    assert_eq!(story.current, 20);
    let mut story = Story::starting_with(5);
    story.seconds(200, &input(&story, 0, 5.0));
    let decision = story.second(input(&story, 1, 5.0));
    assert_ne!(decision.reason, Reason::MetricsUnknown, "its window would begin anew with each pod that comes");
}

#[test]
fn a_mean_that_has_hardly_begun_takes_nothing_away() {
    let mut input = Input::test().requests(100, busy(8, 0.0));
    input.policy.down_window = seconds(0);
    let mut story = Story::starting_with(8);
    assert_eq!(story.seconds(20, &input).desired, 8);
    assert_eq!(story.seconds(20, &input).desired, input.min);
}

#[test]
fn the_short_window_too_leaves_the_number_where_it_is_about_right() {
    let mut story = Story::starting_with(2);
    let decision = story.seconds(10, &Input::test().requests(100, busy(1, 21.0)));
    assert_eq!((decision.desired, decision.reason), (2, Reason::RequestsSurge), "one of two is ready for a moment");
}

#[test]
fn a_mean_is_a_little_off_and_that_is_no_replica() {
    for (requests, replicas) in [(20.005, 2), (20.05, 3), (0.001, 1)] {
        let mut story = Story::starting_with(5);
        let mut input = Input::test().requests(100, busy(5, requests));
        input.policy.down_window = seconds(0);
        assert_eq!(story.seconds(61, &input).desired, replicas, "{requests}");
    }
}
