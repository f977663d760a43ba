//! The operator's program; all of it is in the library, where fuzzing reaches it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    operator::main()
}
