//! What the primary tells about itself: the stats, put together when somebody asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use primary_protocol::{
    Listener, Memory, Reload as ReloadStats, STATS_VERSION, Shown, ShownWorker, Stats, Usage, Warning, WarningReason,
};

use super::{Primary, orders};
use crate::admin::{Ask, Reply, Want};
use crate::cgroup::Cgroups;
use crate::control::{Document, Task};
use crate::machine::{Event, Reload, ReloadState, Role, milliseconds};
use crate::{listener, proc, sockets};

/// Who holds connections is looked up at most this often.
const BUSY_EVERY: Duration = Duration::from_secs(1);

/// Warnings at most, as the protocol says.
const MAX_WARNINGS: usize = 8;

/// What is read from the kernel, and what of it is kept.
#[derive(Debug)]
pub(super) struct Readings {
    cgroups: Cgroups,
    kills: Option<u64>,
    /// How many connections each worker holds.
    connections: Option<BTreeMap<u32, u32>>,
    busy_at: Option<Instant>,
}

impl Readings {
    pub fn new(cgroups: Cgroups) -> Self {
        let kills = cgroups.out_of_memory_kills();
        Self { cgroups, kills, connections: None, busy_at: None }
    }

    /// What the container's memory limit leaves.
    pub fn free_memory(&self) -> Option<u64> {
        self.cgroups.free_memory()
    }

    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// The container's memory limit.
    pub fn memory_limit(&self) -> Option<u64> {
        self.cgroups.memory()?.limit_bytes
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
        let reply = match ask.want {
            Want::Life => Reply::Alive,
            Want::Stats => Reply::Stats(Box::new(self.stats())),
            Want::Metrics => {
                self.sample_now(true);
                return self.gather(ask.reply);
            }
            Want::Shown => {
                self.sampler.watch();
                self.sample_now(false);
                Reply::Shown(Box::new(self.shown()))
            }
            Want::Nonce => self.give_nonce(),
            Want::Signed(order) => self.on_signed(&order),
            Want::Task(task, document) => match self.carry_out(task, &document) {
                Ok(()) => Reply::Shown(Box::new(self.shown())),
                Err(why) => Reply::Refused(why),
            },
        };
        let _ = ask.reply.send(reply); // who asked may be gone
    }

    /// An order from the control socket.
    fn carry_out(&mut self, task: Task, document: &Document) -> Result<(), String> {
        let order = orders::order(task, document, self.machine.settings(), self.processors)?;
        self.machine.check(&order).map_err(|refusal| refusal.to_string())?;
        if let Some(count) = document.count.as_deref().and_then(|count| count.parse().ok()) {
            self.resize.count = count;
        }
        self.sample_now(false); // whether there is room for two depends on it
        self.feed(Event::Order(order));
        Ok(())
    }

    /// Everything.
    pub(super) fn shown(&mut self) -> Shown {
        let now = self.now();
        let stats = self.stats();
        let (connections, answering) = (self.samples.connections.clone(), self.answering());
        let processes = self.machine.seen().into_iter().map(|seen| ShownWorker {
            slot: seen.slot,
            pid: seen.pid,
            state: state_words(seen.role),
            age_milliseconds: milliseconds(now.saturating_sub(seen.since)),
            usage: Usage {
                connections: held_by(connections.as_ref(), Some(seen.pid)),
                requests: answering.get(&seen.pid).copied(),
                ..seen.usage
            },
        });
        Shown {
            stats,
            name: self.config.name.clone(),
            primary_pid: std::process::id(),
            command: self.wording.command.clone(),
            primary_memory_bytes: proc::own_memory(),
            processes: processes.collect(),
        }
    }

    pub(super) fn stats(&mut self) -> Stats {
        let now = self.now();
        let mut workers = self.machine.counts();
        workers.busy = self.busy_workers();
        let main = self.main.as_ref().map(|main| (main.address.to_string(), main.queue()));
        let opened = self.servers.listeners().map(|(name, socket)| (name.to_string(), listener::queue(socket)));
        let listeners = main.into_iter().chain(opened).map(|(address, queue)| Listener {
            address,
            queue_depth: queue.map(|queue| queue.depth),
            backlog: queue.map(|queue| queue.backlog),
        });
        let listeners = listeners.collect();
        let mut slots = self.machine.slot_stats(now);
        let answering = self.answering();
        for slot in &mut slots {
            slot.usage.requests = slot.pid.and_then(|pid| answering.get(&pid).copied());
            slot.usage.connections = held_by(self.samples.connections.as_ref(), slot.pid);
        }
        let mut warnings = self.machine.warnings(&self.wording, now);
        warnings.extend(self.swallowed_warning());
        warnings.extend(self.tls_warning());
        warnings.truncate(MAX_WARNINGS);
        Stats {
            version: STATS_VERSION,
            primary_version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_milliseconds: milliseconds(now),
            state: self.machine.replica_state(),
            workers,
            deaths: self.machine.deaths(),
            cpu: self.samples.cgroups.cpu(),
            memory: self.memory(),
            listeners,
            slots,
            warnings,
            replaced: self.machine.replaced(),
            reload: self.machine.reload().map(shown_reload),
            drained: self.machine.is_withdrawn(),
            told: self.remote.told(now),
            orders: self.remote.orders(),
            requests: self.requests(),
        }
    }

    /// The container's memory; where there is none, the cgroup is the whole machine's, and the workers' own with the primary's
    /// is what people want to know.
    fn memory(&self) -> Option<Memory> {
        if self.processors.in_container {
            return self.samples.cgroups.memory();
        }
        let workers: Option<u64> = self.machine.seen().iter().map(|seen| seen.usage.memory_bytes).sum();
        Some(Memory { usage_bytes: workers?.saturating_add(proc::own_memory()?), limit_bytes: None })
    }

    /// How many workers hold a connection that came from a shared socket, or to a port that they bound themselves.
    fn busy_workers(&mut self) -> Option<u32> {
        if let Some(held) = self.held_in_queue() {
            self.samples.connections = Some(held);
            self.samples.busy_at = Some(Instant::now());
        }
        if self.samples.busy_at.is_none_or(|at| at.elapsed() >= BUSY_EVERY) {
            self.samples.connections = self.count_connections();
            self.samples.busy_at = Some(Instant::now());
        }
        let held = self.samples.connections.as_ref()?;
        u32::try_from(held.values().filter(|connections| **connections > 0).count()).ok()
    }

    /// How many such connections each worker holds. `None` where that cannot be seen.
    fn count_connections(&self) -> Option<BTreeMap<u32, u32>> {
        let ports = self.ports();
        if ports.is_empty() {
            return None;
        }
        let accepted = sockets::accepted_on(&ports)?;
        if accepted.is_empty() {
            return Some(BTreeMap::new());
        }
        let groups = proc::groups();
        let mut held = BTreeMap::new();
        for worker in self.machine.workers() {
            let members = groups.get(&worker).map(Vec::as_slice).unwrap_or_default();
            let mut own = sockets::Inodes::new();
            for pid in members {
                own.extend(proc::held(*pid, &accepted)?); // one connection in two processes is one
            }
            held.insert(worker, u32::try_from(own.len()).unwrap_or(u32::MAX));
        }
        Some(held)
    }

    /// Workers speak TLS where they are asked in plain HTTP.
    fn tls_warning(&self) -> Option<Warning> {
        let meets_tls = self.queue.as_ref().is_some_and(|queue| queue.desk.meets_tls());
        meets_tls.then(|| Warning {
            reason: WarningReason::TlsBehindQueue,
            message: "The workers speak TLS, and with balancing Queue the primary asks them in plain HTTP: every request is \
                      answered with 502. Have them serve plain HTTP, and end TLS before the Service, or use balancing Shared."
                .to_string(),
        })
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

/// How many connections a worker holds, where that can be seen.
fn held_by(held: Option<&BTreeMap<u32, u32>>, pid: Option<u32>) -> Option<u32> {
    Some(held?.get(&pid?).copied().unwrap_or_default())
}

fn state_words(role: Role) -> String {
    match role {
        Role::Starting => "starting".to_string(),
        Role::Ready => "ready".to_string(),
        Role::Successor => "successor".to_string(),
        Role::Leaving(reason) => format!("leaving: {}", reason.words()),
    }
}

fn shown_reload(reload: &Reload) -> ReloadStats {
    let failure = if let ReloadState::Failed(why) = &reload.state { Some(why.clone()) } else { None };
    let ended = reload.state != ReloadState::Running;
    ReloadStats { number: reload.id, slots: reload.slots, done: reload.done, ended, failure }
}
