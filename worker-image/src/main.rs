//! The primary.
fn main() {}
