//! Loads that wait for nobody: each request is sent when it is due, on a connection of its own.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use e2e::load::get;
use tokio::time::{sleep_until, timeout};

/// A request without an answer for so long has failed: longer than any may wait in a queue.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Half a minute of little, half a minute of five times as much, again and again.
    Square,
    /// Little, seven times as much for a minute, little again.
    Crowd,
    /// The same all the time, at random.
    Poisson,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Square => "square wave",
            Self::Crowd => "flash crowd",
            Self::Poisson => "Poisson",
        })
    }
}

const LITTLE: f64 = 5.0;
const HALF: f64 = 30.0;

impl Shape {
    /// Requests a second at this time.
    fn rate(self, seconds: f64) -> f64 {
        match self {
            Self::Square if seconds % (2.0 * HALF) >= HALF => LITTLE * 5.0,
            Self::Crowd if (HALF..3.0 * HALF).contains(&seconds) => LITTLE * 7.0,
            Self::Square | Self::Crowd => LITTLE,
            Self::Poisson => LITTLE * 3.0,
        }
    }

    /// When it rises for the first time: after that there may be replicas enough still.
    pub fn rises(self) -> Option<Duration> {
        match self {
            Self::Square | Self::Crowd => Some(Duration::from_secs_f64(HALF)),
            Self::Poisson => None,
        }
    }
}

/// splitmix64
fn next(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[allow(clippy::cast_precision_loss)] // 53 bits of it
    let share = ((value ^ (value >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

/// When each request is due, in seconds; Poisson's come at random, the same for every side of a round.
fn due(shape: Shape, length: Duration, seed: u64) -> Vec<f64> {
    let (mut at, mut all, mut state) = (0.0, Vec::new(), seed);
    while at < length.as_secs_f64() {
        all.push(at);
        let gap = if shape == Shape::Poisson { -(1.0 - next(&mut state)).ln() } else { 1.0 };
        at += gap / shape.rate(at);
    }
    all
}

/// Offers a load to its end, and waits for the last answers. Gives how long each took from when it was due, in ms, and of those that failed when each
/// was due and why.
pub async fn offer(address: SocketAddr, shape: Shape, length: Duration, seed: u64) -> (Vec<f64>, Vec<String>) {
    let all = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let begun = Instant::now();
    let mut asked = Vec::new();
    for at in due(shape, length, seed) {
        let due = begun + Duration::from_secs_f64(at);
        sleep_until(due.into()).await;
        let all = all.clone();
        asked.push(tokio::spawn(async move {
            let answer = timeout(PATIENCE, get(address, "/")).await;
            let took = due.elapsed().as_secs_f64();
            let failure = match answer {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(format!("at {at:.1} s, after {took:.1} s: {error:#}")),
                Err(_) => Some(format!("at {at:.1} s: no answer within {} s", PATIENCE.as_secs())),
            };
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.push(if failure.is_none() { took * 1000.0 } else { f64::INFINITY });
            all.1.extend(failure);
        }));
    }
    for one in asked {
        let _ = one.await; // each has noted what came of it
    }
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.clone()
}
