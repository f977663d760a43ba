//! Node's IPC channel and its cluster handshake, so that an unmodified `cluster` program runs as our workers.

pub mod broker;
pub mod channel;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hall;
mod main_socket;
pub mod message;
pub mod passing;
pub mod servers;
pub mod tell;
