//! What the primary tells about itself: the stats, put together when somebody asks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use primary_protocol::{Listener, STATS_VERSION, Stats, Warning, WarningReason};

use super::Primary;
use crate::admin::{Ask, Want};
use crate::cgroup::Cgroups;
use crate::machine::milliseconds;
use crate::{listener, proc};

/// Who holds connections is looked up at most this often.
const BUSY_EVERY: Duration = Duration::from_secs(1);

/// Warnings at most, as the protocol says.
const MAX_WARNINGS: usize = 8;

/// What is read from the kernel, and what of it is kept.
#[derive(Debug)]
pub(super) struct Samples {
    cgroups: Cgroups,
    kills: Option<u64>,
    busy: Option<u32>,
    busy_at: Option<Instant>,
}

impl Samples {
    pub fn new(cgroups: Cgroups) -> Self {
        let kills = cgroups.out_of_memory_kills();
        Self { cgroups, kills, busy: None, busy_at: None }
    }

    /// Whether the kernel killed a process of this container for memory since the last time.
    pub fn killed_for_memory(&mut self) -> bool {
        let before = self.kills;
        self.kills = self.cgroups.out_of_memory_kills();
        matches!((before, self.kills), (Some(before), Some(now)) if now > before)
    }
}

impl Primary {
    pub(super) fn answer(&mut self, ask: Ask) {
        let stats = match ask.want {
            Want::Life => None,
            Want::Stats => Some(Box::new(self.stats())),
        };
        let _ = ask.reply.send(stats); // who asked may be gone
    }

    fn stats(&mut self) -> Stats {
        let now = self.now();
        let mut workers = self.machine.counts();
        workers.busy = self.busy_workers();
        let main = self.main.as_ref().map(|main| (main.address.to_string(), main.socket.as_ref()));
        let opened = self.servers.listeners().map(|(name, socket)| (name.to_string(), socket));
        let listeners = main.into_iter().chain(opened).map(|(address, socket)| {
            let queue = listener::queue(socket);
            Listener { address, queue_depth: queue.map(|queue| queue.depth), backlog: queue.map(|queue| queue.backlog) }
        });
        let listeners = listeners.collect();
        let mut warnings = self.machine.warnings(&self.wording, now);
        warnings.extend(self.swallowed_warning());
        warnings.truncate(MAX_WARNINGS);
        Stats {
            version: STATS_VERSION,
            primary_version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_milliseconds: milliseconds(now),
            state: self.machine.replica_state(),
            workers,
            deaths: self.machine.deaths(),
            cpu: self.samples.cgroups.cpu(),
            memory: self.samples.cgroups.memory(),
            listeners,
            slots: self.machine.slot_stats(now),
            warnings,
        }
    }

    /// How many workers hold a connection that came from a shared socket, or to a port that they bound themselves.
    fn busy_workers(&mut self) -> Option<u32> {
        if self.samples.busy_at.is_none_or(|at| at.elapsed() >= BUSY_EVERY) {
            self.samples.busy = self.count_busy_workers();
            self.samples.busy_at = Some(Instant::now());
        }
        self.samples.busy
    }

    fn count_busy_workers(&self) -> Option<u32> {
        let mut ports: BTreeSet<u16> = self.servers.ports();
        ports.extend(self.launcher.port());
        if ports.is_empty() {
            return None;
        }
        let accepted = proc::accepted_on(&ports)?;
        if accepted.is_empty() {
            return Some(0);
        }
        let groups = proc::groups();
        let mut busy = 0;
        for worker in self.machine.workers() {
            let members = groups.get(&worker).map(Vec::as_slice).unwrap_or_default();
            let held: Option<Vec<bool>> = members.iter().map(|pid| proc::holds(*pid, &accepted)).collect();
            busy += u32::from(held?.contains(&true));
        }
        Some(busy)
    }

    /// The command starts Node in a way that keeps the channel from it.
    pub(super) fn swallowed_warning(&self) -> Option<Warning> {
        self.channel_swallowed.then(|| Warning {
            reason: WarningReason::ChannelSwallowed,
            message: format!(
                "`{}` starts Node without passing Node's channel on, so that its cluster module does not know of the \
                 other workers. Run what package.json has under this script's name directly, as in `node server.js` \
                 or `sh -c 'NODE_ENV=production node server.js'`.",
                self.wording.command
            ),
        })
    }
}
