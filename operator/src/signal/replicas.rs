//! Asks every primary once an interval, many at a time and each for itself: one that hangs delays no other, and those that hung the
//! last time have places of their own.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use primary_protocol::Stats;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    board::Board,
    connection::{self, Connection},
    counters::Counters,
    error::ScrapeError,
    order::{self, Order, OrderError, Voice},
    runner::Config,
    stats,
    target::{ClusterKey, PodTarget},
    witness::Witness,
};

/// Pods that are asked each second; with more the interval is longer, so that the operator's own load stays bounded.
const PODS_PER_SECOND: usize = 1000;
/// Most connections that are kept open between two questions; further ones are opened anew each time. With the places, the queue
/// servers and the API server it stays below the 1024 open files that a container may have by default.
const MOST_KEPT: usize = 512;
/// Rounds in which an order that a primary has refused is not given again, and none at all to one that does not take it for this operator's: it says no
/// to the same words until something changes.
const REFUSED_REST: u32 = 10;

/// The loop over all primaries.
pub(super) struct Replicas {
    config: Config,
    board: Arc<Board>,
    counters: Counters,
    probes: HashMap<Arc<str>, Probe>,
    /// Pods to ask in this round: those that answered the last time, and those that did not.
    healthy: Lane,
    suspect: Lane,
    /// Pods whose answers a WorkerCluster's news of this round waits for.
    outstanding: HashMap<ClusterKey, usize>,
    kept: usize,
    /// `None` while this operator cannot sign.
    voice: watch::Receiver<Option<Voice>>,
}

/// One pod.
struct Probe {
    cluster: ClusterKey,
    target: PodTarget,
    connection: Option<Connection>,
    witness: Witness,
    suspect: bool,
    asking: bool,
    counted: bool,
    /// Of an order that was refused: which (`None` for any), and for how many rounds it is not given again.
    refused: Option<(Option<Arc<Order>>, u32)>,
}

/// Pods that wait for a place, and how many places there are.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<PodTarget>,
    running: usize,
    places: usize,
}

/// One answer, or its failure.
struct Answer {
    target: PodTarget,
    suspect: bool,
    result: Result<Stats, ScrapeError>,
    /// What came of an order, where there was one to give.
    order: Option<(Arc<Order>, Result<(), OrderError>)>,
    connection: Option<Connection>,
    took: Duration,
}

// === impl Replicas ===

impl Replicas {
    pub(super) fn new(
        config: Config,
        board: Arc<Board>,
        counters: Counters,
        voice: watch::Receiver<Option<Voice>>,
    ) -> Self {
        // A quarter of the places for those that hung: 64 black holes among them do not keep the others waiting.
        let suspects = (config.concurrency / 4).max(1);
        Self {
            healthy: Lane { places: config.concurrency.saturating_sub(suspects).max(1), ..Lane::default() },
            suspect: Lane { places: suspects, ..Lane::default() },
            config,
            board,
            counters,
            probes: HashMap::new(),
            outstanding: HashMap::new(),
            kept: 0,
            voice,
        }
    }

    /// Asks until `stop` is ready; what is under way then is dropped.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut asking = FuturesUnordered::new();
        let mut next_round = Instant::now();
        let mut deadline = None;
        tokio::pin!(stop);
        let board = self.board.clone();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                changed = board.changed() => self.hasten(changed),
                Some(answer) = asking.next(), if !asking.is_empty() => self.finish(answer),
                () = sleep_until(next_round) => {
                    let interval = self.begin_round();
                    let now = Instant::now();
                    deadline = Some(now + interval / 2);
                    next_round = (next_round + interval).max(now);
                }
                () = sleep_until(deadline.unwrap_or(next_round)), if deadline.is_some() => {
                    deadline = None;
                    self.board.announce(self.outstanding.drain().map(|(cluster, _)| cluster));
                }
            }
            self.fill(&asking);
        }
    }

    /// Looks at what is to be asked now, and says when to look again.
    fn begin_round(&mut self) -> Duration {
        let clusters = self.board.pods();
        let total: usize = clusters.iter().map(|(_, pods)| pods.len()).sum();
        let interval = interval(self.config.interval, total);
        self.board.set_interval(interval);
        self.counters.round(total, interval);
        self.forget_all_but(&clusters);
        // What has not had its turn yet keeps its place before the others.
        let queued: HashSet<_> = self.healthy.waiting.iter().chain(&self.suspect.waiting).cloned().collect();
        self.board.announce(self.outstanding.drain().map(|(cluster, _)| cluster));
        for (cluster, pods) in clusters {
            let outstanding = self.outstanding.entry(cluster.clone()).or_default();
            for target in pods {
                let probe = self.probes.entry(target.uid.clone()).or_insert_with(|| Probe::new(&cluster, &target));
                // Its label may have changed since.
                probe.cluster.clone_from(&cluster);
                probe.counted = !probe.suspect && !probe.asking;
                probe.rest();
                *outstanding += usize::from(probe.counted);
                if !probe.asking && !queued.contains(&target) {
                    let lane = if probe.suspect { &mut self.suspect } else { &mut self.healthy };
                    lane.waiting.push_back(target);
                }
            }
        }
        interval
    }

    /// These are asked before all others, and told what is wanted now.
    fn hasten(&mut self, changed: HashSet<PodTarget>) {
        // One that is being asked is told in the next round, if it was not in this question.
        let idle = |target: &PodTarget| {
            self.probes.get(&target.uid).is_some_and(|probe| probe.target == *target && !probe.asking)
        };
        let hasty: HashSet<PodTarget> = changed.into_iter().filter(idle).collect();
        for lane in [&mut self.healthy, &mut self.suspect] {
            lane.waiting.retain(|waiting| !hasty.contains(waiting));
        }
        for target in hasty {
            let suspect = self.probes.get(&target.uid).is_some_and(|probe| probe.suspect);
            let lane = if suspect { &mut self.suspect } else { &mut self.healthy };
            lane.waiting.push_front(target);
        }
    }

    fn forget_all_but(&mut self, clusters: &[(ClusterKey, Vec<PodTarget>)]) {
        let wanted: HashSet<_> = clusters.iter().flat_map(|(_, pods)| pods).collect();
        let kept = &mut self.kept;
        self.probes.retain(|_, probe| {
            let stays = wanted.contains(&probe.target);
            if !stays && probe.connection.is_some() {
                *kept -= 1;
            }
            stays
        });
        self.healthy.waiting.retain(|target| wanted.contains(target));
        self.suspect.waiting.retain(|target| wanted.contains(target));
    }

    fn fill(&mut self, asking: &FuturesUnordered<BoxFuture<'static, Answer>>) {
        for suspect in [false, true] {
            let lane = if suspect { &mut self.suspect } else { &mut self.healthy };
            while lane.running < lane.places
                && let Some(target) = lane.waiting.pop_front()
            {
                let Some(probe) = self.probes.get_mut(&target.uid) else { continue };
                probe.asking = true;
                lane.running += 1;
                let connection = probe.connection.take();
                self.kept -= usize::from(connection.is_some());
                let order = self.board.order(&probe.cluster, &target.uid).filter(|order| !probe.has_refused(order));
                let order = order.zip(self.voice.borrow().clone());
                asking.push(Box::pin(ask(self.config, target, suspect, connection, order)));
            }
        }
    }

    fn finish(&mut self, answer: Answer) {
        let now = Instant::now();
        let lane = if answer.suspect { &mut self.suspect } else { &mut self.healthy };
        lane.running -= 1;
        let Some(probe) = self.probes.get_mut(&answer.target.uid).filter(|probe| probe.target == answer.target) else {
            return; // the pod went away meanwhile
        };
        probe.asking = false;
        probe.suspect = answer.result.as_ref().is_err_and(ScrapeError::hung);
        if let Some(connection) = answer.connection
            && self.kept < MOST_KEPT
        {
            probe.connection = Some(connection);
            self.kept += 1;
        }
        let heard = answer.result.and_then(|stats| probe.witness.hear(stats, now));
        self.counters.scraped(heard.as_ref().map_or_else(Some, |heard| heard.oddity.as_ref()), answer.took);
        let cpu = probe.witness.rate();
        if let Some((order, outcome)) = &answer.order {
            self.counters.ordered(outcome.as_ref().err());
            probe.refused = match outcome {
                Err(OrderError::Refused(_)) => Some((Some(order.clone()), REFUSED_REST)),
                Err(OrderError::Distrusted(_)) => Some((None, REFUSED_REST)),
                _ => None,
            };
        }
        self.board.update_pod(&probe.cluster, &probe.target, |reading| {
            reading.take(heard, cpu, now);
            reading.take_order(answer.order.map(|(_, order)| order));
        });
        if std::mem::take(&mut probe.counted)
            && let Some(outstanding) = self.outstanding.get_mut(&probe.cluster)
        {
            *outstanding -= 1;
            if *outstanding == 0 {
                self.outstanding.remove(&probe.cluster);
                self.board.announce([probe.cluster.clone()]);
            }
        }
    }
}

// === impl Probe ===

impl Probe {
    fn new(cluster: &ClusterKey, target: &PodTarget) -> Self {
        Self {
            cluster: cluster.clone(),
            target: target.clone(),
            connection: None,
            witness: Witness::default(),
            suspect: false,
            asking: false,
            counted: false,
            refused: None,
        }
    }

    /// A round begins.
    fn rest(&mut self) {
        self.refused = self.refused.take().filter(|(_, rounds)| *rounds > 0).map(|(order, rounds)| (order, rounds - 1));
    }

    fn has_refused(&self, order: &Order) -> bool {
        // Another list of peers under the same settings is taken, whatever becomes of those.
        let is_same = |refused: &Arc<Order>| refused.revision == order.revision && refused.peers == order.peers;
        self.refused.as_ref().is_some_and(|(refused, _)| refused.as_ref().is_none_or(is_same))
    }
}

/// One question with its deadline, and, where the answer shows that something is to be told, the order with one of its own.
async fn ask(
    config: Config,
    target: PodTarget,
    suspect: bool,
    kept: Option<Connection>,
    order: Option<(Arc<Order>, Voice)>,
) -> Answer {
    let started = Instant::now();
    let answer = if config.any_address || connection::may_be_dialled(target.ip) {
        let address = SocketAddr::new(target.ip, config.port);
        connection::ask(address, kept, started + config.timeout).await
    } else {
        Err(ScrapeError::ForbiddenAddress)
    };
    let (mut result, mut connection) = match answer {
        Ok((body, connection)) => (stats::decode(&body), connection),
        Err(error) => (Err(error), None),
    };
    let took = started.elapsed();
    let mut outcome = None;
    if let (Ok(stats), Some((order, voice))) = (&result, &order)
        && order.is_for(stats)
    {
        let address = SocketAddr::new(target.ip, config.port);
        let deadline = Instant::now() + config.timeout;
        match order::tell(order, &target.uid, voice, address, connection.take(), deadline).await {
            Ok((body, open)) => {
                // The newest words count, so that what was told is seen at once.
                (result, connection) = (stats::decode(&body), open);
                outcome = Some((order.clone(), Ok(())));
            }
            Err(error) => outcome = Some((order.clone(), Err(error))),
        }
    }
    Answer { target, suspect, result, order: outcome, connection, took }
}

/// Time between two scrapes of a pod: `base` up to a thousand pods, as much again for each further thousand.
fn interval(base: Duration, pods: usize) -> Duration {
    base * u32::try_from(pods.div_ceil(PODS_PER_SECOND)).unwrap_or(u32::MAX).max(1)
}
