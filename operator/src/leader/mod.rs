//! One operator works at a time: the Lease (`lease` decides, `elect` asks the API server, `news` watches it) and the fence that every write
//! passes.

pub mod elect;
pub mod fence;
pub mod lease;
#[cfg(any(test, fuzzing))]
pub use news::fuzzing;
mod news;

pub use fence::{Fence, Pass};
pub use lease::Timing;
