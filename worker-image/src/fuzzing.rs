//! One function for each decoder of bytes that come from outside: it takes any bytes, does with them what the primary does,
//! and fails where a promise is broken. `tests/fuzz` makes up the bytes; the test below replays those that are kept there.

mod files;
mod request;
mod words;

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Takes the bytes.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub take: fn(&[u8]),
    /// Most memory that it may have at a time for one input, in MiB.
    pub most_mib: usize,
}

/// Every decoder of the primary.
pub const TARGETS: &[Target] = &[
    Target { name: "ipc", take: crate::ipc::fuzzing::channel, most_mib: 16 },
    Target { name: "ipc-servers", take: crate::ipc::fuzzing::servers, most_mib: 16 },
    Target { name: "notify", take: crate::notify::fuzzing::message, most_mib: 4 },
    Target { name: "kernel-files", take: files::files, most_mib: 16 },
    Target { name: "command-line", take: words::words, most_mib: 16 },
    Target { name: "admin-request", take: request::request, most_mib: 8 },
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::TARGETS;

    /// Inputs that found something, or that show the way: what is in them must not break anything again.
    #[test]
    fn the_inputs_that_are_kept_break_nothing() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for target in TARGETS {
            let folder = corpus.join(target.name);
            let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut count = 0;
            for input in inputs {
                let path = input.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                let taken = std::panic::catch_unwind(|| (target.take)(&bytes));
                assert!(taken.is_ok(), "{} broke on {}", target.name, path.display());
                count += 1;
            }
            assert!(count > 0, "{} has no input", folder.display());
        }
    }
}
