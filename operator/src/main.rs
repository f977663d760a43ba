//! The WorkerCluster operator.
fn main() {}
