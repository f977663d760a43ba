//! One function for each decoder of bytes that come from outside: it takes any bytes, does with them what the operator does, and fails
//! where a promise is broken. `tests/fuzz` makes up the bytes; the test below replays those that are kept there.

mod input;
mod request;
mod settings;
mod spec;

pub(crate) use input::{Knobs, run};
pub(crate) use spec::everything;

pub use decoders::Target;

use crate::{controller, leader, signal::fuzzing as signal, view};

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
    #[test]
    fn the_inputs_that_are_kept_break_nothing() {
        decoders::replay(super::TARGETS).unwrap();
    }
}
