//! What the controller and the readers share.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::time::Instant;

use super::{Handle, PodTarget, Targets, auth, config, ip, pod, pods};
use crate::signal::{ClusterKey, Counters, board::Board, error::ScrapeError, new, news::News, target::Endpoint};

#[tokio::test]
async fn news_is_told_once_and_none_is_lost() {
    let news = News::default();
    let other = ClusterKey::new("team", "other");
    news.announce([auth(), other.clone(), auth()]);
    news.announce([auth()]);
    assert_eq!(news.next().await, [auth(), other]);
    news.announce([auth()]);
    assert_eq!(news.next().await, [auth()]);
}

#[tokio::test]
async fn whoever_waits_for_news_is_woken() {
    let news = Arc::new(News::default());
    let waiting = tokio::spawn({
        let news = news.clone();
        async move { news.next().await }
    });
    tokio::task::yield_now().await;
    news.announce([auth()]);
    assert_eq!(waiting.await.unwrap(), [auth()]);
}

#[test]
fn a_password_is_never_printed() {
    let endpoint = Endpoint { address: "redis:6379".into(), database: 0, password: Some("hunter2".into()) };
    let printed = format!("{endpoint:?}");
    assert!(printed.contains("redis:6379") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn the_age_that_readings_may_have_grows_with_the_interval() {
    let counters = Counters::register(&Registry::new()).unwrap();
    let (handle, _) = new(super::Config::default(), counters, tokio::sync::watch::channel(None).1);
    assert_eq!((handle.interval(), handle.sample_max_age()), (Duration::from_secs(1), Duration::from_secs(5)));
    let board = Board::default();
    board.set_interval(Duration::from_secs(3));
    let handle = super::Handle::new(Arc::new(board), tokio::sync::watch::channel(None).1);
    assert_eq!(handle.sample_max_age(), Duration::from_secs(15));
}

#[test]
fn thousands_of_pods_are_published_and_read_in_a_moment() {
    const PODS: u32 = 5000;
    let board = Arc::new(Board::default());
    let handle = Handle::new(board.clone(), tokio::sync::watch::channel(None).1);
    let all: Vec<PodTarget> = (0..PODS)
        .map(|pod| PodTarget { uid: format!("uid-{pod}").into(), ip: Ipv4Addr::from_bits(0x0a00_0000 + pod).into() })
        .collect();
    let begun = std::time::Instant::now();
    for count in 0..100 {
        // One more each time, as while they are created.
        let pods = all[..all.len() - 100 + count].to_vec();
        handle.publish(&auth(), Targets { pods, ..Targets::default() });
        let looked = handle.readings(&auth());
        for pod in &all[..50] {
            board.update_pod(&auth(), pod, |reading| reading.take(Err(ScrapeError::Timeout), None, Instant::now()));
        }
        assert_eq!(looked.pods.len(), if count == 0 { 0 } else { 50 }, "what was looked at stays what it was");
    }
    for pod in &all {
        board.update_pod(&auth(), pod, |reading| reading.take(Err(ScrapeError::Timeout), None, Instant::now()));
    }
    assert_eq!(handle.readings(&auth()).pods.len(), all.len() - 1, "the last was never published");
    // Each pod compared with each other would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_pod_with_another_address_is_read_anew() {
    let board = Arc::new(Board::default());
    let handle = Handle::new(board.clone(), tokio::sync::watch::channel(None).1);
    handle.publish(&auth(), pods([1, 2]));
    for host in [1, 2] {
        board.update_pod(&auth(), &pod(host), |reading| reading.take(Err(ScrapeError::Timeout), None, Instant::now()));
    }
    let moved = PodTarget { ip: ip(3), ..pod(2) };
    handle.publish(&auth(), Targets { pods: vec![pod(1), moved.clone()], ..Targets::default() });
    board.update_pod(&auth(), &pod(2), |_| panic!("what comes from the old address is late"));
    assert_eq!(handle.readings(&auth()).pods.keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["uid-1"]);
    board.update_pod(&auth(), &moved, |reading| reading.take(Err(ScrapeError::Timeout), None, Instant::now()));
    assert_eq!(handle.readings(&auth()).pods.len(), 2);
}

#[test]
fn publishing_the_same_again_changes_nothing() {
    let counters = Counters::register(&Registry::new()).unwrap();
    let (handle, _) = new(config(0), counters, tokio::sync::watch::channel(None).1);
    handle.publish(&auth(), pods([1]));
    handle.publish(&auth(), pods([1]));
    assert!(handle.readings(&auth()).pods.is_empty());
}

#[test]
fn metrics_are_registered_with_every_series_and_no_name_of_an_object() {
    let registry = Registry::new();
    let _counters = Counters::register(&registry).unwrap();
    let families = registry.gather();
    let labels: Vec<_> = families
        .iter()
        .flat_map(prometheus::proto::MetricFamily::get_metric)
        .flat_map(prometheus::proto::Metric::get_label)
        .map(|label| label.name().to_owned())
        .collect();
    assert!(labels.iter().all(|name| name == "result"), "{labels:?}");
    assert_eq!(labels.len(), 12 + 12 + 5); // each category and ok, of scrapes, of reads and of orders
    assert!(families.iter().all(|family| family.name().starts_with("workercluster_") && !family.help().is_empty()));
    assert!(Counters::register(&registry).is_err(), "registered twice");
}
