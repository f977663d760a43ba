//! Gives the kernel a program of classic BPF for a socket, which needs no privilege.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// One instruction: its parts together, where to go on, and its number.
pub fn instruction(parts: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(parts).unwrap_or_default(), jt, jf, k } // all parts are below 256
}

/// Attaches a program, in place of one that was attached by the same option of `SOL_SOCKET` before.
///
/// # Errors
/// When the kernel refuses it.
pub fn attach(socket: impl AsFd, option: libc::c_int, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or_default();
    // SAFETY: the kernel reads `size` bytes of `filter`, and `len` instructions where it points to; both live until the call is over. It checks
    // the program, and copies it.
    let done = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, option, (&raw const filter).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
