//! What is said to a person, and that it matters to nobody whether somebody still reads: `println!` and `eprintln!` end the program where a pipe
//! is closed, as behind `head`.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints on standard output; `false` where nobody reads any more.
///
/// # Errors
/// Where it cannot be written for another reason, as on a full disk.
pub fn print(text: impl AsRef<[u8]>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// A line on standard error; lost where nobody reads.
pub fn aside(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
