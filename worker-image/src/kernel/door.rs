//! Closes a listening socket to new connections without closing it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The flags SYN and ACK in byte 13 of a TCP header (RFC 9293 3.1).
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Lets a listening TCP socket drop every segment that asks for a new connection: those with SYN and without ACK. Handshakes
/// under way come to their end, as their last segment has no SYN, and what waits in the accept queue stays. A client that
/// asks now tries again, until the socket is closed. Needs no privilege; there is no way back but another socket.
///
/// # Errors
/// When the kernel refuses the filter.
pub fn close_door(socket: impl AsFd) -> io::Result<()> {
    let code = |parts: u32| u16::try_from(parts).unwrap_or_default(); // all of them are below 256
    let flags = libc::sock_filter { code: code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), jt: 0, jf: 0, k: 13 };
    let of_both =
        libc::sock_filter { code: code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), jt: 0, jf: 0, k: SYN | ACK };
    let only_syn = libc::sock_filter { code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), jt: 0, jf: 1, k: SYN };
    let answer = |k| libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k };
    let mut program = [flags, of_both, only_syn, answer(0), answer(u32::MAX)];
    let length = u16::try_from(program.len()).unwrap_or_default();
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or_default();
    // SAFETY: the kernel reads `size` bytes of `filter`, and `len` instructions where it points to; both live until the call
    // is over. It checks the program, and copies it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
