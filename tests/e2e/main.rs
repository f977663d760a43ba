//! End-to-end tests, one file for each behaviour, against a real cluster with the operator installed.

#![allow(missing_docs)]

mod apply;
mod control;
mod faults;
mod footprint;
mod live;
mod plugin;
mod queue;
mod revisions;
mod rollout;
mod scaling;
mod serve;
mod specs;
mod verdicts;
