//! One function for each decoder of bytes that come from outside: it takes any bytes, does with them what the primary does,
//! and fails where a promise is broken. `tests/fuzz` makes up the bytes; the test below replays those that are kept there.

mod files;
mod request;
mod words;

pub use decoders::Target;

/// Every decoder of the primary.
pub const TARGETS: &[Target] = &[
    Target { name: "ipc", take: crate::ipc::fuzzing::channel, most_mib: 16 },
    Target { name: "ipc-servers", take: crate::ipc::fuzzing::servers, most_mib: 16 },
    Target { name: "notify", take: crate::notify::fuzzing::message, most_mib: 4 },
    Target { name: "kernel-files", take: files::files, most_mib: 16 },
    Target { name: "command-line", take: words::words, most_mib: 16 },
    Target { name: "control-order", take: crate::control::fuzzing::order, most_mib: 4 },
    Target { name: "remote-order", take: crate::remote::fuzzing::order, most_mib: 4 },
    Target { name: "http-requests", take: crate::queue::fuzzing::requests, most_mib: 16 },
    Target { name: "http-answer", take: crate::queue::fuzzing::answer, most_mib: 16 },
    Target { name: "admin-request", take: request::request, most_mib: 8 },
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_inputs_that_are_kept_break_nothing() {
        decoders::replay(super::TARGETS).unwrap();
    }
}
