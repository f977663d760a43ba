//! The one place with `unsafe`: system calls that no safe crate offers. Each block says why it is sound.

#![allow(unsafe_code)]

mod door;
mod filter;
mod fork;
mod peek;
mod slice;
mod steer;
mod tcp_info;
mod watched;

pub use door::close_door;
pub use fork::{FIRST_INHERITED_FD, Forked, Program, fork};
pub use peek::ended_child;
pub use slice::shorten_slice;
pub use steer::{MEMBERS_MAX, steer};
pub use tcp_info::accept_queue;
pub use watched::watched;
