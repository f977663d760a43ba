//! Asking primaries that behave.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Reading, auth, config,
    fake_primary::{Behaviour, Primaries, document, using},
    ip, pod, pods,
};
use crate::{
    decide::autoscale::Sample,
    signal::{ClusterKey, Config, PodTarget, Targets},
};

#[tokio::test]
async fn a_primary_is_asked_and_its_processor_time_becomes_a_rate() {
    let mut primaries = Primaries::new().await;
    primaries.add(1, using(350)).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1]));
    let readings =
        reading.until(&auth(), "a rate", |readings| readings.pods.values().any(|pod| pod.cpu.is_some())).await;
    let pod = &readings.pods["uid-1"];
    let Sample::Known { millicores, age, window } = pod.sample(tokio::time::Instant::now()) else { panic!("{pod:?}") };
    assert_eq!(millicores, 350);
    assert!(window >= Duration::from_secs(1) && window <= Duration::from_secs(2), "{window:?}");
    assert!(age < Duration::from_secs(5), "{age:?}");
    assert_eq!(pod.stats.as_ref().unwrap().0.workers.ready, 1);
    assert_eq!(pod.failure, None);
    reading.stop().await;
}

#[tokio::test]
async fn one_connection_is_kept_for_all_questions() {
    let mut primaries = Primaries::new().await;
    let seen = primaries.add(1, using(100)).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1]));
    reading.until_true("ten questions", || seen.questions() >= 10).await;
    assert_eq!(seen.connections(), 1);
    reading.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_no_failure() {
    let mut primaries = Primaries::new().await;
    let seen = primaries.add(1, Behaviour::ClosesAfterEach(Arc::new(|n| document(n * 100, n)))).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1]));
    reading.until_true("ten answers", || reading.counters.scrapes_with("ok") >= 10).await;
    assert!(seen.connections() >= 10);
    assert_eq!(reading.counters.scrapes_with("broken"), 0);
    reading.stop().await;
}

#[tokio::test]
async fn a_restarted_primary_has_no_rate_until_it_has_answered_twice() {
    let mut primaries = Primaries::new().await;
    // A new primary at the tenth question: its clock and its counter begin anew, and it uses twice as much.
    let behaviour =
        |n: u64| if n < 10 { document(n * 1000, n * 300_000) } else { document((n - 10) * 1000, (n - 10) * 600_000) };
    primaries.add(1, Behaviour::Answers(Arc::new(behaviour))).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1]));
    let looked = std::cell::RefCell::new(Vec::new());
    let is_new = |readings: &super::Readings| {
        let Some(pod) = readings.pods.get("uid-1") else { return false };
        let Some((stats, _)) = &pod.stats else { return false };
        let (uptime, rate) = (stats.uptime_milliseconds, pod.cpu.map(|cpu| cpu.millicores));
        looked.borrow_mut().push((uptime, rate));
        uptime >= 1000 && rate == Some(600)
    };
    reading.until(&auth(), "the new primary's rate", is_new).await;
    // Never a rate from counters of both, and none from one answer.
    for (uptime, rate) in looked.take() {
        assert!(matches!((uptime, rate), (0, None) | (1000.., Some(300 | 600))), "{rate:?} after {uptime} ms");
    }
    reading.stop().await;
}

#[tokio::test]
async fn pods_that_hang_delay_no_other() {
    let mut primaries = Primaries::new().await;
    for host in 100..164 {
        primaries.add(host, Behaviour::Silent).await;
    }
    let seen = primaries.add(1, using(100)).await;
    let reading = Reading::start(Config { concurrency: 16, ..config(primaries.port) });
    let other = ClusterKey::new("team", "other");
    reading.handle.publish(&other, pods(100..164));
    reading
        .until(&other, "every silent pod to have failed once", |readings| {
            readings.pods.len() == 64 && readings.pods.values().all(|pod| pod.failure.is_some())
        })
        .await;
    // From here on 64 pods hang 400 ms each in 4 places; the good one is asked every 50 ms all the same.
    reading.handle.publish(&auth(), pods([1]));
    let started = Instant::now();
    reading.until_true("forty questions", || seen.questions() >= 40).await;
    let took = started.elapsed();
    // One after another with the others they would take 40 times 64 / 4 * 400 ms.
    assert!(took < Duration::from_secs(20), "40 rounds of 50 ms took {took:?}");
    reading.stop().await;
}

#[tokio::test]
async fn a_hanging_pod_does_not_hold_back_the_news_of_its_siblings() {
    let mut primaries = Primaries::new().await;
    primaries.add(1, using(100)).await;
    primaries.add(2, Behaviour::Silent).await;
    let slow =
        Config { timeout: Duration::from_secs(15), interval: Duration::from_millis(200), ..config(primaries.port) };
    let reading = Reading::start(slow);
    reading.handle.publish(&auth(), pods([1, 2]));
    let started = Instant::now();
    reading.until(&auth(), "a rate", |readings| readings.pods.get("uid-1").is_some_and(|pod| pod.cpu.is_some())).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    reading.stop().await;
}

#[tokio::test]
async fn what_is_withdrawn_is_asked_no_more() {
    let mut primaries = Primaries::new().await;
    let gone = primaries.add(1, using(100)).await;
    primaries.add(2, using(100)).await;
    let reading = Reading::start(config(primaries.port));
    let other = ClusterKey::new("team", "other");
    reading.handle.publish(&auth(), pods([1]));
    reading.handle.publish(&other, pods([2]));
    reading.rounds(&auth(), 3).await;
    reading.handle.withdraw(&auth());
    let before = gone.questions();
    reading.rounds(&other, 10).await;
    assert!(gone.questions() <= before + 1, "one may have been under way");
    assert!(reading.handle.readings(&auth()).pods.is_empty());
    reading.stop().await;
}

#[tokio::test]
async fn readings_stay_with_pods_that_stay_and_go_with_pods_that_move() {
    let mut primaries = Primaries::new().await;
    primaries.add(1, using(100)).await;
    primaries.add(2, using(100)).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1, 2]));
    reading.until(&auth(), "both pods", |readings| readings.pods.len() == 2).await;
    let moved = PodTarget { ip: ip(3), ..pod(2) };
    reading.handle.publish(&auth(), Targets { pods: vec![pod(1), moved], ..Targets::default() });
    let readings = reading.handle.readings(&auth());
    assert!(readings.pods.contains_key("uid-1") && !readings.pods.contains_key("uid-2"), "{readings:?}");
    let failed = |readings: &super::Readings| readings.pods.get("uid-2").is_some_and(|pod| pod.failure.is_some());
    let readings = reading.until(&auth(), "the pod's new address to be tried", failed).await;
    assert!(readings.pods["uid-2"].stats.is_none(), "{readings:?}");
    reading.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_gone_keeps_its_last_word_and_gets_older() {
    let mut primaries = Primaries::new().await;
    primaries.add(1, using(100)).await;
    let reading = Reading::start(config(primaries.port));
    reading.handle.publish(&auth(), pods([1]));
    reading.until(&auth(), "a rate", |readings| readings.pods.values().any(|pod| pod.cpu.is_some())).await;
    drop(primaries);
    let failed = |readings: &super::Readings| {
        readings.pods["uid-1"]
            .failure
            .as_ref()
            .is_some_and(|failure| failure.category == "unreachable" && failure.attempts > 2)
    };
    let readings = reading.until(&auth(), "failures", failed).await;
    let later = tokio::time::Instant::now() + Duration::from_secs(10);
    let Sample::Known { age, .. } = readings.pods["uid-1"].sample(later) else { panic!("{readings:?}") };
    assert!(age > Duration::from_secs(9), "{age:?}");
    reading.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_nobody() {
    let mut primaries = Primaries::new().await;
    let seen = primaries.add(1, Behaviour::Silent).await;
    let reading = Reading::start(Config { timeout: Duration::from_secs(60), ..config(primaries.port) });
    reading.handle.publish(&auth(), pods([1]));
    reading.until_true("a question", || seen.questions() == 1).await;
    let started = Instant::now();
    reading.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
