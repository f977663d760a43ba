//! The command line, which the environment goes through too, and the command that stands in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::command::Kind;
use crate::config::{Count, Ipc, Task, parse};
use crate::count::{Processors, resolve};

/// Words that are separated by zeros.
pub(super) fn words(data: &[u8]) {
    let words = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    match parse(std::iter::once("primary".into()).chain(words)) {
        Ok(Task::Run(config) | Task::Check(config)) => {
            assert!(!config.command.is_empty());
            assert!(config.listen.is_none_or(|listen| listen.port() != 0));
            assert!(config.backoff.initial <= config.backoff.max);
            let kind = Kind::of(&config.command, None);
            assert!(kind.wants_channel(Ipc::Node) && !kind.wants_channel(Ipc::None));
            let _ = (kind.wants_channel(config.ipc), kind.needs_group_signal());
            let request_millicores = config.cpu_request_millicores;
            let processors = Processors { limit_millicores: None, request_millicores, affinity: 8, in_container: true };
            let workers = resolve(config.count, processors);
            assert!(workers >= 1 && (config.count != Count::Auto || workers <= 8));
        }
        Ok(Task::Import(import)) => assert!(!import.file.as_os_str().is_empty()),
        Ok(Task::Install(dir)) => assert!(!dir.as_os_str().is_empty()),
        Ok(Task::Ctl(ctl)) => assert!(!format!("{ctl:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
