//! A fault layer for tests: the operator as a process of its own, a proxy between it and a real API server that drops, delays, repeats,
//! refuses and forgets as a plan says, and workloads that must end the same with and without it.

pub mod call;
pub mod chance;
pub mod end_state;
pub mod fault;
pub mod lane;
pub mod operator;
pub mod plans;
pub mod proxy;
pub mod report;
pub mod run;
pub mod shrink;
pub mod workload;

pub use fault::{Fault, Plan};
pub use lane::Lane;
pub use workload::Workload;
