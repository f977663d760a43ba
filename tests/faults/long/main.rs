//! What takes too long for every run; tests/evidence runs it and keeps its figures.

#![allow(missing_docs)]

mod crashes;
mod noise;
mod stale;
