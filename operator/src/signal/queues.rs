//! Reads every queue once an interval: one connection to each server, database and password, however many WorkerClusters use it, and
//! all its questions at once. Each server for itself: a slow one delays no other.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    board::Board,
    counters::Counters,
    error::QueueError,
    reading::QueueLength,
    redis::{self, Connection},
    runner::Config,
    target::{ClusterKey, Endpoint, Query, QueueSource},
};

/// Most connections to queue servers: whoever may write WorkerClusters may name any number of servers.
const MOST_SERVERS: usize = 256;
/// Pauses after one, two, … failures in a row. Short, because a server that is back is to be seen within seconds; and a
/// connection a second to a dead address costs next to nothing.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

type Lengths = Vec<(Query, Result<QueueLength, QueueError>)>;

/// The loop over all queue servers.
pub(super) struct Queues {
    config: Config,
    board: Arc<Board>,
    counters: Counters,
    servers: HashMap<Endpoint, Server>,
}

/// One server.
struct Server {
    connection: Option<Connection>,
    failures: usize,
    not_before: Instant,
    asking: bool,
}

/// What a server said to all questions.
struct Answer {
    endpoint: Endpoint,
    connection: Option<Connection>,
    lengths: Lengths,
    took: Duration,
}

// === impl Queues ===

impl Queues {
    pub(super) fn new(config: Config, board: Arc<Board>, counters: Counters) -> Self {
        Self { config, board, counters, servers: HashMap::new() }
    }

    /// Reads until `stop` is ready; what is under way then is dropped.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut asking: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        let mut next_round = Instant::now();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(answer) = asking.next(), if !asking.is_empty() => self.finish(answer),
                () = sleep_until(next_round) => {
                    self.begin_round(&asking);
                    next_round = (next_round + self.config.interval).max(Instant::now());
                }
            }
        }
    }

    fn begin_round(&mut self, asking: &FuturesUnordered<BoxFuture<'static, Answer>>) {
        let now = Instant::now();
        let mut questions: HashMap<Endpoint, HashSet<Query>> = HashMap::new();
        for source in self.board.queues().into_keys() {
            questions.entry(source.endpoint).or_default().insert(source.query);
        }
        self.servers.retain(|endpoint, _| questions.contains_key(endpoint));
        for (endpoint, queries) in questions {
            if !self.servers.contains_key(&endpoint) && self.servers.len() >= MOST_SERVERS {
                let error = QueueError::TooManyServers { limit: MOST_SERVERS };
                let lengths = queries.into_iter().map(|query| (query, Err(error.clone()))).collect();
                self.report(&endpoint, lengths);
                continue;
            }
            let server = self.servers.entry(endpoint.clone()).or_insert_with(|| Server::new(now));
            if server.asking || now < server.not_before {
                continue;
            }
            server.asking = true;
            asking.push(Box::pin(ask(self.config, endpoint, server.connection.take(), queries)));
        }
        self.counters.servers(self.servers.len());
    }

    fn finish(&mut self, answer: Answer) {
        self.counters.read_took(answer.took);
        if let Some(server) = self.servers.get_mut(&answer.endpoint) {
            server.asking = false;
            let failed = answer.connection.is_none();
            server.connection = answer.connection;
            server.failures = if failed { server.failures + 1 } else { 0 };
            let pause = PAUSES[server.failures.saturating_sub(1).min(PAUSES.len() - 1)];
            server.not_before = Instant::now() + pause;
        }
        self.report(&answer.endpoint, answer.lengths);
    }

    fn report(&self, endpoint: &Endpoint, lengths: Lengths) {
        let now = Instant::now();
        let interested = self.board.queues();
        let mut news: HashSet<ClusterKey> = HashSet::new();
        for (query, length) in lengths {
            self.counters.read(length.as_ref().err());
            let source = QueueSource { endpoint: endpoint.clone(), query };
            for cluster in interested.get(&source).into_iter().flatten() {
                self.board.update_queue(cluster, &source, |reading| match &length {
                    Ok(length) => reading.good(*length, now),
                    Err(error) => reading.bad(error),
                });
                news.insert(cluster.clone());
            }
        }
        self.board.announce(news);
    }
}

// === impl Server ===

impl Server {
    fn new(now: Instant) -> Self {
        Self { connection: None, failures: 0, not_before: now, asking: false }
    }
}

/// All questions to one server, with their deadline.
async fn ask(config: Config, endpoint: Endpoint, kept: Option<Connection>, queries: HashSet<Query>) -> Answer {
    let started = Instant::now();
    let queries: Vec<_> = queries.into_iter().collect();
    let timed_out = || QueueError::Timeout { address: endpoint.address.to_string() };
    let answer = timeout(config.queue_timeout, redis::ask(&endpoint, kept, &queries)).await;
    let (lengths, connection) = match answer.unwrap_or_else(|_| Err(timed_out())) {
        Ok((lengths, connection)) => (queries.into_iter().zip(lengths).collect(), Some(connection)),
        Err(error) => (queries.into_iter().map(|query| (query, Err(error.clone()))).collect(), None),
    };
    Answer { endpoint, connection, lengths, took: started.elapsed() }
}
