//! The user's command: where its program is, and whether it is a Node program that wants Node's channel.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::Ipc;

/// Where programs are searched for without PATH, as container runtimes do.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An error shows so much of PATH.
const PATH_SHOWN: usize = 200;

/// The kernel reads no longer `#!` line either.
const SHEBANG_MAX: usize = 256;

/// Why a command cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such file.
    #[error("{0} was not found")]
    Missing(String),
    /// No such file in PATH.
    #[error("{0} was not found in PATH ({1})")]
    MissingInPath(String, String),
    /// A file that may not be executed.
    #[error("{0} is not executable for this user")]
    Forbidden(String),
}

impl CommandError {
    /// The exit code that shells use for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) | Self::MissingInPath(..) => 127,
            Self::Forbidden(_) => 126,
        }
    }
}

/// Finds the file of a program, as `execvp` would.
///
/// # Errors
/// When there is no such file, or it may not be executed.
pub fn resolve(program: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    let name = program.to_string_lossy().into_owned();
    let executable = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.as_bytes().contains(&b'/') {
        let file = PathBuf::from(program);
        return match (executable(&file), file.exists()) {
            (true, _) => Ok(file),
            (false, true) => Err(CommandError::Forbidden(name)),
            (false, false) => Err(CommandError::Missing(name)),
        };
    }
    let path = path.filter(|path| !path.is_empty()).unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut found = std::env::split_paths(path).map(|dir| dir.join(program)).filter(|file| file.is_file()).peekable();
    let exists = found.peek().is_some();
    match found.find(|file| executable(file)) {
        Some(file) => Ok(file),
        None if exists => Err(CommandError::Forbidden(name)),
        None => Err(CommandError::MissingInPath(name, path.to_string_lossy().chars().take(PATH_SHOWN).collect())),
    }
}

/// What kind of program a command starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Node, itself or as the first thing a shell runs.
    Node {
        /// Whether a shell may stay around it.
        shell: bool,
    },
    /// A package runner, which starts Node without passing its channel on.
    PackageRunner,
    /// A shell around something else.
    Shell,
    /// Anything else.
    Other,
}

impl Kind {
    /// Recognises a command by its words, and by the first line of its file.
    pub fn of(command: &[OsString], file: Option<&Path>) -> Self {
        let Some(program) = command.first() else { return Self::Other };
        let name = base_name(program);
        if is_runner(name) {
            return Self::PackageRunner;
        }
        if is_node(name) {
            return Self::Node { shell: false };
        }
        if matches!(name, b"sh" | b"bash" | b"dash" | b"ash" | b"zsh" | b"busybox") {
            return Self::of_shell(command);
        }
        if file.is_some_and(|file| shebang(file).is_some_and(|line| names_node(&line))) {
            return Self::Node { shell: false };
        }
        Self::Other
    }

    fn of_shell(command: &[OsString]) -> Self {
        let mut words = command.iter().skip(1).skip_while(|word| !is_command_flag(word));
        let script = words.nth(1).map(|script| script.to_string_lossy().into_owned()).unwrap_or_default();
        let is_assignment =
            |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'));
        // The last part of `cd app && npm start` is what runs on.
        let last = script.rsplit(['&', ';', '|', '\n']).find(|part| !part.trim().is_empty()).unwrap_or_default();
        let program = last.split_whitespace().find(|word| *word != "exec" && *word != "env" && !is_assignment(word));
        match program.map(|program| base_name(OsStr::new(program))) {
            Some(name) if is_node(name) => Self::Node { shell: true },
            Some(name) if is_runner(name) => Self::PackageRunner,
            _ => Self::Shell,
        }
    }

    /// Whether a worker gets Node's channel.
    pub fn wants_channel(self, ipc: Ipc) -> bool {
        match ipc {
            Ipc::Node => true,
            Ipc::None => false,
            Ipc::Auto => matches!(self, Self::Node { .. }),
        }
    }

    /// Whether the signal to stop has to reach the whole group, because the worker itself does not pass it on.
    pub fn needs_group_signal(self) -> bool {
        matches!(self, Self::Node { shell: true } | Self::Shell | Self::PackageRunner)
    }
}

/// `-c`, also among other letters as in `-ec`.
fn is_command_flag(word: &OsString) -> bool {
    let bytes = word.as_bytes();
    bytes.first() == Some(&b'-') && bytes.get(1) != Some(&b'-') && bytes.contains(&b'c')
}

fn base_name(program: &OsStr) -> &[u8] {
    program.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn is_node(name: &[u8]) -> bool {
    matches!(name, b"node" | b"nodejs")
}

fn is_runner(name: &[u8]) -> bool {
    matches!(name, b"npm" | b"npx" | b"yarn" | b"yarnpkg" | b"pnpm" | b"pnpx" | b"corepack")
}

fn shebang(file: &Path) -> Option<String> {
    let mut start = [0_u8; SHEBANG_MAX];
    let length = File::open(file).ok()?.read(&mut start).ok()?;
    let line = start.get(..length)?.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    Some(String::from_utf8_lossy(line).into_owned())
}

fn names_node(shebang: &str) -> bool {
    shebang.split_whitespace().any(|word| is_node(base_name(OsStr::new(word))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(words: &[&str]) -> Kind {
        let command: Vec<OsString> = words.iter().map(OsString::from).collect();
        Kind::of(&command, None)
    }

    #[test]
    fn node_is_recognised_also_behind_a_shell() {
        let plain = Kind::Node { shell: false };
        let shell = Kind::Node { shell: true };
        let cases: &[(&[&str], Kind)] = &[
            (&["node", "server.js"], plain),
            (&["/usr/local/bin/node", "--max-old-space-size=200", "server.js"], plain),
            (&["nodejs", "x"], plain),
            (&["sh", "-c", "node server.js"], shell),
            (&["sh", "-ec", "exec node server.js"], shell),
            (&["/bin/bash", "-c", "cd /app && NODE_ENV=production node ."], shell),
            (&["npm", "start"], Kind::PackageRunner),
            (&["sh", "-c", "npm run serve"], Kind::PackageRunner),
            (&["yarn", "start"], Kind::PackageRunner),
            (&["sh", "-c", "python3 app.py --name=node"], Kind::Shell),
            (&["sh", "run.sh"], Kind::Shell),
            (&["python3", "node"], Kind::Other),
        ];
        for (words, expected) in cases {
            assert_eq!(kind(words), *expected, "{words:?}");
        }
    }

    #[test]
    fn a_script_is_known_by_its_first_line() {
        for (line, expected) in [
            ("/usr/bin/env node", true),
            ("/usr/bin/env -S node --no-warnings", true),
            ("/usr/bin/node", true),
            ("/bin/sh", false),
            ("/usr/bin/env python3", false),
        ] {
            assert_eq!(names_node(line), expected, "{line}");
        }
    }

    #[test]
    fn a_program_is_found_in_path_or_the_error_says_where_it_was_searched() {
        assert!(resolve(OsStr::new("sh"), None).is_ok());
        assert!(resolve(OsStr::new("/bin/sh"), None).is_ok());
        let missing = resolve(OsStr::new("no-such-program"), Some(OsStr::new("/bin:/usr/bin")));
        assert_eq!(missing, Err(CommandError::MissingInPath("no-such-program".into(), "/bin:/usr/bin".into())));
        assert_eq!(resolve(OsStr::new("/no/such"), None), Err(CommandError::Missing("/no/such".into())));
        assert_eq!(resolve(OsStr::new("/etc/passwd"), None), Err(CommandError::Forbidden("/etc/passwd".into())));
        assert_eq!(CommandError::Missing(String::new()).exit_code(), 127);
    }
}
