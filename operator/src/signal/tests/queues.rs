//! Reading queues from a real Redis.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{Reading, auth, config, queues, redis_server::RedisServer};
use crate::{
    decide::autoscale::Reading as Length,
    signal::{
        ClusterKey, QueueSource, Readings, Targets,
        reading::{QueueLength, QueueReading},
        target::Endpoint,
    },
};

const MAX_AGE: Duration = Duration::from_secs(5);

fn known(readings: &Readings, queue: &QueueSource) -> Option<QueueLength> {
    readings.queues.get(queue).filter(|reading| reading.failure.is_none())?.length.map(|(length, _)| length)
}

fn is_known(queue: &QueueSource, waiting: u64, in_flight: u64) -> impl Fn(&Readings) -> bool {
    move |readings| known(readings, queue) == Some(QueueLength { waiting, in_flight })
}

fn has_failed(queue: &QueueSource, category: &str) -> impl Fn(&Readings) -> bool {
    move |readings| {
        readings.queues.get(queue).and_then(|reading| reading.failure.as_ref()).is_some_and(|f| f.category == category)
    }
}

fn length(reading: &QueueReading, after: Duration) -> Length {
    reading.reading(tokio::time::Instant::now() + after, MAX_AGE)
}

#[tokio::test]
async fn the_length_of_a_list_is_followed() {
    let redis = RedisServer::start();
    let (jobs, empty) = (redis.list("jobs"), redis.list("empty"));
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([jobs.clone(), empty.clone()]));
    reading.until(&auth(), "an empty list", is_known(&jobs, 0, 0)).await; // a list that does not exist is empty
    redis.run("RPUSH jobs a b c");
    reading.until(&auth(), "three items", is_known(&jobs, 3, 0)).await;
    redis.run("LPOP jobs");
    let readings = reading.until(&auth(), "two items", is_known(&jobs, 2, 0)).await;
    assert_eq!(known(&readings, &empty), Some(QueueLength { waiting: 0, in_flight: 0 }));
    assert!(
        matches!(length(&readings.queues[&jobs], Duration::ZERO), Length::Known { items: 2, age } if age < MAX_AGE)
    );
    reading.stop().await;
}

#[tokio::test]
async fn the_demand_of_a_group_is_what_it_has_not_got_and_what_it_has_not_acknowledged() {
    let redis = RedisServer::start();
    let (workers, other) = (redis.stream("events", "workers"), redis.stream("events", "other"));
    redis.run(
        "XGROUP CREATE events workers $ MKSTREAM
         XADD events * n 1
         XADD events * n 2
         XADD events * n 3
         XREADGROUP GROUP workers one COUNT 1 STREAMS events >
         XGROUP CREATE events other 0",
    );
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([workers.clone(), other.clone()]));
    reading.until(&auth(), "two waiting, one in flight", is_known(&workers, 2, 1)).await;
    let readings = reading.until(&auth(), "the other group's three", is_known(&other, 3, 0)).await;
    assert!(matches!(length(&readings.queues[&workers], Duration::ZERO), Length::Known { items: 3, .. }));
    reading.stop().await;
}

#[tokio::test]
async fn a_null_lag_is_unknown_and_not_zero() {
    let redis = RedisServer::start();
    let workers = redis.stream("events", "workers");
    redis.run(
        "XGROUP CREATE events workers 0 MKSTREAM
         XADD events 1-0 n 1
         XADD events 2-0 n 2
         XADD events 3-0 n 3
         XREADGROUP GROUP workers one COUNT 1 STREAMS events >",
    );
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([workers.clone()]));
    reading.until(&auth(), "a known lag", is_known(&workers, 2, 1)).await;
    redis.run("XDEL events 2-0"); // a hole ahead of the group: Redis does not count there
    let readings = reading.until(&auth(), "the lag to be unknown", has_failed(&workers, "lag_unknown")).await;
    // It said that it does not know, so that what it said before does not stand either.
    assert!(matches!(length(&readings.queues[&workers], Duration::ZERO), Length::Unknown { .. }));
    redis.run("XREADGROUP GROUP workers one COUNT 9 STREAMS events >");
    // Redis 7.0 says 1 from here on for ever; that the group got the last entry is certain all the same.
    reading.until(&auth(), "the lag to be known again", is_known(&workers, 0, 2)).await;
    reading.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_what_to_do() {
    let redis = RedisServer::start();
    redis.run(
        "SET text 1
         XGROUP CREATE events workers $ MKSTREAM",
    );
    let rows = [
        (redis.list("text"), "wrong_type", "key text is not a list"),
        (redis.stream("text", "workers"), "wrong_type", "key text is not a stream"),
        (redis.stream("none", "workers"), "no_stream", "XGROUP CREATE none workers $ MKSTREAM"),
        (redis.stream("events", "nobody"), "no_group", "XGROUP CREATE events nobody $"),
    ];
    let good = redis.list("jobs");
    let reading = Reading::start(config(1));
    let all = rows.iter().map(|(queue, ..)| queue.clone()).chain([good.clone()]);
    reading.handle.publish(&auth(), queues(all));
    let readings = reading.until(&auth(), "the good one", is_known(&good, 0, 0)).await; // the bad ones harm it not
    for (queue, category, advice) in rows {
        let failure = readings.queues[&queue].failure.clone().unwrap();
        assert_eq!(failure.category, category);
        assert!(failure.message.contains(advice), "{}", failure.message);
    }
    reading.stop().await;
}

#[tokio::test]
async fn the_right_password_is_needed_and_is_in_no_message() {
    let redis = RedisServer::with_password("correct-horse");
    redis.run("RPUSH jobs a");
    let with = |password| QueueSource { endpoint: redis.endpoint(password), ..redis.list("jobs") };
    let (right, wrong, none) = (with(Some("correct-horse")), with(Some("hunter2")), with(None));
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([right.clone(), wrong.clone(), none.clone()]));
    reading.until(&auth(), "the right one", is_known(&right, 1, 0)).await;
    let readings = reading.until(&auth(), "the wrong one", has_failed(&wrong, "denied")).await;
    let message = &readings.queues[&wrong].failure.as_ref().unwrap().message;
    assert!(message.contains("secretRef") && !message.contains("hunter2"), "{message}");
    reading.until(&auth(), "the one without", has_failed(&none, "denied")).await;
    reading.stop().await;
}

#[tokio::test]
async fn databases_are_kept_apart() {
    let redis = RedisServer::start();
    redis.run(
        "RPUSH jobs a
         SELECT 3
         RPUSH jobs a b c",
    );
    let first = redis.list("jobs");
    let third = QueueSource { endpoint: Endpoint { database: 3, ..first.endpoint.clone() }, ..first.clone() };
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([first.clone(), third.clone()]));
    reading.until(&auth(), "database 0", is_known(&first, 1, 0)).await;
    reading.until(&auth(), "database 3", is_known(&third, 3, 0)).await;
    reading.stop().await;
}

#[tokio::test]
async fn a_hundred_worker_clusters_share_one_connection_and_one_question() {
    let redis = RedisServer::start();
    redis.run("RPUSH jobs a b");
    let jobs = redis.list("jobs");
    let before = redis.info("total_connections_received");
    let reading = Reading::start(config(1));
    let clusters: Vec<_> = (0..100).map(|number| ClusterKey::new("team", &format!("c{number}"))).collect();
    for cluster in &clusters {
        reading.handle.publish(cluster, queues([jobs.clone()]));
    }
    let mut told = HashSet::new();
    while told.len() < clusters.len() {
        told.extend(reading.handle.news().await);
    }
    for cluster in &clusters {
        assert_eq!(known(&reading.handle.readings(cluster), &jobs), Some(QueueLength { waiting: 2, in_flight: 0 }));
    }
    reading.rounds(&clusters[0], 20).await;
    // One of ours; each look at INFO and each run is one more.
    assert_eq!(redis.info("total_connections_received") - before, 2);
    let asked: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.connect().unwrap()).unwrap();
    let calls = asked.lines().find_map(|line| line.strip_prefix("cmdstat_llen:calls=")).unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert!((20..=200).contains(&calls), "{calls} questions in about 21 rounds of 100 WorkerClusters");
    reading.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_is_unknown_after_a_while_and_is_read_again_when_it_is_back() {
    let redis = RedisServer::start();
    redis.run("RPUSH jobs a b");
    let (port, jobs) = (redis.port, redis.list("jobs"));
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([jobs.clone()]));
    reading.until(&auth(), "two items", is_known(&jobs, 2, 0)).await;
    drop(redis);
    let readings = reading.until(&auth(), "it to be unreachable", has_failed(&jobs, "unreachable")).await;
    let last = &readings.queues[&jobs];
    // What it said a moment ago stands for a moment; then nothing does.
    assert!(matches!(length(last, Duration::ZERO), Length::Known { items: 2, .. }));
    let Length::Unknown { error } = length(last, Duration::from_secs(6)) else { panic!("{last:?}") };
    assert!(error.contains(&format!("Redis at 127.0.0.1:{port} does not answer")), "{error}");
    let redis = RedisServer::start_at(port, None);
    redis.run("RPUSH jobs a");
    let started = Instant::now();
    reading.until(&auth(), "one item", is_known(&jobs, 1, 0)).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    reading.stop().await;
}

#[tokio::test]
async fn a_server_that_hangs_times_out_and_delays_no_other() {
    let (slow, good) = (RedisServer::start(), RedisServer::start());
    let (jobs, tasks) = (slow.list("jobs"), good.list("tasks"));
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([jobs.clone(), tasks.clone()]));
    reading
        .until(&auth(), "both", |readings| is_known(&jobs, 0, 0)(readings) && is_known(&tasks, 0, 0)(readings))
        .await;
    slow.run("CLIENT PAUSE 5000 ALL");
    good.run("RPUSH tasks a");
    let started = Instant::now();
    reading.until(&auth(), "the good one's item", is_known(&tasks, 1, 0)).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    reading.until(&auth(), "the slow one to time out", has_failed(&jobs, "timeout")).await;
    reading.until(&auth(), "the slow one to be back", is_known(&jobs, 0, 0)).await;
    reading.stop().await;
}

#[tokio::test]
async fn a_queue_that_is_wanted_no_more_is_asked_no_more() {
    let redis = RedisServer::start();
    let (jobs, tasks) = (redis.list("jobs"), redis.list("tasks"));
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues([jobs.clone(), tasks.clone()]));
    reading.until(&auth(), "both", |readings| readings.queues.len() == 2).await;
    reading.handle.publish(&auth(), queues([tasks.clone()]));
    reading.rounds(&auth(), 5).await;
    let readings = reading.handle.readings(&auth());
    assert_eq!(readings.queues.keys().collect::<Vec<_>>(), [&tasks]);
    reading.handle.publish(&auth(), Targets::default());
    assert!(reading.handle.readings(&auth()).queues.is_empty());
    reading.stop().await;
}
