//! What takes too long for every run; tests/evidence runs it and keeps its figures.

#![allow(missing_docs)]

mod apiserver;
mod corruptions;
mod demand;
mod differential;
mod hostile;
mod leader;
mod leak;
mod nodes;
mod operator_memory;
mod requests;
mod scale;
mod transitions;
mod upgrade;
