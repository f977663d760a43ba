//! For how long the scheduler lets a thread run before others have their turn.

use std::io;
use std::time::Duration;

use libc::{SCHED_OTHER, SYS_sched_getattr, SYS_sched_setattr, sched_attr};

/// Shortens the slice of the calling thread, and of all threads and processes that it starts from now on. It has no more of a processor, and has it
/// sooner: since Linux 6.12 whoever runs is not interrupted before the end of its slice, be that by one who has waited for longer. Older kernels take it and do nothing. Threads
/// of another class than the usual are left as they are.
///
/// # Errors
/// Where the kernel, or a filter of system calls, refuses it.
pub fn shorten_slice(to: Duration) -> io::Result<()> {
    let size = u32::try_from(size_of::<sched_attr>()).unwrap_or_default();
    let mut attributes = sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let normal = u32::try_from(SCHED_OTHER).unwrap_or_default();
    // SAFETY: the kernel writes at most `size` bytes to `attributes`, which has as many. Thread 0 is the calling one.
    let read = unsafe { libc::syscall(SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.sched_policy != normal {
        return Ok(());
    }
    // What else it says, as the niceness, stays.
    attributes.sched_runtime = u64::try_from(to.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads as many bytes as `attributes` says that it has.
    let written = unsafe { libc::syscall(SYS_sched_setattr, 0, &raw const attributes, 0) };
    if written == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_started_later_have_it_too_and_the_rest_stays() {
        std::thread::spawn(|| {
            shorten_slice(Duration::from_micros(100)).unwrap();
            let seen = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default());
            let seen = seen.join().unwrap();
            // Kernels that have none say nothing of it.
            if let Some(line) = seen.lines().find(|line| line.starts_with("se.slice")) {
                assert!(line.ends_with(" 100000"), "{line}");
            }
        })
        .join()
        .unwrap();
    }
}
