//! Processor time by hand: each row with its reason. The wholesale comparison is in `hpa_rows.rs`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{
    CpuRequest, Phase, Pod, Ready, ReadyStatus, Sample,
    cpu::{self, CpuError, Figure},
    pods::{Class, classify},
};
use super::{at, pods, seconds};

fn recommend(current: i32, target: i32, pods: &[Pod]) -> Result<Figure, CpuError> {
    cpu::recommend(current, target, pods, seconds(5), at(Duration::ZERO))
}

fn mixed(groups: &[(usize, Pod)]) -> Vec<Pod> {
    groups.iter().flat_map(|(count, pod)| vec![pod.clone(); *count]).collect()
}

#[test]
fn the_answer_is_a_horizontal_pod_autoscalers() {
    let used = |percent: i64| Pod::test().using(percent * 10);
    let milli = |millicores: i64| Pod::test().using(millicores);
    let (missing, pending, deleting) = (Pod::test(), Pod::test().pending(), used(900).deleting());
    let rows = [
        (1, 70, vec![(1, used(70))], 1),                        // on target
        (1, 70, vec![(1, used(175))], 3),                       // ceil(2.5 * 1)
        (4, 50, vec![(4, used(55))], 4),                        // 1.1 is still within the tolerance
        (4, 50, vec![(4, used(56))], 5),                        // 1.12 is not: ceil(4.48)
        (4, 50, vec![(4, used(45))], 4),                        // 0.9 is still within the tolerance
        (4, 50, vec![(4, used(44))], 4),                        // 0.88 is not, but ceil(3.52) is 4
        (25, 100, vec![(25, used(112))], 29),                   // ceil(1.12 * 25): 28.000000000000004 in f64
        (3, 100, vec![(3, milli(1109))], 3),                    // 110.9 % is truncated to 110 % before the division
        (4, 50, vec![(4, used(10))], 1),                        // ceil(0.2 * 4)
        (4, 50, vec![(4, used(0))], 0),                         // nothing is used: 0, which the bounds raise
        (10, 50, vec![(5, used(70))], 7),                       // times the pods that there are, not the pods wanted
        (2, 70, vec![(2, used(140)), (2, deleting)], 4),        // pods that end do not count at all
        (3, 50, vec![(2, used(100)), (1, missing.clone())], 4), // up: missing counts as 0 %: 66 % of 3, ceil(1.32 * 3)
        (3, 50, vec![(2, used(60)), (1, missing.clone())], 3),  // up to 120 %, with the missing down to 80 %: no turn
        (4, 50, vec![(3, used(10)), (1, missing.clone())], 3), // down: missing counts as 100 %: 32 % of 4, ceil(0.64 * 4)
        (4, 150, vec![(3, used(15)), (1, missing.clone())], 2), // ... and as the target where that is more: 48 %
        (2, 50, vec![(1, used(30)), (1, missing.clone())], 2), // down to 60 %, with the missing up to 130 %: no turn
        (2, 50, vec![(1, used(50)), (1, missing)], 2),         // on target: the missing change nothing
        (4, 50, vec![(1, used(150)), (3, pending.clone())], 4), // up: those that come count as idle: 37 %, so no turn
        (4, 50, vec![(2, used(150)), (2, pending.clone())], 6), // 75 % of 4: ceil(1.5 * 4)
        (4, 50, vec![(2, used(20)), (2, pending)], 1),         // down: those that come are left out: ceil(0.4 * 2)
    ];
    for (number, (current, target, groups, replicas)) in rows.into_iter().enumerate() {
        let figure = recommend(current, target, &mixed(&groups)).unwrap();
        assert_eq!(figure.replicas, replicas, "row {}", number + 1);
    }
}

#[test]
fn a_pod_counts_as_a_horizontal_pod_autoscaler_classes_it() {
    let now = at(Duration::ZERO);
    let ago = |seconds: i64| -> Timestamp { now.wall - SignedDuration::from_secs(seconds) };
    let young = |status, changed| Pod {
        started: Some(ago(100)),
        ready: Some(Ready { status, last_transition: ago(changed) }),
        ..Pod::test().using(1).aged(seconds(1))
    };
    let old = |status, changed| Pod { started: Some(ago(400)), ..young(status, changed) };
    let usable = Class::Usable { millicores: 1, age: seconds(1) };
    let rows = [
        (Pod::test().using(1).deleting(), Class::Dropped),
        (Pod { phase: Phase::Failed, ..Pod::test().using(1) }, Class::Dropped),
        (Pod::test().using(1).pending(), Class::Unready),
        (Pod::test(), Class::Missing),
        (Pod { phase: Phase::Succeeded, ..Pod::test() }, Class::Missing), // ended well is not dropped
        (Pod::test().using(1).aged(Duration::from_millis(5001)), Class::Missing), // a sample too old; HPA never looks
        (Pod { ready: None, ..Pod::test().using(1) }, Class::Unready),
        (Pod { started: None, ..Pod::test().using(1) }, Class::Unready),
        (young(ReadyStatus::False, 90), Class::Unready),
        (young(ReadyStatus::True, 2), Class::Unready), // the sample began before it was ready: boot time
        (young(ReadyStatus::True, 3), usable),         // the sample began as it became ready
        (young(ReadyStatus::Unknown, 90), usable),     // unknown is not "not ready"
        (old(ReadyStatus::True, 2), usable), // past five minutes only those that were never ready are left out
        (old(ReadyStatus::False, 371), Class::Unready), // changed 29 s after the start: never ready
        (old(ReadyStatus::False, 370), usable), // changed 30 s after the start: was ready once
    ];
    for (number, (pod, class)) in rows.into_iter().enumerate() {
        assert_eq!(classify(&pod, seconds(5), now), class, "row {}", number + 1);
    }
}

#[test]
fn no_pod_is_an_error_and_not_zero() {
    assert_eq!(recommend(3, 70, &[]), Err(CpuError::NoPods));
}

#[test]
fn no_usable_sample_is_an_error_and_not_zero() {
    let pods = [Pod::test(), Pod::test().using(10).never_ready(), Pod::test().using(10).deleting()];
    let young = Pod { started: Some(at(Duration::ZERO).wall), ..pods[1].clone() };
    let pods = [pods[0].clone(), young, pods[2].clone()];
    let error = CpuError::NoUsableSample { unready: 1, missing: 1, why: None };
    assert_eq!(recommend(3, 70, &pods), Err(error));
}

#[test]
fn a_pod_whose_primary_lies_is_named_where_nothing_is_known() {
    let liar = Pod { trouble: Some("the stats document has version 7".into()), ..Pod::test() };
    let error = recommend(2, 70, &[Pod::test(), liar]).unwrap_err().to_string();
    assert!(error.ends_with("(pod auth-0: the stats document has version 7)"), "{error}");
}

#[test]
fn one_container_without_a_request_is_an_error_that_names_its_field() {
    let error = recommend(2, 70, &[Pod::test().using(10), Pod::test().using(10).without_request()]).unwrap_err();
    assert!(matches!(error, CpuError::NoRequest { .. }));
    let text = error.to_string();
    assert!(text.contains("container worker of pod auth-0"), "{text}");
    assert!(text.contains("spec.template.spec.containers[1].resources.requests.cpu"), "{text}");
}

#[test]
fn a_request_of_nothing_is_an_error() {
    let pod = Pod { request: CpuRequest::Millicores(0), ..Pod::test().using(10) };
    assert_eq!(recommend(1, 70, &[pod]), Err(CpuError::ZeroRequest));
}

#[test]
fn absurd_figures_ask_for_the_most_and_never_overflow() {
    let rows = [
        (i64::MAX, 1, 61_356_676), // the most percent there are; HPA's int64 overflows and answers with anything
        (i64::MAX, i64::MAX, 3),   // 100 % of an absurd request, twice
        (i64::MIN, 1, 0),          // less than nothing is nothing
    ];
    for (number, (usage, request, replicas)) in rows.into_iter().enumerate() {
        let sample = Sample::Known { millicores: usage, age: Duration::ZERO, window: seconds(2) };
        let pod = Pod { request: CpuRequest::Millicores(request), sample, ..Pod::test() };
        let figure = recommend(2, 70, &[pod.clone(), pod]).unwrap();
        assert_eq!(figure.replicas, replicas, "row {}", number + 1);
    }
}

#[test]
fn above_the_target_never_fewer_are_asked_for_and_below_it_never_more() {
    let rows = [
        (10, 5, 70, 7, 10), // 5 of 10 pods exist at 140 %: HPA asks for 7, which removes 3 under overload
        (2, 3, 35, 3, 2),   // a rollout's third pod at 70 %: HPA asks for the 3 that there are
        (2, 3, 80, 5, 5),   // true overload is true overload
        (5, 5, 20, 2, 2),   // and idle is idle
    ];
    for (number, (current, count, percent, of_hpa, ours)) in rows.into_iter().enumerate() {
        let figure = recommend(current, 50, &pods(count, percent)).unwrap();
        assert_eq!(figure.replicas, of_hpa, "row {}", number + 1);
        assert_eq!(figure.keep_direction(current).replicas, ours, "row {}", number + 1);
    }
}
