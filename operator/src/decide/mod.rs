//! Decisions: pure functions from what was seen to what should be. No client, no clock, no environment, no randomness.

pub mod autoscale;
pub mod backoff;
pub mod complaints;
pub mod deaths;
pub mod load;
pub mod nodes;
pub mod peers;
pub mod progress;
pub mod protect;
pub mod ranking;
pub mod reload;
pub mod replicas;
pub mod retire;
pub mod revisions;
