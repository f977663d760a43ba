//! Node's IPC channel and its cluster handshake, so that an unmodified `cluster` program runs as our workers.

pub mod channel;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod message;
pub mod servers;
