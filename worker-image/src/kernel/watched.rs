//! A descriptor that the event loop watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Lets the event loop watch a descriptor.
///
/// # Errors
/// When the kernel cannot watch it.
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `register` asks for a type that names the same open descriptor for as long as it is registered. An
    // OwnedFd does: it is owned by the AsyncFd from here on, and closes only when that one is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
