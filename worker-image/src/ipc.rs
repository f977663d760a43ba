//! Node's IPC channel and its cluster handshake, so that an unmodified `cluster` program runs as our workers.

pub mod broker;
pub mod channel;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod main_socket;
pub mod message;
pub mod servers;
