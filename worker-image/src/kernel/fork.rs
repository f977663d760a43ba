//! Fork and exec of a worker, with everything that must happen between the two.
//!
//! Why not `std::process::Command`: `LISTEN_PID` has to carry the child's own process id, which is known only after
//! the fork, and the environment must be ready before it. Between fork and exec the child calls nothing but
//! async-signal-safe functions on memory that was prepared before, because another thread (the log's writer) may
//! have held the allocator's lock at the moment of the fork.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Rlimit, setpgid};

/// The first descriptor that a worker inherits beside the three standard ones, as systemd numbers them.
pub const FIRST_INHERITED_FD: RawFd = 3;

/// Descriptors to be inherited are lifted above this one before the fork, so that moving them to 3, 4, … in the
/// child cannot overwrite one that is still to be moved.
const LIFTED_FD_FLOOR: RawFd = 64;

/// Signals are numbered 1..=64 on Linux.
const LAST_SIGNAL: c_int = 64;

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Room for the decimal digits of any process id.
const PID_DIGITS: usize = 10;

/// A program to be executed, all memory of it laid out before the fork.
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Whether `LISTEN_PID` belongs into the environment.
    announce_pid: bool,
    /// What to write to the worker's `/proc/self/oom_score_adj`, if anything.
    oom_score: Option<CString>,
    /// How many descriptors the worker may have, where that is not what the primary may.
    descriptors: Option<Rlimit>,
}

impl Program {
    /// A program at `path` (already resolved) with its arguments, the first of them its own name.
    pub fn new(path: CString, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        Self { path, arguments, environment, announce_pid: false, oom_score: None, descriptors: None }
    }

    /// Adds `LISTEN_PID` with the worker's own process id.
    pub fn announcing_pid(mut self, announce: bool) -> Self {
        self.announce_pid = announce;
        self
    }

    /// Sets how many descriptors the worker may have.
    pub fn with_descriptors(mut self, limit: Option<Rlimit>) -> Self {
        self.descriptors = limit;
        self
    }

    /// Sets the worker's `oom_score_adj` where the kernel permits it.
    pub fn with_oom_score(mut self, score: Option<i32>) -> Self {
        self.oom_score = score.and_then(|score| CString::new(score.to_string()).ok());
        self
    }
}

/// A worker that was forked, before it is known whether its program could be executed.
#[derive(Debug)]
pub struct Forked {
    /// The worker's process id, also the id of its process group.
    pub pid: Pid,
    /// Holds the error number of a failed exec; end of file after a successful one. Does not block.
    exec_error: OwnedFd,
}

impl Forked {
    /// The error of the exec, once the process has ended; `None` if the program was executed.
    pub fn exec_error(&self) -> Option<io::Error> {
        let mut number = [0_u8; size_of::<c_int>()];
        match rustix::io::read(&self.exec_error, &mut number) {
            Ok(length) if length == number.len() => Some(io::Error::from_raw_os_error(c_int::from_ne_bytes(number))),
            _ => None,
        }
    }
}

/// Forks a worker in a process group of its own that inherits `inherited` as descriptors 3, 4, … and executes
/// `program`; `stdin` replaces its standard input where given.
///
/// # Errors
/// When the kernel gives no process, pipe or descriptor. That the program cannot be executed is no error here: the
/// process then ends, and [`Forked::exec_error`] says why.
pub fn fork(program: &Program, inherited: &[BorrowedFd<'_>], stdin: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let (exec_error, report) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let report = fcntl_dupfd_cloexec(&report, LIFTED_FD_FLOOR)?;
    let lifted =
        inherited.iter().map(|fd| fcntl_dupfd_cloexec(fd, LIFTED_FD_FLOOR)).collect::<Result<Vec<OwnedFd>, Errno>>()?;
    let lifted_raw: Vec<RawFd> = lifted.iter().map(AsRawFd::as_raw_fd).collect();

    let arguments = null_terminated(program.arguments.iter().map(CString::as_c_str));
    let mut listen_pid = [0_u8; LISTEN_PID.len() + PID_DIGITS + 1];
    listen_pid[..LISTEN_PID.len()].copy_from_slice(LISTEN_PID);
    let mut environment = null_terminated(program.environment.iter().map(CString::as_c_str));
    let listen_pid_at = environment.len() - 1;
    environment.push(ptr::null()); // the place of LISTEN_PID, filled in by the child

    let child = Child {
        path: program.path.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_mut_ptr(),
        listen_pid_at: program.announce_pid.then_some(listen_pid_at),
        listen_pid: listen_pid.as_mut_ptr(),
        inherited: &lifted_raw,
        stdin: stdin.map(|fd| fd.as_raw_fd()),
        report: report.as_raw_fd(),
        oom_score: program.oom_score.as_deref(),
        descriptors: program.descriptors.as_ref().map(|limit| libc::rlimit {
            rlim_cur: limit.current.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: limit.maximum.unwrap_or(libc::RLIM_INFINITY),
        }),
        parent: rustix::process::getpid(),
    };

    // SAFETY: sigset_t is plain old data for which all zeroes is valid, and sigfillset and pthread_sigmask write only
    // to the two sets on this stack. All signals stay blocked over the fork, so that no handler of the primary runs
    // in the child, where it would write to the primary's self-pipe.
    let old_mask = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    };
    // SAFETY: the child calls only async-signal-safe functions (see `Child::run`) and never returns from here.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        // SAFETY: this is the child of a fork, every pointer in `child` is to memory that was laid out before and is
        // a private copy now.
        unsafe { child.run() }
    }
    let fork_error = io::Error::last_os_error();
    // SAFETY: `old_mask` was filled by pthread_sigmask above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old_mask, ptr::null_mut());
    }
    let Some(pid) = Pid::from_raw(forked).filter(|_| forked > 0) else {
        return Err(fork_error);
    };
    // Also here, so that the group exists before anybody signals it; fails after the exec, when the child has done it.
    let _ = setpgid(Some(pid), Some(pid));
    Ok(Forked { pid, exec_error })
}

fn null_terminated<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain(std::iter::once(ptr::null())).collect()
}

/// What the child needs between fork and exec.
struct Child<'a> {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *mut *const c_char,
    listen_pid_at: Option<usize>,
    listen_pid: *mut u8,
    inherited: &'a [RawFd],
    stdin: Option<RawFd>,
    report: RawFd,
    oom_score: Option<&'a CStr>,
    descriptors: Option<libc::rlimit>,
    parent: Pid,
}

impl Child<'_> {
    /// Becomes the program, or reports the error number and ends.
    ///
    /// # Safety
    /// Only in the child of a fork; all pointers must be valid, `environment` must have room for one more entry and a
    /// null, and `listen_pid` for the name, ten digits and a null.
    unsafe fn run(&self) -> ! {
        // SAFETY: only async-signal-safe calls (signal-safety(7); prctl and setpgid are plain system calls), no
        // allocation, and the memory is valid as promised by the caller.
        unsafe {
            libc::setpgid(0, 0);
            // A worker never outlives its primary: without it nobody would end the worker, and it would keep the port.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            if libc::getppid() != self.parent.as_raw_nonzero().get() {
                libc::_exit(1);
            }
            for signal in 1..=LAST_SIGNAL {
                libc::signal(signal, libc::SIG_DFL); // fails for SIGKILL, SIGSTOP and the C library's own: as wanted
            }
            if let Some(score) = self.oom_score {
                let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if fd >= 0 {
                    libc::write(fd, score.as_ptr().cast(), score.count_bytes());
                    libc::close(fd);
                }
            }
            if let Some(limit) = &self.descriptors {
                libc::setrlimit(libc::RLIMIT_NOFILE, ptr::from_ref(limit));
            }
            if let Some(fd) = self.stdin {
                libc::dup2(fd, libc::STDIN_FILENO);
            }
            for (target, &fd) in (FIRST_INHERITED_FD..).zip(self.inherited) {
                if libc::dup2(fd, target) < 0 {
                    self.fail();
                }
            }
            if let Some(at) = self.listen_pid_at {
                write_decimal(self.listen_pid.add(LISTEN_PID.len()), libc::getpid());
                *self.environment.add(at) = self.listen_pid.cast_const().cast();
                *self.environment.add(at + 1) = ptr::null();
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            libc::execve(self.path, self.arguments, self.environment.cast_const());
            self.fail()
        }
    }

    /// # Safety
    /// Only in the child of a fork.
    unsafe fn fail(&self) -> ! {
        // SAFETY: errno, write and _exit are async-signal-safe; the bytes are on this stack.
        unsafe {
            let number = (*libc::__errno_location()).to_ne_bytes();
            libc::write(self.report, number.as_ptr().cast(), number.len());
            libc::_exit(127)
        }
    }
}

/// Writes `number` in decimal with a null after it.
///
/// # Safety
/// `at` must have room for ten digits and a null; `number` must not be negative.
unsafe fn write_decimal(at: *mut u8, number: c_int) {
    let mut digits = [0_u8; PID_DIGITS];
    let mut rest = number.unsigned_abs();
    let mut length = 0;
    loop {
        digits[length] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        length += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // SAFETY: at most ten digits and the null are written, as promised by the caller.
    unsafe {
        for index in 0..length {
            *at.add(index) = digits[length - 1 - index];
        }
        *at.add(length) = 0;
    }
}
