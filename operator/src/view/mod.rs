//! What the operator has seen of the cluster: pods as far as decisions need them, and a cache that is never older than our own writes.

pub mod cache;
pub mod memory_kill;
pub mod nodes;
pub mod pod;
pub mod protection;
mod restart;
pub mod watch;

/// Namespace and name of a WorkerCluster.
pub use crate::signal::ClusterKey as Key;
pub use cache::{Cache, ObjectView};
pub use pod::{Phase, PodView, Readiness};
