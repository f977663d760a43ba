//! What the replicas and the queues say, read each second: the IO under the scaling decision and the live part of status.
//!
//! The controller publishes what is to be read ([`Handle::publish`]), waits for news ([`Handle::news`]) and looks at the last
//! readings ([`Handle::readings`]). [`Runner::run`] does the reading until it is told to stop; nothing outlives it. No reading is
//! ever made up: what could not be read keeps its last value with the time of it, and an error beside it.

mod board;
mod connection;
mod counters;
mod doubt;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod news;
mod order;
mod queues;
mod rate;
mod reading;
mod redis;
mod replicas;
mod runner;
mod stats;
mod target;
#[cfg(test)]
mod tests;
mod witness;

pub use board::Handle;
pub use connection::may_be_dialled;
pub use counters::Counters;
pub use doubt::Trouble;
pub use order::{Order, OrderError, Voice};
pub use reading::PodReading;
pub use reading::Readings;
pub use runner::{Config, new};
pub use target::{ClusterKey, PodTarget, QueueSource, Targets};
