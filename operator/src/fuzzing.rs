//! One function for each decoder of bytes that come from outside: it takes any bytes, does with them what the operator does, and fails
//! where a promise is broken. `tests/fuzz` makes up the bytes; the test below replays those that are kept there.

mod input;
mod request;
mod settings;
mod spec;

pub(crate) use input::{Knobs, run};
pub(crate) use spec::everything;

use crate::{controller, leader, signal::fuzzing as signal, view};

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

/// Every decoder of the operator.
pub const TARGETS: &[Target] = &[
    Target { name: "stats", take: signal::stats, most_mib: 16 },
    Target { name: "decisions", take: signal::decisions, most_mib: 8 },
    Target { name: "scrape", take: signal::scrape, most_mib: 16 },
    Target { name: "redis", take: signal::redis, most_mib: 32 },
    Target { name: "workercluster", take: spec::workercluster, most_mib: 64 },
    Target { name: "quantity", take: spec::quantity, most_mib: 8 },
    Target { name: "revisions", take: controller::fuzzing::revisions, most_mib: 256 },
    Target { name: "pods", take: view::watch::fuzzing::pods, most_mib: 256 },
    Target { name: "nodes", take: view::nodes::fuzzing::nodes, most_mib: 64 },
    Target { name: "leases", take: leader::fuzzing::leases, most_mib: 16 },
    Target { name: "api-answers", take: controller::fuzzing::answers, most_mib: 256 },
    Target { name: "operator-request", take: request::request, most_mib: 8 },
    Target { name: "operator-settings", take: settings::settings, most_mib: 16 },
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
