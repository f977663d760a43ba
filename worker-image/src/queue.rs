//! Queue: the primary takes requests, and gives each to the worker that is free next.
//!
//! `table` decides, without IO; `http` reads and writes heads and bodies, without IO; `desk` is where requests and the primary's loop meet; `front`
//! reads a client's requests, and `lead` brings each to a worker (`attempt`) or another replica (`pass_on`) and its answer back. `peers` are the other replicas, `together` is single-flight.

mod affinity;
mod answer;
mod around;
mod attempt;
mod body;
mod client;
mod desk;
mod download;
mod exchange;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod histogram;
mod http;
mod lead;
mod pass_on;
mod peers;
mod pool;
mod private;
mod ready;
mod rhythm;
mod serve;
mod stream;
mod table;
mod tls;
mod together;
mod upload;

pub use affinity::Affinity;
pub use desk::{Desk, Process, Seen};
pub use histogram::{BOUNDS, Histogram};
pub use private::Private;
pub use serve::{Leading, Service};
pub use table::{Limits, Told};

#[cfg(test)]
mod tests;
