//! Objects from a validated spec: pure, and unable to fail once `validate` has passed.

pub mod budget;
pub mod live;
pub mod pod;
pub mod revision;
pub mod security;
pub mod service;
pub mod tolerations;
pub mod validate;

pub use revision::revision;
pub use validate::{Problem, Valid, validate};
