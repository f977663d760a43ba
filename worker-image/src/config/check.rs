//! What would be run, in words: `primary check`.

use std::fmt::Write;
use std::time::Duration;

use super::{Balancing, Config, Ipc};
use crate::command::{CommandError, Kind, resolve};
use crate::count::{self, Processors};
use crate::machine::ReadyRule;

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
    };
    line("ready", ready);
    let balancing = match config.balancing {
        Balancing::Shared => "all workers accept from one socket",
        Balancing::Steered => "a socket for each worker",
        Balancing::Passing => "the primary accepts, and hands over Node's channel",
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
    let memory = config.recycle.memory.map(|bytes| format!("above {} MiB", bytes >> 20));
    let age = config.recycle.age.map(|age| format!("after {}", seconds(age)));
    let recycle: Vec<String> = memory.into_iter().chain(age).collect();
    line("recycle", if recycle.is_empty() { "never".to_string() } else { recycle.join(", ") });
    line(
        "hung",
        config.hang.map_or_else(|| "not looked for".to_string(), |hang| format!("after {}", seconds(hang.after))),
    );
    line("admin", config.admin.map_or_else(|| "off".to_string(), |address| address.to_string()));
    Ok(text)
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f32())
}
