//! Rows that the HorizontalPodAutoscaler's own code answered (Kubernetes 1.36.3, `tests/hpa-rows`): every answer is the same here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{CpuRequest, Demand, Now, Phase, Pod, Ready, ReadyStatus, Sample, cpu};
use super::at;

const ROWS: &str = include_str!("hpa-1.36.3.rows");

#[test]
fn every_row_has_the_answer_of_a_horizontal_pod_autoscaler() {
    let now = at(Duration::from_secs(5000));
    let mut seen = [0; 4];
    for (number, row) in ROWS.lines().enumerate() {
        let mut fields = row.splitn(5, ' ');
        let [current, target, replicas, utilization, pods] = [(); 5].map(|()| fields.next().unwrap());
        let (current, target) = (current.parse().unwrap(), target.parse().unwrap());
        let pods: Vec<_> = pods.split(' ').map(|pod| parse(pod, now)).collect();
        let answer = match cpu::recommend(current, target, &pods, Duration::from_secs(5), now) {
            Ok(figure) => (figure.replicas.to_string(), figure.utilization.to_string()),
            Err(_) => ("error".to_owned(), "-".to_owned()),
        };
        assert_eq!(answer, (replicas.to_owned(), utilization.to_owned()), "row {}: {row}", number + 1);
        seen[match replicas.parse::<i32>() {
            Err(_) => 0,
            Ok(replicas) if replicas < current => 1,
            Ok(replicas) if replicas == current => 2,
            Ok(_) => 3,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count >= 40), "errors, fewer, as many, more: {seen:?}");
}

/// `phase,deleting,ready,start,change,request,usage,age,window`; times are milliseconds before now, `-` is none.
fn parse(pod: &str, now: Now) -> Pod {
    let fields: Vec<_> = pod.split(',').collect();
    let number = |field: usize| fields[field].parse::<i64>().ok();
    let before = |field: usize| -> Option<Timestamp> { Some(now.wall - SignedDuration::from_millis(number(field)?)) };
    let duration = |field: usize| Some(Duration::from_millis(number(field)?.unsigned_abs()));
    let sample = || {
        let (millicores, age, window) = (number(6)?, duration(7)?, duration(8)?);
        Some(Sample::Known { millicores, age, window })
    };
    let ready = || {
        let status = match fields[2] {
            "T" => ReadyStatus::True,
            "F" => ReadyStatus::False,
            "U" => ReadyStatus::Unknown,
            _ => return None,
        };
        Some(Ready { status, last_transition: before(4)? })
    };
    Pod {
        phase: match fields[0] {
            "R" => Phase::Running,
            "P" => Phase::Pending,
            "F" => Phase::Failed,
            "S" => Phase::Succeeded,
            _ => Phase::Unknown,
        },
        deleting: fields[1] == "D",
        ready: ready(),
        started: before(3),
        request: number(5).map_or_else(|| Pod::test().without_request().request, CpuRequest::Millicores),
        sample: sample().unwrap_or(Sample::Missing),
        requests: Demand::Missing,
        trouble: None,
        ..Pod::test()
    }
}
