//! Orders of the operator over the network: who may give them ([`guard`]), and what they mean ([`settings`]).

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod settings;

pub use guard::{Guard, KEYS_MAX, Key, Refusal, Refusals, Signed};
pub use settings::{count, settings};
