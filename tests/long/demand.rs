//! Scaling on requests beside a HorizontalPodAutoscaler on processor time, as it is by default and tuned to be quick, under the same loads at the same
//! time: whatever else the machine does happens to all three.
//! The same program and the same steady number of replicas: a replica that serves four requests of 400 ms at a time, each with 10 ms of processor
//! time, has 100m of a processor busy where all its places are taken. All three together have enough of two processors.

mod load;
mod sides;
mod step;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure};
use load::{Shape, offer};
use sides::Side;

/// How often it is looked how many replicas there are.
const LOOK: Duration = Duration::from_millis(100);

/// What came of one load under one side.
struct Outcome {
    /// Of each request, in ms; one that failed took for ever.
    times: Vec<f64>,
    /// Of each that failed, when it was due and why.
    failed: Vec<String>,
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
                    outcome.failed.len(),
                    outcome.times.len(),
                    outcome.pod_seconds,
                    outcome.changes,
                    outcome.reaction
                );
                seen.entry(side).or_default().push(outcome);
            }
        }
        told(shape, &seen, seconds);
        let failed: Vec<_> = seen[&Side::Requests].iter().flat_map(|one| &one.failed).map(String::as_str).collect();
        // Of hundreds the first ten say as much.
        let first = failed.iter().take(10).copied().collect::<Vec<_>>().join("; ");
        ensure!(failed.is_empty(), "{} requests failed under our scaling: {first}", failed.len());
        Ok(())
    })
    .await
}

/// The medians over the rounds.
fn told(shape: Shape, seen: &BTreeMap<Side, Vec<Outcome>>, length: Duration) {
    for (side, outcomes) in seen {
        let median = |of: &dyn Fn(&Outcome) -> f64| quantile(&outcomes.iter().map(of).collect::<Vec<_>>(), 0.5);
        #[allow(clippy::cast_precision_loss)] // a few
        let hourly = median(&|one| one.changes as f64) * 3600.0 / length.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // a few thousand
        let failed = median(&|one| one.failed.len() as f64);
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
    let mut outcome = Outcome { times: Vec::new(), failed: Vec::new(), pod_seconds: 0.0, changes: 0, reaction: None };
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
