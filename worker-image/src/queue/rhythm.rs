//! A slow rhythm for each connection, to look at now and then how things stand: a timer for each request would be set and taken back for nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How often.
pub const EVERY: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(15) };

#[derive(Debug)]
pub struct Rhythm(Pin<Box<Sleep>>);

impl Rhythm {
    pub fn new() -> Self {
        Self(Box::pin(sleep(EVERY)))
    }

    /// Ready once in that time, for whoever asks then.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.0.as_mut().poll(cx));
        self.0.as_mut().reset(Instant::now() + EVERY);
        let _ = self.0.as_mut().poll(cx); // to be woken by the next
        Poll::Ready(())
    }
}
