//! The loop around the machine: turns signals, ends of processes, messages and time into events, and does what the
//! machine says. Everything here is on one thread; nothing in it waits for a worker.

mod door;
mod effects;
mod events;
mod gathering;
mod orders;
mod pace;
mod passing;
mod probe;
mod queue;
mod recent;
mod remote;
mod report;
mod resize;
mod samples;
mod steering;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin::{self, Ask};
use crate::cgroup::Cgroups;
use crate::command::{Kind, resolve};
use crate::config::{Balancing, Config, Ipc};
use crate::control;
use crate::count::{self, Processors};
use crate::ipc::broker::Broker;
use crate::ipc::channel::{Ears, Outbox};
use crate::ipc::passing::{Passing, WorkerId};
use crate::ipc::servers::{Main, Servers};
use crate::kernel::Forked;
use crate::launch::Launcher;
use crate::log::{Level, Log};
use crate::machine::{Event, Machine, Moment, Policy, Settings, Sockets, Wording};
use crate::notify::Said;
use crate::queue::{Private, Service};
use crate::remote::{Guard, Refusals};
use door::Door;
use gathering::Gathering;
use probe::Probe;
use queue::Knocks;
use recent::Marks;
use remote::Remote;
use report::Readings;
use resize::Resize;
use samples::Sampler;
use steering::Steering;

/// Messages from all channels that may wait for the loop; a worker that says more waits in its own socket.
const CHANNEL_QUEUE: usize = 256;

/// Clients have so long to take their last answers when all workers have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The same for `READY=1`.
const NOTIFY_QUEUE: usize = 64;

/// Why the primary cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command is not there, and nobody would see it in the stats.
    #[error("{0}. Correct the command after `--`, or PATH")]
    Command(#[from] crate::command::CommandError),
    /// A port is taken, or may not be opened.
    #[error("{flag} {address}: {cause}. {next}")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// Its value.
        address: std::net::SocketAddr,
        /// The kernel's words.
        cause: io::Error,
        /// What to do.
        next: &'static str,
    },
    /// The control socket cannot be opened where it was asked for.
    #[error("{0}")]
    Control(#[from] control::OpenError),
    /// The kernel refused something else.
    #[error("the system refused to {action}: {cause}")]
    System {
        /// What.
        action: &'static str,
        /// The kernel's words.
        cause: io::Error,
    },
}

/// The primary with everything it holds.
struct Primary {
    config: Config,
    machine: Machine,
    started: Instant,
    launcher: Launcher,
    /// The listening socket, while the primary has one.
    main: Option<Main>,
    servers: Servers,
    passing: Passing,
    /// Where the primary takes requests.
    queue: Option<Service>,
    knocks: Knocks,
    marks: Marks,
    broker: Broker,
    children: BTreeMap<u32, Child>,
    /// Workers that were forked until now.
    forked: WorkerId,
    /// `NOTIFY_SOCKET` of each slot that was used.
    notify: BTreeMap<u32, String>,
    said: mpsc::Sender<Said>,
    /// Events that effects brought about, not taken in yet.
    pending: VecDeque<Event>,
    ears: Ears,
    tasks: JoinSet<()>,
    probe: Probe,
    door: Door,
    gathering: Gathering,
    steering: Steering,
    samples: Readings,
    sampler: Sampler,
    remote: Remote,
    processors: Processors,
    resize: Resize,
    wording: Wording,
    channel_swallowed: bool,
    log: Log,
    /// Ended processes may be left to be collected.
    unreaped: bool,
    finished: bool,
}

/// Whether a worker accepts on a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepts {
    NotYet,
    Yes,
    /// It did, and closed its server.
    NoMore,
}

/// What the primary keeps of a worker.
struct Child {
    forked: Forked,
    /// Its number, that no other has.
    id: WorkerId,
    /// Its end of Node's channel.
    outbox: Option<Outbox>,
    /// Its own sockets, where it has some.
    private: Option<Private>,
    /// Whether it was seen to accept on one of them.
    accepts: Accepts,
    /// The log knows that a message of the worker was too long.
    reported_drop: bool,
    /// The log knows that messages of others for it were dropped.
    reported_flood: bool,
}

/// Runs workers until told to stop.
///
/// # Errors
/// When the primary cannot start; what happens later is no error but a state.
pub async fn run(mut config: Config) -> Result<(), StartError> {
    let system = |action| move |cause| StartError::System { action, cause };
    let file = config.command.first().map(|name| resolve(name, std::env::var_os("PATH").as_deref()));
    if let (Some(Err(error)), None) = (&file, config.admin) {
        return Err(error.clone().into());
    }
    let kind = Kind::of(&config.command, file.and_then(Result::ok).as_deref());
    let channel = config.gives_channel(kind);
    let admin = match config.admin {
        Some(address) => Some(admin::open(address).map_err(|cause| busy("--admin", address, cause))?),
        None => None,
    };
    let main = match config.listen {
        Some(address) => Some(Main::open(address, config.balancing).map_err(|cause| busy("--listen", address, cause))?),
        None => None,
    };
    let cgroups = Cgroups::of_this_process();
    let processors = Processors::of_this_process(&cgroups, config.cpu_request_millicores);
    let count = count::resolve(config.count, processors);
    let control = control::open(&config.control, config.name.as_deref())?;
    let port = config.listen.map(|address| address.port());
    let mut launcher = Launcher::new(config.command.clone(), port, channel).map_err(system("take the command"))?;
    // As PID 1 orphans fall to us anyway; elsewhere only this way, and then whole trees can be ended.
    let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));

    if config.balancing == Balancing::Queue {
        launcher.limit_descriptors(queue::raise_descriptors());
    }
    let queue = queue::start(&config, kind, main.as_ref()).map_err(system("lead requests"))?;
    let remote = remote(&mut config)?;
    let signals = events::Signals::new().map_err(system("watch signals"))?;
    let log = Log::start(config.log_format, config.name.clone()).map_err(system("start the log"))?;
    let mut tasks = JoinSet::new();
    let (said, what_is_said) = mpsc::channel::<Said>(NOTIFY_QUEUE);
    let (asks, asked) = mpsc::channel::<Ask>(admin::MAX_CONNECTIONS);
    if let Some(listener) = admin {
        tasks.spawn(admin::serve(listener, asks.clone()));
    }
    if let Some(listener) = control {
        let listener = tokio::net::UnixListener::from_std(listener).map_err(system("watch the control socket"))?;
        tasks.spawn(control::serve(listener, asks));
    }
    let (channel_events, channel_messages) = mpsc::channel(CHANNEL_QUEUE);

    let passing = Passing::default();
    let mut primary = Primary {
        machine: Machine::new(policy(&config, channel, kind, processors), settings(&config, count)),
        started: Instant::now(),
        launcher,
        main,
        servers: Servers::new(config.balancing == Balancing::Passing),
        passing: passing.clone(),
        queue,
        knocks: Knocks::default(),
        marks: Marks::default(),
        broker: Broker::default(),
        children: BTreeMap::new(),
        forked: first_number(),
        notify: BTreeMap::new(),
        said,
        pending: VecDeque::new(),
        ears: Ears::new(channel_events, passing, config.gather),
        tasks,
        probe: Probe::default(),
        door: Door::default(),
        gathering: Gathering::default(),
        steering: Steering::default(),
        samples: Readings::new(cgroups),
        sampler: Sampler::default(),
        remote,
        processors,
        resize: Resize::new(config.count),
        wording: Wording { command: command_line(&config), port, inherits: config.balancing != Balancing::Passing },
        channel_swallowed: kind == Kind::PackageRunner && config.ipc != Ipc::None,
        log,
        config,
        unreaped: false,
        finished: false,
    };
    primary.greet();
    let inputs = events::Inputs { signals, channel_messages, what_is_said, asked };
    primary.turn(inputs).await;
    if let Some(queue) = &primary.queue {
        queue.finish(LAST_ANSWERS).await;
    }
    primary.servers.unlink_files();
    primary.log.finish();
    Ok(())
}

/// Workers are numbered from here: with another number at each start, none gets an address that an orphan of the last one still has.
fn first_number() -> WorkerId {
    let mut bytes = [0; 3];
    let _ = getrandom(&mut bytes, GetRandomFlags::empty()); // zero does as well
    let [high, middle, low] = bytes;
    u64::from_be_bytes([0, 0, 0, 0, 0, high, middle, low])
}

/// Who may give orders over the network.
fn remote(config: &mut Config) -> Result<Remote, StartError> {
    let mut secret = [0_u8; 32];
    // Without it anybody could make nonces of ours.
    getrandom(&mut secret, GetRandomFlags::empty())
        .map_err(|error| StartError::System { action: "give random bytes", cause: error.into() })?;
    let guard = Guard::new(std::mem::take(&mut config.control_keys), std::mem::take(&mut config.pod_uid), secret);
    Ok(Remote {
        guard,
        told: config.told.take(),
        withdrawn: None,
        listed: None,
        taken: 0,
        refusals: Refusals::default(),
    })
}

fn policy(config: &Config, channel: bool, kind: Kind, processors: Processors) -> Policy {
    let mut seed = [0_u8; 8];
    let _ = getrandom(&mut seed, GetRandomFlags::empty()); // a fixed seed only makes replicas retry together
    Policy {
        ready: config.ready,
        listens: config.listen.is_some(),
        channel,
        stop_group: kind.needs_group_signal(),
        sockets: match config.balancing {
            Balancing::Shared | Balancing::Passing => Sockets::Shared,
            Balancing::Steered => Sockets::PerSlot,
            Balancing::Queue => Sockets::PerWorker,
        },
        slow_start: config.slow_start,
        starts_at_once: processors.at_once(),
        seed: u64::from_ne_bytes(seed),
    }
}

/// What the primary starts with.
fn settings(config: &Config, count: u32) -> Settings {
    Settings {
        count,
        adaptive: config.adaptive,
        startup: config.startup,
        drain: config.drain,
        endpoints_delay: config.endpoints_delay,
        backoff: config.backoff,
        hang: config.hang,
        recycle: config.recycle,
    }
}

fn busy(flag: &'static str, address: std::net::SocketAddr, cause: io::Error) -> StartError {
    let next = match cause.kind() {
        io::ErrorKind::AddrInUse => "Another program has this port: stop it, or give another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need a privilege: give one from 1024 up",
        io::ErrorKind::AddrNotAvailable => "Give an address of this machine, or [::] for all",
        _ => "Give another address",
    };
    StartError::Listen { flag, address, cause, next }
}

fn command_line(config: &Config) -> String {
    let words: Vec<String> = config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ").chars().take(200).collect()
}

impl Primary {
    /// The time, as the machine counts it.
    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// The ports on which workers serve.
    fn ports(&self) -> BTreeSet<u16> {
        let mut ports = self.servers.ports();
        ports.extend(self.launcher.port());
        ports
    }

    /// Says what was understood.
    fn greet(&mut self) {
        let count = self.machine.counts().desired;
        let channel = if self.launcher.gives_channel() { ", with Node's channel" } else { "" };
        let listens = self.main.as_ref().map(|main| format!(" on {}", main.address)).unwrap_or_default();
        let message = format!("{count} workers{listens}{channel}: {}", self.wording.command);
        let fields = [("event", serde_json::json!("started")), ("workers", serde_json::json!(count))];
        self.log.write(Level::Info, &message, &fields);
        if let Some(warning) = self.swallowed_warning() {
            self.log.write(Level::Warning, &warning.message, &[("reason", serde_json::json!(warning.reason))]);
        }
    }

    /// Lets the machine take in an event, and does what it says, until nothing more follows from it.
    fn feed(&mut self, event: Event) {
        self.pending.push_back(event);
        while let Some(event) = self.pending.pop_front() {
            let now = self.now();
            for effect in self.machine.step(event, now) {
                self.perform(effect);
            }
            self.choose_receivers();
        }
    }
}
