//! Waiting for a condition with a deadline that says what was seen last; never for a fixed time.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Looks again and again, 20 times a second, until `look` says yes (`Ok`); gives up at the deadline with what it saw last (`Err`).
///
/// # Errors
/// At the deadline, or where looking itself fails.
pub async fn until<T, S: Display>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(seen) if started.elapsed() >= deadline => {
                bail!("waited {:.1} s for {what}; last seen: {seen}", started.elapsed().as_secs_f32())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
