//! The command line, as clap knows it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{Balancing, Count, Ipc, LogFormat, values};
use crate::control::{Ctl, Document, Place, Task, Watched};
use crate::machine::{Adaptive, ReadyRule};
use crate::remote::Key;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Ready {
    /// Node's `listening`, else READY=1, else alive for --startup-seconds
    Auto,
    /// READY=1 to `NOTIFY_SOCKET` (`sd_notify`), or Node's process.send('ready')
    Notify,
    /// As soon as it is forked
    Immediate,
    /// It listens: by Node's cluster module, on a socket of its own, or by polling the inherited one
    Listening,
    /// With `--balancing queue`: a good answer (2xx or 3xx) to a GET for --ready-path
    Http,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Library {
    /// Programs that make an `AggregatorRegistry`
    PromClient,
}

impl From<Ready> for ReadyRule {
    fn from(ready: Ready) -> Self {
        match ready {
            Ready::Auto => Self::Auto,
            Ready::Notify => Self::Notify,
            Ready::Immediate => Self::Immediate,
            Ready::Listening => Self::Listening,
            Ready::Http => Self::Http,
        }
    }
}

/// Runs COMMAND as several workers that share one listening socket, and keeps them running.
///
/// Node's cluster module for any language: a program written for `cluster` runs as it is; any other program takes
/// the listening socket as file descriptor 3 (`LISTEN_FDS`, as under systemd), or binds its port itself.
#[derive(Debug, Parser)]
#[command(name = "primary", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
#[command(
    override_usage = "primary [OPTIONS] -- COMMAND [ARG]...\n       primary check [OPTIONS] -- COMMAND [ARG]...\n       primary ctl <status|top|logs|reload|drain|undrain|scale>\n       primary import-pm2 FILE\n       primary install DIR"
)]
#[command(after_help = "Signals: SIGTERM, SIGINT and SIGQUIT stop after a drain, a second one stops at once; SIGHUP, \
                        SIGUSR1 and SIGUSR2 go to every worker.\nExit codes: 0 stopped as asked, 64 wrong options, \
                        71 the system refused, 126 or 127 COMMAND cannot be started.\n\
                        Example: primary -i max --listen '[::]:8000' -- node server.js")]
pub(super) struct Cli {
    #[command(subcommand)]
    pub task: Option<SubTask>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum SubTask {
    /// Looks at a primary that runs on this machine, or tells it what to do
    Ctl(CtlArgs),
    /// Says what would be run with these options, and whether it can be; runs nothing
    Check(Box<RunArgs>),
    /// Translates an ecosystem file of PM2 into files for --config, and says what of it has no equivalent
    ImportPm2 {
        /// ecosystem.config.js, or the same as .json or .yaml
        file: PathBuf,
        /// The part that is laid over env, as in `--env production`
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
        /// Write NAME.toml for each app into this folder, in place of printing them
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Copies this executable to DIR/primary, for an init container
    Install {
        /// An existing folder
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Take options from this file (.toml, .yaml or .json): their names in camelCase, and `command`; flags and variables win
    #[arg(short, long, value_name = "FILE", env = "WORKERCLUSTER_CONFIG")]
    pub config: Option<PathBuf>,
    /// How many workers: a number, or `max` for as many as the container's CPU limit allows
    #[arg(short, long, value_name = "COUNT", env = "WORKERCLUSTER_INSTANCES", default_value = "max")]
    pub instances: Count,
    /// Name in log lines and metrics
    #[arg(short, long, env = "WORKERCLUSTER_NAME")]
    pub name: Option<String>,
    /// Open this listening socket and share it among the workers
    #[arg(long, value_name = "ADDR:PORT", env = "WORKERCLUSTER_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// How new connections come to workers: all accept from one socket; each has its own, and none gets any while it drains; the primary
    /// accepts, and hands them over Node's channel; or the primary takes requests of HTTP/1.1, and gives each to the worker that is free next
    #[arg(long, env = "WORKERCLUSTER_BALANCING", value_enum, default_value = "shared", ignore_case = true)]
    pub balancing: Balancing,
    /// With `--balancing steered`: for so long a fresh worker gets fewer new connections than the others, at first a quarter of theirs
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_SLOW_START_SECONDS", default_value = "0", value_parser = values::seconds)]
    pub slow_start_seconds: Duration,
    /// With `--balancing queue`: so many requests may be with one worker at a time; 64 for Node programs and 1 for others unless given
    #[arg(long, value_name = "COUNT", env = "WORKERCLUSTER_MAX_IN_FLIGHT_PER_WORKER")]
    pub max_in_flight_per_worker: Option<NonZeroU32>,
    /// With `--balancing queue`: so many requests may wait for a worker; more are told to come again (503)
    #[arg(long, value_name = "COUNT", env = "WORKERCLUSTER_QUEUE_MAX_WAITING", default_value = "1000")]
    pub queue_max_waiting: NonZeroU32,
    /// With `--balancing queue`: for so long a request may wait, then it is told to come again (503)
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_QUEUE_MAX_WAIT_SECONDS", default_value = "30", value_parser = values::timeout)]
    pub queue_max_wait_seconds: Duration,
    /// With `--balancing queue`: believe what X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and Forwarded say, as behind an ingress that sets them
    #[arg(long, env = "WORKERCLUSTER_TRUST_FORWARDED")]
    pub trust_forwarded: bool,
    /// With `--balancing queue`: requests for these paths that are the same, and come while one of them is on its way, get that one's answer;
    /// paths with commas, each as it is or with /* at its end for all below it
    #[arg(long, value_name = "PATHS", env = "WORKERCLUSTER_SINGLE_FLIGHT", value_delimiter = ',', value_parser = values::path)]
    pub single_flight: Vec<String>,
    /// With --single-flight: also where the answer has Set-Cookie, or Cache-Control with private or no-store
    #[arg(long, env = "WORKERCLUSTER_SHARE_CREDENTIALS")]
    pub share_credentials: bool,
    /// With `--balancing queue`: set this cookie, with which a client comes back to the worker that answered it first, for as long as that lives
    #[arg(long, value_name = "NAME", env = "WORKERCLUSTER_AFFINITY_COOKIE", value_parser = values::cookie)]
    pub affinity_cookie: Option<String>,
    /// Serve /livez, /readyz, /metrics and /v1/stats here; off unless given
    #[arg(long, value_name = "ADDR:PORT", env = "WORKERCLUSTER_ADMIN")]
    pub admin: Option<SocketAddr>,
    /// Where `primary ctl` reaches this primary: `auto` (found by name or process id), `off`, or a path
    #[arg(long, value_name = "auto|off|PATH", env = "WORKERCLUSTER_CONTROL", default_value = "auto")]
    pub control: Place,
    /// Take orders over the network, on --admin, that are signed with one of these keys of Ed25519 (hexadecimal, with commas)
    #[arg(long, value_name = "KEYS", env = "WORKERCLUSTER_CONTROL_KEYS", value_delimiter = ',')]
    pub control_keys: Vec<Key>,
    /// The UID of this pod: orders over the network that name another one are refused
    #[arg(long, value_name = "UID", env = "WORKERCLUSTER_POD_UID", default_value = "", hide_default_value = true)]
    pub pod_uid: String,
    /// What the operator calls the settings that this primary is started with
    #[arg(long, value_name = "NAME", env = "WORKERCLUSTER_CONFIG_REVISION", default_value = "", hide = true)]
    pub config_revision: String,
    /// The reload that this primary is started after
    #[arg(long, value_name = "ID", env = "WORKERCLUSTER_RELOAD_ID", hide = true)]
    pub reload_id: Option<String>,
    /// Let the number of workers follow the load, between the least and the most
    #[arg(long, value_name = "MIN-MAX", env = "WORKERCLUSTER_ADAPTIVE", value_parser = values::adaptive)]
    pub adaptive: Option<Adaptive>,
    /// What makes a worker ready
    #[arg(long, env = "WORKERCLUSTER_READY", value_enum, default_value = "auto", ignore_case = true)]
    pub ready: Ready,
    /// With `--ready http`: the path that a worker is asked for until it gives a good answer
    #[arg(long, value_name = "PATH", env = "WORKERCLUSTER_READY_PATH", default_value = "/", value_parser = values::path)]
    pub ready_path: String,
    /// Alive that long counts as ready when nothing better is to be had
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_STARTUP_SECONDS", default_value = "1", value_parser = values::seconds)]
    pub startup_seconds: Duration,
    /// Give workers Node's IPC channel; auto: if COMMAND is a Node program
    #[arg(long, env = "WORKERCLUSTER_IPC", value_enum, default_value = "auto", ignore_case = true)]
    pub ipc: Ipc,
    /// How long workers may finish what is in flight after they were told to stop
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_DRAIN_SECONDS", default_value = "30", value_parser = values::seconds)]
    pub drain_seconds: Duration,
    /// Send Node workers the message `shutdown` before they are asked to stop, as PM2 does with `shutdown_with_message`
    #[arg(long, env = "WORKERCLUSTER_SHUTDOWN_MESSAGE")]
    pub shutdown_message: bool,
    /// Put what Node workers measure with this library together into /metrics, as its cluster aggregation does
    #[arg(long, value_name = "LIBRARY", env = "WORKERCLUSTER_WORKER_METRICS", value_enum, ignore_case = true)]
    pub worker_metrics: Option<Library>,
    /// How long to keep serving after SIGTERM, while load balancers forget this replica
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_ENDPOINTS_DELAY_SECONDS", default_value = "0", value_parser = values::seconds)]
    pub endpoints_delay_seconds: Duration,
    /// Wait before the next fork after a worker that ended before it was ready for 1 s; grows by half each time
    #[arg(long, value_name = "MILLISECONDS", env = "WORKERCLUSTER_RESTART_INITIAL_MILLISECONDS", default_value = "100", value_parser = values::milliseconds)]
    pub restart_initial_milliseconds: Duration,
    /// The longest wait before a fork
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_RESTART_MAX_SECONDS", default_value = "15", value_parser = values::seconds)]
    pub restart_max_seconds: Duration,
    /// A worker that lived that long makes earlier failures forgotten
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_RESTART_RESET_AFTER_SECONDS", default_value = "30", value_parser = values::seconds)]
    pub restart_reset_after_seconds: Duration,
    /// Replace a worker that uses more memory than this (PSS): the next is ready before it drains
    #[arg(long, value_name = "SIZE", env = "WORKERCLUSTER_RECYCLE_MEMORY", value_parser = values::bytes)]
    pub recycle_memory: Option<u64>,
    /// Replace the largest worker that has grown by half since it began, when the container uses so many hundredths of its memory limit; 100
    /// for never
    #[arg(long, value_name = "PERCENT", env = "WORKERCLUSTER_RECYCLE_CONTAINER_PERCENT", default_value = "85", value_parser = clap::value_parser!(u32).range(50..=100))]
    pub recycle_container_percent: u32,
    /// Replace a worker of this age, less up to a tenth of it, so that not all go at once
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_RECYCLE_AGE_SECONDS", value_parser = values::age)]
    pub recycle_age_seconds: Option<Duration>,
    /// With `--balancing queue`: replace a worker after so many requests, less up to a tenth of them
    #[arg(long, value_name = "COUNT", env = "WORKERCLUSTER_RECYCLE_REQUESTS")]
    pub recycle_requests: Option<NonZeroU64>,
    /// Kill a ready worker that sent no WATCHDOG=1 for this long after it had begun to, or that moved no byte and used
    /// no processor time while work waited for it; off unless given
    #[arg(long, value_name = "SECONDS", env = "WORKERCLUSTER_HANG_TIMEOUT_SECONDS", value_parser = values::timeout)]
    pub hang_timeout_seconds: Option<Duration>,
    /// The signal for a hung worker, so that it can leave a trace; SIGKILL follows after 5 s
    #[arg(long, value_name = "SIGNAL", env = "WORKERCLUSTER_HANG_SIGNAL", default_value = "SIGABRT", value_parser = values::signal)]
    pub hang_signal: i32,
    /// The container's CPU request in thousandths of a CPU, for `max` where there is no limit; 0 for none
    #[arg(long, value_name = "MILLICORES", env = "WORKERCLUSTER_CPU_REQUEST_MILLICORES", default_value = "0")]
    pub cpu_request_millicores: u64,
    /// How the primary's own log lines look (workers' lines pass through as they are)
    #[arg(long, env = "WORKERCLUSTER_LOG_FORMAT", value_enum, default_value = "auto", ignore_case = true)]
    pub log_format: LogFormat,
    /// The program to run, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How to reach the primary, and what for.
#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    /// The name of the primary, where several run
    #[arg(id = "ctl_name", short = 'n', long = "name", value_name = "NAME", global = true)]
    name: Option<String>,
    /// The primary's control socket, if it was started with a path
    #[arg(id = "ctl_control", long = "control", value_name = "PATH", global = true)]
    control: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: CtlTask,
}

#[derive(Debug, Subcommand)]
enum CtlTask {
    /// Shows the replica and every worker
    Status,
    /// The same, again every second, until it is interrupted
    Top,
    /// What the workers write, where the primary's output is a file; else where it is to be found
    Logs {
        /// So many of the last lines
        #[arg(short = 'l', long, value_name = "COUNT", default_value = "20")]
        lines: usize,
        /// Go on as lines are written
        #[arg(short, long)]
        follow: bool,
    },
    /// Replaces all workers, a few at a time: the next is ready before the one before it drains
    Reload {
        /// So many at a time
        #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
        at_once: u32,
        /// Do not wait until all are replaced
        #[arg(long)]
        no_wait: bool,
    },
    /// Lets one worker finish and forks none in its place; without SLOT the replica is not ready any more and serves on
    Drain {
        /// The number of the worker's slot
        slot: Option<u32>,
    },
    /// The opposite of drain
    Undrain {
        /// The number of the worker's slot
        slot: Option<u32>,
    },
    /// Changes the number of workers until the primary is started again
    Scale {
        /// A number, or `max` for as many as the container's CPU limit allows
        count: String,
    },
}

impl From<CtlArgs> for Ctl {
    fn from(args: CtlArgs) -> Self {
        let what = match args.what {
            CtlTask::Status => Watched::Status,
            CtlTask::Top => Watched::Top,
            CtlTask::Logs { lines, follow } => Watched::Logs(lines, follow),
            CtlTask::Reload { at_once, no_wait } => {
                Watched::Order(Task::Reload, Document { at_once: Some(at_once), ..Document::default() }, !no_wait)
            }
            CtlTask::Drain { slot } => Watched::Order(Task::Drain, Document { slot, ..Document::default() }, false),
            CtlTask::Undrain { slot } => Watched::Order(Task::Undrain, Document { slot, ..Document::default() }, false),
            CtlTask::Scale { count } => {
                Watched::Order(Task::Scale, Document { count: Some(count), ..Document::default() }, false)
            }
        };
        Self { file: args.control, name: args.name, what, json: args.json }
    }
}
