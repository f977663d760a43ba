//! Which child has ended, without collecting it.

use std::mem::MaybeUninit;

use rustix::process::Pid;

/// A child that has ended and was not collected yet: its id, and that of its group, are still its own.
pub fn ended_child() -> Option<Pid> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: waitid writes to `info` alone. All zeroes is valid for siginfo_t (plain numbers), and waitid with
    // WNOHANG leaves or sets the process id to 0 when no child has ended.
    let pid = unsafe {
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
            return None;
        }
        info.assume_init().si_pid()
    };
    Pid::from_raw(pid)
}
