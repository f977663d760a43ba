//! Two operators, one Lease: ended, killed and stopped in turn while there is always something to write. Each reaches the API server through a
//! recorder of its own, which sees who writes when; a write that arrives after another has taken the Lease is late.

mod pair;
mod recorder;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Space, figures::figure};
use pair::{Pair, Times};

/// client-go's times, and the operator's defaults.
const FULL: Times = Times { duration: 15, renew_deadline: 10_000, retry: 2000 };
/// The same in a fifth of the time: so many rounds of a whole Lease would take hours.
const FIFTH: Times = Times { duration: 3, renew_deadline: 2000, retry: 400 };

/// How often, from the environment: a few in a hurry, all for evidence.
fn rounds(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn tell(name: &str, mut times: Vec<Duration>, most: Duration) -> Result<()> {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    for percent in [50, 99] {
        figure(&format!("{name}, p{percent} of {}", times.len()), format!("{:.2}", at(percent).as_secs_f32()), "s");
    }
    ensure!(at(99) <= most, "{name}: p99 {:?} is more than {most:?}", at(99));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_hands_over_within_three_seconds() -> Result<()> {
    Space::run("graceful", |space| async move {
        let mut pair = Pair::start(&space, FULL).await?;
        let mut took = Vec::new();
        for _ in 0..rounds("GRACEFUL_ROUNDS", 20) {
            let leader = pair.settled().await?;
            let asked = Instant::now();
            pair.signal(leader, "TERM")?;
            pair.writes(1 - leader, asked, Duration::from_secs(30)).await?;
            took.push(asked.elapsed());
            pair.restart(leader).await?;
        }
        figure("writes in all", pair.count(), "");
        figure("late writes", pair.end().await?, "");
        tell("the leader is asked to end: first write of the other", took, Duration::from_secs(3))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed_within_eighteen_seconds() -> Result<()> {
    Space::run("crash", |space| async move {
        let mut pair = Pair::start(&space, FULL).await?;
        let mut took = Vec::new();
        for _ in 0..rounds("CRASH_ROUNDS", 20) {
            let leader = pair.settled().await?;
            let killed = Instant::now();
            pair.signal(leader, "KILL")?;
            pair.writes(1 - leader, killed, Duration::from_secs(60)).await?;
            took.push(killed.elapsed());
            pair.restart(leader).await?;
        }
        figure("late writes", pair.end().await?, "");
        tell("the leader is killed: first write of the other", took, Duration::from_secs(18))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_writes_nothing_late() -> Result<()> {
    Space::run("stopped", |space| async move {
        let pair = Pair::start(&space, FIFTH).await?;
        let rounds = rounds("STOP_ROUNDS", 200);
        let mut took = Vec::new();
        for round in 0..rounds {
            let leader = pair.settled().await?;
            // Anywhere within a renewal, and within what is being written.
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 37 % 400)?)).await;
            let stopped = Instant::now();
            pair.signal(leader, "STOP")?;
            pair.writes(1 - leader, stopped, Duration::from_secs(30)).await?;
            took.push(stopped.elapsed());
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 53 % 300)?)).await;
            pair.signal(leader, "CONT")?;
            // It says itself that it does not lead any more: what it would have sent late, it has sent by then.
            pair.follows(leader).await?;
        }
        figure("rounds of SIGSTOP, another leads, SIGCONT (Lease of 3 s, renewed within 2 s, every 0.4 s)", rounds, "");
        figure("writes in all", pair.count(), "");
        let late = pair.end().await?;
        figure("late writes", late, "");
        tell("the leader is stopped: first write of the other", took, Duration::from_secs(5))?;
        ensure!(late == 0, "{late} late writes");
        Ok(())
    })
    .await
}
