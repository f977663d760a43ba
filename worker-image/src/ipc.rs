//! Node's IPC channel and its cluster handshake, so that an unmodified `cluster` program runs as our workers.

pub mod channel;
mod frame;
pub mod message;
pub mod servers;
