//! How full a listening socket's accept queue is.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// Connections that nobody has accepted yet, and how many may wait. `None` for what is no listening TCP socket.
///
/// For a listening socket Linux reports these two as `tcpi_unacked` and `tcpi_sacked`; no privilege is needed.
pub fn accept_queue(socket: impl AsFd) -> Option<(u32, u32)> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is that large, and then sets `length` to what
    // it wrote. All zeroes is valid for tcp_info (plain numbers), so what an older kernel leaves out reads as 0.
    let info = unsafe {
        let done = libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if done != 0 {
            return None;
        }
        info.assume_init()
    };
    Some((info.tcpi_unacked, info.tcpi_sacked))
}
