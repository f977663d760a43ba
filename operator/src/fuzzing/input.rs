//! How the bytes of a fuzzer become what a decoder takes.

use std::{future::Future, sync::OnceLock};

use tokio::runtime::{Builder, Runtime};

/// Bytes that decide how a decoder is used; zeros when they are used up, so that every input is one.
pub struct Knobs<'a>(&'a [u8]);

// === impl Knobs ===

impl<'a> Knobs<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next `count` bytes, or what is left.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of eight bytes.
    pub fn number(&mut self) -> u64 {
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(self.bytes(8)) {
            *to = *from;
        }
        u64::from_le_bytes(number)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Runs what is asynchronous to its end, on this thread.
///
/// # Panics
/// Where there is no runtime to be had.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: OnceLock<Runtime> = const { OnceLock::new() });
    RUNTIME.with(|runtime| {
        runtime
            .get_or_init(|| match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => unreachable!("no runtime: {error}"),
            })
            .block_on(future)
    })
}
