//! Tests of the reading: pure parts in tables, primaries played by hostile servers, queues in a real Redis.

mod fake_primary;
mod fake_redis;
mod hostile;
mod orders;
mod primaries;
mod queues;
mod rates;
mod redis_server;
mod shared;
mod stats;
mod witness;

pub(super) use fake_primary::document_with;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use prometheus::Registry;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{ClusterKey, Config, Counters, Handle, PodTarget, QueueSource, Readings, Targets, Voice, new};

/// How long a test waits for what it waits for, before it says what it saw instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running readers, with intervals that suit a test.
struct Reading {
    handle: Handle,
    counters: Counters,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), tokio::task::JoinError>>,
}

// === impl Reading ===

impl Reading {
    fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    fn start_with(config: Config, voice: Option<Voice>) -> Self {
        let counters = Counters::register(&Registry::new()).unwrap();
        let (handle, runner) = new(config, counters.clone(), watch::channel(voice).1);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(runner.run(async move {
            let _ = stopped.await;
        }));
        Self { handle, counters, stop, running }
    }

    /// Reads on until the readings of a WorkerCluster are as wanted, looking whenever there is news.
    async fn until(&self, cluster: &ClusterKey, what: &str, wanted: impl Fn(&Readings) -> bool) -> Readings {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let readings = self.handle.readings(cluster);
            if wanted(&readings) {
                return readings;
            }
            let news = timeout_at(deadline, self.handle.news()).await;
            assert!(news.is_ok(), "waited {PATIENCE:?} for {what}, last saw {readings:?}");
        }
    }

    /// Reads on until something has happened, looking whenever there is news.
    async fn until_true(&self, what: &str, happened: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened() {
            let news = timeout_at(deadline, self.handle.news()).await;
            assert!(news.is_ok(), "waited {PATIENCE:?} for {what}");
        }
    }

    /// Waits for so many pieces of news about a WorkerCluster.
    async fn rounds(&self, cluster: &ClusterKey, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        while seen < count {
            let news = timeout_at(deadline, self.handle.news()).await;
            seen += usize::from(
                news.unwrap_or_else(|_| panic!("{seen} of {count} rounds in {PATIENCE:?}")).contains(cluster),
            );
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap().unwrap();
    }
}

fn config(port: u16) -> Config {
    Config {
        port,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(400),
        queue_timeout: Duration::from_millis(400),
        any_address: true,
        ..Config::default()
    }
}

fn auth() -> ClusterKey {
    ClusterKey::new("team", "auth")
}

/// The pod at 127.0.0.`host`.
fn pod(host: u8) -> PodTarget {
    PodTarget { uid: format!("uid-{host}").into(), ip: ip(host) }
}

fn ip(host: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, host).into()
}

fn pods(hosts: impl IntoIterator<Item = u8>) -> Targets {
    Targets { pods: hosts.into_iter().map(pod).collect(), ..Targets::default() }
}

fn queues(queues: impl IntoIterator<Item = QueueSource>) -> Targets {
    Targets { queues: queues.into_iter().collect(), ..Targets::default() }
}
