//! What would be run, in words: `primary check`.

use std::fmt::Write;
use std::time::Duration;

use super::{Balancing, Config, Ipc};
use crate::cgroup::Cgroups;
use crate::command::{CommandError, Kind, resolve};
use crate::count::{self, Processors};
use crate::machine::{ReadyRule, Recycle};

/// The configuration as it is understood.
///
/// # Errors
/// Where the command cannot be started.
pub fn report(config: &Config, processors: Processors) -> Result<String, CommandError> {
    let program = config.command.first().map(|name| resolve(name, std::env::var_os("PATH").as_deref()));
    let file = program.transpose()?;
    let kind = Kind::of(&config.command, file.as_deref());
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let words: Vec<String> = config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    line("command", words.join(" "));
    if let Some(file) = &file {
        line("program", file.display().to_string());
    }
    let workers = match config.adaptive {
        Some(bounds) => format!("{} to {}, by the load", bounds.min, bounds.max),
        None => count::resolve(config.count, processors).to_string(),
    };
    line("workers", workers);
    line(
        "listen",
        config.listen.map_or_else(|| "what the program opens itself".to_string(), |address| address.to_string()),
    );
    let ready = match config.ready {
        ReadyRule::Auto => format!("listening, READY=1, or alive for {}", seconds(config.startup)),
        ReadyRule::Notify => "READY=1 or process.send('ready')".to_string(),
        ReadyRule::Immediate => "at once".to_string(),
        ReadyRule::Listening => "listening".to_string(),
        ReadyRule::Http => format!("a good answer to GET {}", config.ready_path),
    };
    line("ready", ready);
    let balancing = match config.balancing {
        Balancing::Shared => "all workers accept from one socket",
        Balancing::Steered => "a socket for each worker",
        Balancing::Passing => "the primary accepts, and hands over Node's channel",
        Balancing::Queue => "the primary takes requests, and gives each to the worker that is free next",
    };
    line("balancing", balancing.to_string());
    let channel = match (config.gives_channel(kind), kind == Kind::PackageRunner && config.ipc != Ipc::None) {
        (_, true) => "none: this command starts Node without passing the channel on; run what package.json has for it"
            .to_string(),
        (true, _) => "yes".to_string(),
        (false, _) => "no".to_string(),
    };
    line("Node channel", channel);
    line("drain", format!("{} after serving on for {}", seconds(config.drain), seconds(config.endpoints_delay)));
    let limit = Cgroups::of_this_process().memory().and_then(|memory| memory.limit_bytes);
    line("recycle", recycling(&config.recycle, limit));
    line(
        "hung",
        config.hang.map_or_else(|| "not looked for".to_string(), |hang| format!("after {}", seconds(hang.after))),
    );
    line("admin", config.admin.map_or_else(|| "off".to_string(), |address| address.to_string()));
    Ok(text)
}

/// When a worker gives way to a fresh one. `limit` is the container's memory limit, without which the rule about the container never holds; that is
/// said, because the options may be meant for another place than this.
fn recycling(recycle: &Recycle, limit: Option<u64>) -> String {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let memory = recycle.memory.map(|bytes| format!("above {}", mebibytes(bytes)));
    let age = recycle.age.map(|age| format!("after {}", seconds(age)));
    let full = recycle.container_percent.zip(limit).map(|(percent, limit)| {
        format!("at {percent} % of the container's {} the largest that has grown by half", mebibytes(limit))
    });
    let requests = recycle.requests.map(|requests| format!("after {requests} requests"));
    let rules: Vec<String> = [memory, age, requests, full].into_iter().flatten().collect();
    let rules = if rules.is_empty() { "never".to_string() } else { rules.join(", ") };
    match (recycle.container_percent, limit) {
        (Some(percent), None) => {
            format!("{rules} (no memory limit is seen here, of which {percent} % would be one more reason)")
        }
        _ => rules,
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_about_the_container_is_told_where_it_holds_and_where_it_does_not() {
        let own = Recycle {
            memory: Some(300 << 20),
            container_percent: None,
            age: Some(Duration::from_secs(60)),
            requests: None,
        };
        let container = Recycle { container_percent: Some(85), ..Recycle::default() };
        let full = "at 85 % of the container's 1024 MiB the largest that has grown by half";
        for (recycle, limit, expected) in [
            (Recycle::default(), Some(1 << 30), "never".to_string()),
            (own, Some(1 << 30), "above 300 MiB, after 60 s".to_string()),
            (container, Some(1 << 30), full.to_string()),
            (
                Recycle { container_percent: Some(85), ..own },
                Some(1 << 30),
                format!("above 300 MiB, after 60 s, {full}"),
            ),
            (
                container,
                None,
                "never (no memory limit is seen here, of which 85 % would be one more reason)".to_string(),
            ),
        ] {
            assert_eq!(recycling(&recycle, limit), expected);
        }
    }
}
