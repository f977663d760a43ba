//! How a worker ended, and under which verdict that counts.

use std::fmt;

use primary_protocol::Deaths;

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its program could not be executed; the words say why.
    NotExecuted(String),
}

impl Exit {
    /// Whether the program ended with an error of its own, as opposed to a kill from outside.
    pub(super) fn is_failure_of_its_own(&self) -> bool {
        matches!(self, Self::Code(code) if *code != 0) || *self == Self::Signal(libc::SIGABRT)
    }

    /// Counts a death under exactly one verdict.
    pub(super) fn count(&self, deaths: &mut Deaths, was_ready: bool, out_of_memory: bool) {
        match self {
            _ if out_of_memory => deaths.out_of_memory += 1,
            _ if !was_ready => deaths.never_ready += 1,
            Self::Code(0) => deaths.exited += 1,
            _ => deaths.crashed += 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(formatter, "signal {signal} ({name})"),
                None => write!(formatter, "signal {signal}"),
            },
            Self::NotExecuted(why) => formatter.write_str(why),
        }
    }
}

/// The name of a signal that commonly ends programs.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

/// The number of a signal that commonly ends programs, by its name with or without `SIG`.
pub fn signal_number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let wanted = |number: &i32| {
        signal_name(*number).is_some_and(|known| known == name || known.strip_prefix("SIG") == Some(&name))
    };
    (1..=31).find(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        for (name, number) in [("SIGABRT", libc::SIGABRT), ("quit", libc::SIGQUIT), ("SIGUSR1", libc::SIGUSR1)] {
            assert_eq!(signal_number(name), Some(number));
        }
        assert_eq!(signal_number("SIGSTOP"), None, "it ends nothing");
    }
}
