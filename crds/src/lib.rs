//! The `WorkerCluster` API types.
