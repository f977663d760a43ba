//! Queue: the primary takes requests, and gives each to the worker that is free next.
//!
//! `table` decides, without IO; `http` reads and writes heads and bodies, without IO; `desk` is where requests and the primary's loop meet; `front`
//! leads a request from its client to a worker and its answer back.

mod answer;
mod body;
mod client;
mod desk;
mod download;
mod exchange;
mod front;
mod histogram;
mod http;
mod lead;
mod pool;
mod private;
mod ready;
mod serve;
mod stream;
mod table;
mod upload;

pub use desk::Seen;
pub use histogram::{BOUNDS, Histogram};
pub use private::Private;
pub use serve::{Leading, Service};
pub use stream::Address;
pub use table::Limits;

#[cfg(test)]
mod tests;
