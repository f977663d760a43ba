//! Scenarios on a moved clock: what comes out of all stages together.

use std::time::Duration;

use super::super::decision::Reason;
use super::super::{ConditionData, Metric, Pod, Policy, Reading};
use super::{Input, Story, at, pods, seconds};

#[test]
fn load_scales_up_in_one_step() {
    let mut story = Story::starting_with(1);
    let decision = story.second(Input::test().cpu(70, pods(1, 490)));
    assert_eq!((decision.desired, decision.reason), (7, Reason::CpuUtilization)); // no doubling, no 15 s between
}

#[test]
fn what_a_burst_asks_for_is_bounded_by_max_replicas() {
    let mut story = Story::starting_with(1);
    let decision = story.second(Input::test().queue(1000, 10));
    assert_eq!((decision.desired, decision.reason), (10, Reason::AtMaxReplicas));
    assert!(decision.message.contains("asks for 100") && decision.message.contains("maxReplicas is 10"));
    assert_eq!((decision.scaling_limited.status, decision.scaling_limited.reason), (true, "AtMaxReplicas"));
}

#[test]
fn zero_replicas_wake_straight_to_what_the_queue_asks_for() {
    let mut story = Story::starting_with(0);
    let input = Input::test().bounds(0, 100);
    assert_eq!(story.second(input.clone().queue(0, 10)).desired, 0);
    let decision = story.second(input.queue(1000, 10));
    assert_eq!((decision.desired, decision.reason), (100, Reason::QueueLength));
}

#[test]
fn an_empty_queue_goes_to_the_minimum_after_the_window_and_not_before() {
    let mut story = Story::starting_with(10);
    let empty = Input::test().bounds(0, 10).queue(0, 10);
    let held = story.seconds(299, &empty);
    assert_eq!((held.desired, held.reason), (10, Reason::ScaleDownStabilized));
    let decision = story.second(empty); // exactly as old as the window counts no more
    assert_eq!((decision.desired, decision.reason), (0, Reason::QueueLength));
}

#[test]
fn the_window_says_until_when_it_holds() {
    let mut story = Story::starting_with(10);
    let held = story.seconds(100, &Input::test().queue(0, 10));
    let until = at(seconds(10_300)).wall; // the story starts at 10 000 s
    assert_eq!(held.held_until, Some(until));
    assert!(held.message.contains(&format!("until {until}")), "{}", held.message);
    let later = story.seconds(100, &Input::test().queue(0, 10));
    assert_eq!(later.held_until, Some(until)); // a time, not an age: it does not change while nothing happens
}

#[test]
fn the_window_goes_down_to_what_was_asked_for_most_in_it() {
    let mut story = Story::starting_with(10);
    story.seconds(200, &Input::test().queue(60, 10));
    let decision = story.seconds(100, &Input::test().queue(20, 10));
    assert_eq!((decision.desired, decision.reason), (6, Reason::ScaleDownStabilized));
    let decision = story.seconds(200, &Input::test().queue(20, 10));
    assert_eq!((decision.desired, decision.reason), (2, Reason::QueueLength));
}

#[test]
fn a_short_dip_removes_nothing() {
    let mut story = Story::starting_with(5);
    for _ in 0..10 {
        assert_eq!(story.seconds(250, &Input::test().queue(0, 10)).desired, 5);
        assert_eq!(story.seconds(10, &Input::test().queue(50, 10)).desired, 5);
    }
}

#[test]
fn a_rate_spreads_what_is_removed() {
    let mut input = Input::test().queue(0, 10).bounds(0, 10);
    input.policy = Policy { down_percent: 50, ..Policy::fast(Duration::ZERO) };
    let mut story = Story::starting_with(10);
    let steps: Vec<_> = (0..50).map(|_| story.second(input.clone())).map(|d| (d.desired, d.reason)).collect();
    assert_eq!(steps[0], (5, Reason::ScaleDownRateLimited)); // half of 10 at once
    assert_eq!(steps[14], (5, Reason::ScaleDownRateLimited)); // within 15 s of the first cut 10 is the base
    assert_eq!(steps[16], (2, Reason::ScaleDownRateLimited)); // the cut was seen a second after it was made
    assert_eq!(steps[49], (0, Reason::QueueLength)); // and half of 2, and half of 1
}

#[test]
fn the_highest_metric_wins() {
    let mut story = Story::starting_with(2);
    let decision = story.second(Input::test().cpu(50, pods(2, 100)).queue(70, 10));
    assert_eq!((decision.desired, decision.reason), (7, Reason::QueueLength));
    let recommended: Vec<_> = decision.metrics.iter().map(|metric| metric.recommended_replicas).collect();
    assert_eq!(recommended, [Some(4), Some(7)]);
}

#[test]
fn an_unknown_metric_never_scales_down_and_says_why() {
    let mut story = Story::starting_with(8);
    let decision = story.seconds(3600, &Input::test().unknown_queue());
    assert_eq!((decision.desired, decision.reason), (8, Reason::MetricsUnknown));
    let ConditionData { status, reason, message } = decision.scaling_active;
    assert_eq!((status, reason), (false, "QueueUnknown"));
    assert!(message.contains("redisList jobs: Redis at redis:6379 did not answer in time"), "{message}");
    assert_eq!(decision.metrics[0].recommended_replicas, None);
}

#[test]
fn with_one_metric_unknown_the_other_may_ask_for_more_but_not_for_fewer() {
    let mut story = Story::starting_with(5);
    let idle = Input::test().cpu(50, pods(5, 5)).unknown_queue();
    let held = story.seconds(400, &idle);
    assert_eq!((held.desired, held.reason), (5, Reason::MetricsPartlyUnknown));
    let busy = Input::test().cpu(50, pods(5, 70)).unknown_queue();
    let more = story.second(busy);
    assert_eq!((more.desired, more.reason), (7, Reason::CpuUtilization));
}

#[test]
fn after_an_outage_the_window_begins_anew() {
    let mut story = Story::starting_with(8);
    story.seconds(600, &Input::test().unknown_queue());
    let empty = Input::test().queue(0, 10); // Redis is back, and what was in it is not
    assert_eq!(story.seconds(299, &empty).desired, 8);
    assert_eq!(story.second(empty).desired, 1);
}

#[test]
fn while_most_nodes_are_lost_the_number_goes_up_and_not_down_and_the_window_begins_after_it() {
    let lost = |items: u64| {
        let mut input = Input::test().queue(items, 10);
        input.policy.nodes_lost = true;
        input
    };
    let mut story = Story::starting_with(8);
    let held = story.seconds(600, &lost(0));
    assert_eq!((held.desired, held.reason), (8, Reason::NodesLost));
    assert_eq!((held.scaling_limited.status, held.scaling_limited.reason), (true, "NodesLost"));
    let more = story.second(lost(90));
    assert_eq!((more.desired, more.reason), (9, Reason::QueueLength));
    let empty = Input::test().queue(0, 10);
    assert_eq!(story.seconds(299, &empty).desired, 9);
    assert_eq!(story.second(empty).desired, 1);
}

#[test]
fn a_reading_that_is_too_old_is_unknown() {
    let reading = Reading::Known { items: 0, age: Duration::from_millis(5001) };
    let metric = Metric::Queue { name: "redisList jobs".into(), target_per_replica: 10, reading };
    let input = Input { metrics: vec![metric], ..Input::test() };
    let decision = Story::starting_with(8).seconds(400, &input);
    assert_eq!((decision.desired, decision.reason), (8, Reason::MetricsUnknown));
}

#[test]
fn after_a_restart_of_the_operator_nothing_scales_down_until_the_window_has_passed() {
    let mut story = Story::starting_with(6); // read back from status
    let idle = Input::test().cpu(50, pods(6, 0));
    assert_eq!(story.seconds(299, &idle).desired, 6);
    assert_eq!(story.second(idle).desired, 1);
}

#[test]
fn after_a_pause_of_the_operator_nothing_scales_down_until_the_window_has_passed() {
    let mut story = Story::starting_with(6);
    let idle = Input::test().cpu(50, pods(6, 0));
    story.seconds(200, &idle);
    assert_eq!(story.after(seconds(600), idle.clone()).desired, 6); // suspended, or another was the leader
    assert_eq!(story.seconds(298, &idle).desired, 6);
    assert_eq!(story.seconds(2, &idle).desired, 1);
}

#[test]
fn a_number_that_somebody_else_set_is_kept_for_the_window() {
    let mut story = Story::starting_with(2);
    let idle = Input::test().queue(10, 10).bounds(0, 50);
    story.seconds(400, &idle);
    story.current = 20; // the autoscaler was taken out and put back, or status was restored from a backup
    let held = story.seconds(299, &idle);
    assert_eq!((held.desired, held.reason), (20, Reason::ScaleDownStabilized));
    assert_eq!(story.seconds(2, &idle).desired, 1);
}

#[test]
fn a_decision_that_was_not_carried_out_is_made_again() {
    let mut story = Story::starting_with(2);
    let busy = Input::test().queue(70, 10);
    assert_eq!(story.second(busy.clone()).desired, 7);
    story.current = 2; // the API server did not take it
    assert_eq!(story.second(busy).desired, 7);
}

#[test]
fn slow_ticks_are_no_pause() {
    let mut story = Story::starting_with(6);
    let idle = Input::test().cpu(50, pods(6, 0));
    let decisions: Vec<_> = (0..12).map(|_| story.after(seconds(30), idle.clone()).desired).collect();
    assert_eq!(decisions[8..10], [6, 1]); // 270 s and 300 s
}

#[test]
fn bounds_stand_above_windows_and_unknown_metrics() {
    let above = Story::starting_with(20).second(Input::test().unknown_queue());
    assert_eq!((above.desired, above.reason), (10, Reason::AtMaxReplicas));
    let below = Story::starting_with(0).second(Input::test().bounds(3, 10).unknown_queue());
    assert_eq!((below.desired, below.reason), (3, Reason::AtMinReplicas)); // HPA takes 0 for a pause; here the autoscaler owns it
}

#[test]
fn a_rollouts_surge_does_not_count() {
    let mut story = Story::starting_with(4);
    // The load of four replicas at 105 % of the target, first on four pods, then on five, then on four with one that ends.
    let with = |pods: Vec<Pod>| Input::test().cpu(70, pods);
    let ending = |mut pods: Vec<Pod>| {
        pods.push(Pod::test().using(100).deleting());
        pods
    };
    let booting = |mut pods: Vec<Pod>| {
        pods.push(Pod::test().using(900).pending());
        pods
    };
    let phases = [pods(4, 73), booting(pods(4, 73)), pods(5, 58), ending(pods(4, 73)), pods(4, 73)];
    for (number, phase) in phases.into_iter().enumerate() {
        let decision = story.seconds(30, &with(phase));
        assert_eq!(decision.desired, 4, "phase {}: {}", number + 1, decision.message);
    }
}

#[test]
fn pods_that_are_yet_to_come_do_not_ask_for_more_again() {
    let mut story = Story::starting_with(1);
    let mut overload = pods(1, 300);
    assert_eq!(story.second(Input::test().cpu(50, overload.clone())).desired, 6);
    assert_eq!(story.second(Input::test().cpu(50, overload.clone())).desired, 6); // not created yet
    overload.extend(vec![Pod::test().pending(); 5]);
    assert_eq!(story.seconds(60, &Input::test().cpu(50, overload)).desired, 6); // created, not ready yet
}

#[test]
fn processor_time_is_not_asked_of_zero_replicas() {
    let mut story = Story::starting_with(0);
    let input = Input::test().bounds(0, 10).cpu(50, vec![]).queue(0, 10);
    let decision = story.second(input);
    assert_eq!(decision.desired, 0);
    assert!(decision.scaling_active.status, "{:?}", decision.scaling_active);
}

#[test]
fn a_missing_request_names_its_field_in_the_condition() {
    let decision = Story::starting_with(2).second(Input::test().cpu(50, vec![Pod::test().using(10).without_request()]));
    assert_eq!((decision.desired, decision.scaling_active.reason), (2, "NoCpuRequest"));
    let message = decision.scaling_active.message;
    assert!(message.contains("spec.template.spec.containers[1].resources.requests.cpu"), "{message}");
}

#[test]
fn a_changed_wall_clock_scales_nothing() {
    let idle = Input::test().cpu(50, pods(6, 0));
    for shift in [-3600, 3600] {
        let mut story = Story::starting_with(6);
        story.seconds(10, &idle);
        let mut now = at(story.elapsed + seconds(1));
        now.wall += jiff::SignedDuration::from_secs(shift);
        let decision = super::decide(&idle.clone().current(6), &story.history, now);
        assert_eq!(decision.desired, 6, "shifted by {shift} s");
    }
}

#[test]
fn the_message_says_figures_targets_and_what_limits() {
    let mut story = Story::starting_with(2);
    let decision = story.second(Input::test().bounds(1, 4).cpu(70, pods(2, 175)).queue(12, 10));
    let expected = "2 -> 4 replicas; cpu: 175% of the request on 2 replicas, target 70% of the request, asks for 5; redisList jobs: 12 items, target 10 items per replica, asks for 2; maxReplicas is 4";
    assert_eq!(decision.message, expected);
}

#[test]
fn conditions_say_nothing_that_changes_by_itself() {
    let mut story = Story::starting_with(5);
    let first = story.second(Input::test().queue(20, 10));
    let second = story.second(Input::test().queue(21, 10));
    assert_eq!(first.scaling_active, second.scaling_active);
    assert_eq!(first.scaling_limited, second.scaling_limited);
}

#[test]
fn the_age_of_the_oldest_figure_dates_the_decision() {
    let mut story = Story::starting_with(1);
    let decision = story.second(Input::test().cpu(50, vec![Pod::test().using(500).aged(seconds(3))]).queue(1, 10));
    assert_eq!(decision.sampled_at, Some(at(seconds(10_001 - 3)).wall));
}
