//! End-to-end tests, one file for each behaviour, against a real cluster with the operator installed.

#![allow(missing_docs)]

mod serve;
