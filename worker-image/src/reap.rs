//! Signals processes and collects them when they ended: workers, and the orphans that fall to the primary as PID 1 or subreaper.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpid};

use crate::kernel::ended_child;
use crate::machine::Exit;

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub pid: Pid,
    /// How.
    pub exit: Exit,
}

/// Collects the next ended process, or says that there is none. Before the process is collected and its id may be
/// given away, `before` sees it: that is the moment to kill the rest of its group.
pub fn next(before: impl FnOnce(Pid)) -> Option<Ended> {
    let pid = ended_child()?;
    before(pid);
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten()?;
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(0),
    };
    Some(Ended { pid, exit })
}

/// Sends a signal to a worker or its group. Only our own children are signalled: they keep their ids until we collect
/// them, and a group keeps its id as long as it has processes.
pub fn send_signal(pid: u32, signal: i32, group: bool) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) else { return };
    let _ = if group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
}

/// Kills every process of a group.
pub fn kill_group(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
}

/// Whether a group has processes.
pub fn group_exists(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
}
