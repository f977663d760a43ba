//! One operator works at a time: the Lease (`lease` decides, `elect` asks the API server) and the fence that every write passes.

pub mod elect;
pub mod fence;
pub mod lease;

pub use fence::Fence;
