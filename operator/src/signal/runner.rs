//! The readers' tasks: started together, stopped together, joined.

use std::{future::Future, sync::Arc, time::Duration};

use primary_protocol::ADMIN_PORT;
use tokio::{sync::watch, task::JoinSet};

use super::{
    board::{Board, Handle},
    counters::Counters,
    order::Voice,
    queues::Queues,
    replicas::Replicas,
};

/// How reading goes. The default is for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Port of every primary.
    pub port: u16,
    /// Time between two readings, as long as there are not too many pods.
    pub interval: Duration,
    /// Time for a primary's whole answer, from connecting to the last byte.
    pub timeout: Duration,
    /// Primaries that are asked at the same time.
    pub concurrency: usize,
    /// Time for a queue server's whole answer.
    pub queue_timeout: Duration,
    /// Whether loopback and other addresses at which no pod can be are dialled all the same. Only for tests.
    pub any_address: bool,
}

/// The readers, not running yet.
#[derive(Debug)]
pub struct Runner {
    config: Config,
    board: Arc<Board>,
    counters: Counters,
    voice: watch::Receiver<Option<Voice>>,
}

/// Readers and the handle to them. While there is no voice nobody is told anything.
#[must_use]
pub fn new(config: Config, counters: Counters, voice: watch::Receiver<Option<Voice>>) -> (Handle, Runner) {
    let board = Arc::new(Board::default());
    board.set_interval(config.interval);
    (Handle::new(board.clone(), voice.clone()), Runner { config, board, counters, voice })
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            port: ADMIN_PORT,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            concurrency: 64,
            queue_timeout: Duration::from_secs(1),
            any_address: false,
        }
    }
}

// === impl Runner ===

impl Runner {
    /// Reads until `stop` is ready, then drops what is under way and returns.
    ///
    /// # Errors
    /// If one of the readers ended by itself, which is a fault in it: the caller should end the program.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), tokio::task::JoinError> {
        let Self { config, board, counters, voice } = self;
        let (stopped, stopping) = watch::channel(false);
        let mut readers = JoinSet::new();
        readers.spawn(Replicas::new(config, board.clone(), counters.clone(), voice).run(told(stopping.clone())));
        readers.spawn(Queues::new(config, board, counters).run(told(stopping)));
        tokio::pin!(stop);
        let ended = tokio::select! {
            () = &mut stop => None,
            ended = readers.join_next() => ended,
        };
        stopped.send_replace(true);
        let mut result = ended.unwrap_or(Ok(()));
        while let Some(ended) = readers.join_next().await {
            result = result.and(ended);
        }
        result
    }
}

async fn told(mut stopping: watch::Receiver<bool>) {
    // The sender is gone only with the runner itself: a reason to stop too.
    let _ = stopping.wait_for(|stopped| *stopped).await;
}
