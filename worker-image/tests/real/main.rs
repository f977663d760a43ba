//! The real binary with real programs: Node, Python, shells. Every test starts a primary of its own on ports of its
//! own, waits for conditions with a deadline, and prints what it saw when one does not come.

#![allow(clippy::unwrap_used, clippy::panic)] // this crate is tests, also where its helpers are no #[test]

mod admin;
mod control;
mod drain;
mod harness;
mod import;
mod lifecycle;
mod node;
mod passing;
mod ports;
mod queue;
mod remote;
mod resize;
mod restart;
mod steering;
mod verdicts;
