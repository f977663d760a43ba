//! Scaling on requests beside a HorizontalPodAutoscaler on processor time, as it is by default and tuned to be quick, under the same loads at the same
//! time: whatever else the machine does happens to all three.
//! The same program and the same steady number of replicas: a replica that serves four requests of 400 ms at a time, each with 10 ms of processor
//! time, has 100m of a processor busy where all its places are taken. All three together have enough of two processors.

mod load;
mod sides;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, load::get};
use load::{Shape, offer};
use sides::Side;

/// How often it is looked how many replicas there are.
const LOOK: Duration = Duration::from_millis(100);

/// What came of one load under one side.
struct Outcome {
    /// Of each request, in ms; one that failed took for ever.
    times: Vec<f64>,
    failed: usize,
    pod_seconds: f64,
    /// Changes of `spec.replicas`.
    changes: usize,
    /// From the first rise of the load to the first rise of `spec.replicas` after it, in s.
    reaction: Option<f64>,
}

impl Outcome {
    fn percentile(&self, share: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        // a place in a list
        let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or(f64::NAN)
    }
}

fn number(name: &str, standard: u64) -> Result<u64> {
    Ok(std::env::var(name).map_or(Ok(standard), |text| text.parse())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_square_wave() -> Result<()> {
    compared(Shape::Square).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_crowd() -> Result<()> {
    compared(Shape::Crowd).await
}

#[tokio::test(flavor = "multi_thread")]
async fn poisson() -> Result<()> {
    compared(Shape::Poisson).await
}

async fn compared(shape: Shape) -> Result<()> {
    let (rounds, seconds) = (number("ROUNDS", 5)?, Duration::from_secs(number("SECONDS_EACH", 120)?));
    Space::run("demand", |space| async move {
        let mut seen: BTreeMap<Side, Vec<Outcome>> = BTreeMap::new();
        for round in 0..rounds {
            let [one, two, three] = Side::ALL.map(|side| side.start(&space));
            let addresses: [SocketAddr; 3] = tokio::try_join!(one, two, three)?.into();
            let begun = Instant::now();
            let [one, two, three] = [0, 1, 2].map(|at| measure(&space, Side::ALL[at], addresses[at], shape, seconds, round, begun));
            let outcomes: [Outcome; 3] = tokio::try_join!(one, two, three)?.into();
            for side in Side::ALL {
                side.stop(&space).await?;
            }
            for (side, outcome) in Side::ALL.into_iter().zip(outcomes) {
                println!(
                    "FIGURE round {}/{rounds}, {shape}, {side}: p50 {:.0}, p95 {:.0} ms, {} failed of {}, {:.0} pod-seconds, {} changes, reaction {:.1?} s",
                    round + 1,
                    outcome.percentile(0.5),
                    outcome.percentile(0.95),
                    outcome.failed,
                    outcome.times.len(),
                    outcome.pod_seconds,
                    outcome.changes,
                    outcome.reaction
                );
                seen.entry(side).or_default().push(outcome);
            }
        }
        told(shape, &seen, seconds);
        ensure!(seen[&Side::Requests].iter().all(|one| one.failed == 0), "requests failed under our scaling");
        Ok(())
    })
    .await
}

/// So many WorkerClusters have their load at the same time in one round.
const AT_A_TIME: u64 = 10;

/// Each has so many clients, each with one request of 400 ms after the other: fifty times what a replica's places are for.
const CLIENTS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_written_within_a_second() -> Result<()> {
    let rounds = number("ROUNDS", 5)?;
    Space::run("step", |space| async move {
        let mut all = Vec::new();
        for round in 0..rounds {
            let names: Vec<String> = (0..AT_A_TIME).map(|index| format!("step-{round}-{index}")).collect();
            for name in &names {
                sides::apply(&space, name, "20m", Some(2)).await?;
            }
            for name in &names {
                space.ready(name, 1).await?;
            }
            // What the short window looks back at.
            tokio::time::sleep(Duration::from_secs(8)).await;
            for name in &names {
                let took = step(&space, name).await?;
                println!("round {}/{rounds}, {name}: {took:.2} s", round + 1);
                all.push(took);
                space.kubectl(&["delete", "wc", name]).await?;
            }
        }
        let (half, most) = (quantile(&all, 0.5), quantile(&all, 0.99));
        let missed = if half <= 1.0 && most <= 1.5 { "" } else { " (missed: 1.0, 1.5)" };
        figure(
            &format!("from a step of the load to the write, of {}: p50, p99", all.len()),
            format!("{half:.2}, {most:.2}{missed}"),
            "s",
        );
        Ok(())
    })
    .await
}

/// From the moment at which 150 clients come to the write of `spec.replicas`, in s.
async fn step(space: &Space, name: &str) -> Result<f64> {
    let address = space.address(name, 8000).await?;
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                while get(address, "/").await.is_ok() {} // until nobody serves it any more
            })
        })
        .collect();
    let api = space.api::<WorkerCluster>();
    // Closer than anything else waits: the figure is one of milliseconds.
    while api.get(name).await?.spec.replicas == 1 {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{name}: no second replica was asked for within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    for client in clients {
        client.abort();
    }
    Ok(took)
}

/// The medians over the rounds.
fn told(shape: Shape, seen: &BTreeMap<Side, Vec<Outcome>>, length: Duration) {
    for (side, outcomes) in seen {
        let median = |of: &dyn Fn(&Outcome) -> f64| quantile(&outcomes.iter().map(of).collect::<Vec<_>>(), 0.5);
        #[allow(clippy::cast_precision_loss)] // a few
        let hourly = median(&|one| one.changes as f64) * 3600.0 / length.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // a few thousand
        let failed = median(&|one| one.failed as f64);
        let reactions: Vec<f64> = outcomes.iter().filter_map(|one| one.reaction).collect();
        let reaction = match reactions.as_slice() {
            [] => "no single rise to react to".to_owned(),
            some => format!("{:.1} s", quantile(some, 0.5)),
        };
        figure(
            &format!("{shape}, {side}: p95, failed, pod-seconds, changes an hour, reaction"),
            format!(
                "{:.0} ms, {failed:.0}, {:.0}, {hourly:.0}, {reaction}",
                median(&|one| one.percentile(0.95)),
                median(&|one| one.pod_seconds),
            ),
            "",
        );
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a place in a list
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

async fn measure(
    space: &Space,
    side: Side,
    address: SocketAddr,
    shape: Shape,
    length: Duration,
    round: u64,
    begun: Instant,
) -> Result<Outcome> {
    let offered = tokio::spawn(offer(address, shape, length, round));
    let (mut last, mut pods_since) = (1, (begun, 1_usize));
    let mut outcome = Outcome { times: Vec::new(), failed: 0, pod_seconds: 0.0, changes: 0, reaction: None };
    let rise = shape.rises();
    let api = space.api::<WorkerCluster>();
    while begun.elapsed() < length {
        tokio::time::sleep(LOOK).await;
        let replicas = api.get(side.name()).await?.spec.replicas;
        let pods = space.pods(side.name()).await?.len();
        #[allow(clippy::cast_precision_loss)] // a few
        let held = pods_since.1 as f64;
        outcome.pod_seconds += held * pods_since.0.elapsed().as_secs_f64();
        pods_since = (Instant::now(), pods);
        let now = begun.elapsed();
        if replicas != last {
            outcome.changes += 1;
            if let Some(rise) = rise.filter(|rise| replicas > last && *rise <= now && outcome.reaction.is_none()) {
                outcome.reaction = Some(now.saturating_sub(rise).as_secs_f64());
            }
            last = replicas;
        }
    }
    // One that did not come took as long as there was.
    let never = rise.map(|rise| length.saturating_sub(rise).as_secs_f64());
    outcome.reaction = outcome.reaction.or(never);
    (outcome.times, outcome.failed) = offered.await?;
    Ok(outcome)
}
