//! The command line: `kubectl wc …`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::{logs::Prefix, top::Order};

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-wc",
    bin_name = "kubectl wc",
    version,
    about = "Look at WorkerClusters, and steer their workers and rollouts",
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  kubectl wc status                       all WorkerClusters of the namespace
  kubectl wc status web --watch           one screen about one, drawn anew when something changes
  kubectl wc top web                      what each worker does
  kubectl wc logs web -f                  what the workers of all replicas write
  kubectl wc reload web                   fresh workers, pod by pod, none of them restarted
  kubectl wc rollout status web           wait until the rollout is done, or cannot be
  kubectl wc rollout undo web             back to the revision before

Exit codes: 0 done, 1 failed or not done, 64 wrong usage."
)]
pub struct CommandLine {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command, named as kubectl's.
#[derive(Debug, Args)]
pub struct Global {
    /// Namespace; without it the context's
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; without it the current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub context: Option<String>,
    /// Kubeconfig file; without it $KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Global options")]
    pub as_user: Option<String>,
    /// Group to act as, with --as; may be repeated
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "as_user",
        help_heading = "Global options"
    )]
    pub as_group: Vec<String>,
    /// Give up a call to the API server after this long
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Global options")]
    pub request_timeout: Duration,
    /// No colours; they are also off where the output is no terminal, and with $NO_COLOR
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replicas, workers, conditions, autoscaling, pods and events on one screen; without NAME a list
    #[command(after_help = "Examples:
  kubectl wc status -A
  kubectl wc status web -n shop --watch
  kubectl wc status web -o json | jq .pods")]
    Status(Status),
    /// What the workers of all replicas write, in the order in which they wrote it
    #[command(after_help = "Examples:
  kubectl wc logs web --tail 20
  kubectl wc logs web -f                  also of replicas that come later
  kubectl wc logs web --since 5m | jq .   lines of JSON stay as they are

Workers write to their pod's output, and the primary tells there how each of them ended.")]
    Logs(Logs),
    /// What each worker does: processor, memory, connections, restarts; drawn anew every second on a terminal
    #[command(after_help = "Examples:
  kubectl wc top web
  kubectl wc top web --sort-by memory
  kubectl wc top web -o json | jq '.[].told.processes[]'

The primaries are asked by way of the API server, which needs the right to get pods/proxy.")]
    Top(Top),
    /// Replace all workers by fresh ones, replica by replica: the next is ready before the one before it is asked to leave
    #[command(after_help = "Examples:
  kubectl wc reload web                   after a change of what programs read at their start
  kubectl wc reload web --at-once 2 --timeout 5m

Pods stay. It stops where a fresh worker does not get ready, and the others keep theirs.")]
    Reload(Reload),
    /// Have a replica be not ready and serve on: Services leave it out
    Drain(NamedPod),
    /// The opposite of drain
    Undrain(NamedPod),
    /// Follow, stop, continue, repeat and take back rollouts
    #[command(subcommand)]
    Rollout(Rollout),
}

#[derive(Debug, Args)]
pub struct Top {
    /// Name of the WorkerCluster
    pub name: String,
    /// Who comes first
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub sort_by: Order,
    /// Once, also on a terminal
    #[arg(long)]
    pub once: bool,
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Reload {
    /// Name of the WorkerCluster
    pub name: String,
    /// So many workers of a replica at a time
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub at_once: u32,
    /// Do not wait for the end
    #[arg(long)]
    pub no_wait: bool,
    /// Stop waiting after this long, as 90s or 5m; 0 is never
    #[arg(long, default_value = "0", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct NamedPod {
    /// Name of the pod
    #[arg(value_name = "POD")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Name of the WorkerCluster
    pub name: Option<String>,
    /// List those of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub all_namespaces: bool,
    /// Draw anew when something changes
    #[arg(short, long, conflicts_with_all = ["output", "all_namespaces"], requires = "name")]
    pub watch: bool,
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Name of the WorkerCluster
    pub name: String,
    /// Go on as lines are written, also in replicas that come later, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many of the last lines of each pod
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    pub tail: Option<i64>,
    /// Only what is newer than this, as 90s or 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Of the container's life before
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// When each line was written
    #[arg(long)]
    pub timestamps: bool,
    /// Mark each line with the pod's own part of its name
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub prefix: Prefix,
    /// Of this pod only
    #[arg(long, value_name = "NAME")]
    pub pod: Option<String>,
    /// Container; without it `worker`, or the first
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// At most so many pods at the same time
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub max_log_requests: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Wait until all replicas are of the current revision and available
    #[command(after_help = "Examples:
  kubectl wc rollout status web --timeout 5m
  kubectl wc rollout status web --watch=false

Exit codes: 0 done (with --watch=false also: under way), 1 failed, replaced, or not done in time.")]
    Status(RolloutStatus),
    /// The revisions that are kept, or what one of them holds
    #[command(after_help = "Examples:
  kubectl wc rollout history web
  kubectl wc rollout history web --revision 3
  kubectl wc rollout history web --diff 3         revision 3 against the present spec
  kubectl wc rollout history web --diff 2..3      revision 2 against revision 3")]
    History(History),
    /// Write an older revision back into the spec
    #[command(after_help = "Examples:
  kubectl wc rollout undo web                     to the revision before
  kubectl wc rollout undo web --to-revision 3
  kubectl wc rollout undo web --dry-run           only say what would change")]
    Undo(Undo),
    /// Let changes of the pods wait
    Pause(Named),
    /// Let changes of the pods go on
    Resume(Named),
    /// Replace all pods, as a rollout
    Restart(Named),
}

#[derive(Debug, Args)]
pub struct Named {
    /// Name of the WorkerCluster
    pub name: String,
}

#[derive(Debug, Args)]
pub struct RolloutStatus {
    /// Name of the WorkerCluster
    pub name: String,
    /// Wait for the end; false says how it stands
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub watch: bool,
    /// Stop waiting after this long, as 90s or 5m; 0 is never
    #[arg(long, default_value = "0", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// Fail where another revision takes the place of this one; 0 follows the latest
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    pub revision: i64,
}

#[derive(Debug, Args)]
pub struct History {
    /// Name of the WorkerCluster
    pub name: String,
    /// Show what this revision holds
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..), conflicts_with = "diff")]
    pub revision: Option<i64>,
    /// Show what changes from revision A to B, or from A to the present spec
    #[arg(long, value_name = "A[..B]", value_parser = pair, conflicts_with = "output")]
    pub diff: Option<(i64, Option<i64>)>,
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Undo {
    /// Name of the WorkerCluster
    pub name: String,
    /// The revision to go back to; 0 is the one before
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    pub to_revision: i64,
    /// Say what would change, have the API server check it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `90s`, `1h30m`, or `0`.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no duration: write a number and a unit, as 90s, 5m or 1h30m"))?;
    Duration::try_from(duration).map_err(|_| "a duration is not negative".into())
}

/// `3` or `2..3`.
fn pair(text: &str) -> Result<(i64, Option<i64>), String> {
    let number =
        |text: &str| text.parse().map_err(|_| format!("\"{text}\" is no number of a revision; write 3 or 2..3"));
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, Some(number(to)?))),
        None => Ok((number(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_of_kubectl_may_stand_anywhere() {
        for line in ["wc -n shop rollout status web", "wc rollout status web -n shop", "wc rollout -n shop status web"]
        {
            assert_eq!(parse(line).unwrap().global.namespace.as_deref(), Some("shop"), "{line}");
        }
    }

    #[test]
    fn watch_can_be_switched_off_as_in_kubectl() {
        for (line, wanted) in
            [("", true), (" --watch", true), (" -w", true), (" --watch=false", false), (" -w=false", false)]
        {
            let Command::Rollout(Rollout::Status(status)) =
                parse(&format!("wc rollout status web{line}")).unwrap().command
            else {
                panic!("{line}")
            };
            assert_eq!(status.watch, wanted, "{line}");
        }
    }

    #[test]
    fn durations_are_written_as_kubectl_takes_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").unwrap_err().contains("90s"));
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "wc status web -A",
            "wc status -A -n shop",
            "wc status --watch",
            "wc status web --watch -o json",
            "wc rollout history web --revision 2 --diff 1",
            "wc rollout undo web --to-revision -1",
            "wc status web --as-group dev",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_difference_is_of_two_revisions_or_of_one_and_the_spec() {
        assert_eq!(pair("2..3"), Ok((2, Some(3))));
        assert_eq!(pair("3"), Ok((3, None)));
        assert!(pair("2..").is_err());
    }
}
