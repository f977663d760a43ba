//! Waiting for a condition with a deadline that says what was seen last; never for a fixed time.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Of the time between two looks no more than this counts: a machine that stood still gave nothing the chance to happen.
const GAP: Duration = Duration::from_secs(1);

/// Looks again and again, 20 times a second, until `look` says yes (`Ok`); gives up with what it saw last (`Err`) when the time in which it looked
/// comes to the deadline, or after ten times as long.
///
/// # Errors
/// At the deadline, or where looking itself fails.
pub async fn until<T, S: Display>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    let started = Instant::now();
    let (mut last, mut waited) = (started, Duration::ZERO);
    loop {
        let looked = look().await?;
        waited += last.elapsed().min(GAP);
        last = Instant::now();
        match looked {
            Ok(found) => return Ok(found),
            Err(seen) if waited >= deadline || started.elapsed() >= deadline * 10 => {
                bail!("waited {:.1} s for {what}; last seen: {seen}", started.elapsed().as_secs_f32())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
