//! Orders to a running primary, from this machine: an abstract unix socket, on which the same user, or root, speaks HTTP.
//! `primary ctl` is the other end.

mod client;
mod document;
mod logs;
mod server;
mod socket;
mod table;

pub use client::{Ctl, Watched, run};
pub use document::{Document, Task};
#[cfg(any(test, fuzzing))]
pub use server::fuzzing;
pub use server::serve;
pub use socket::{OpenError, Place, open};
