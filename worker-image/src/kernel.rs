//! The one place with `unsafe`: system calls that no safe crate offers. Each block says why it is sound.

#![allow(unsafe_code)]

mod fork;
mod peek;
mod tcp_info;
mod watched;

pub use fork::{FIRST_INHERITED_FD, Forked, Program, fork};
pub use peek::ended_child;
pub use tcp_info::accept_queue;
pub use watched::watched;
