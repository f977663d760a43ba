//! Closes a listening socket to new connections without closing it.

use std::io;
use std::os::fd::AsFd;

use super::filter::{attach, instruction};

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
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SYN | ACK),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, SYN),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    attach(socket, libc::SO_ATTACH_FILTER, &mut program)
}
