//! A selection of plans over all workloads: the operator's process, a proxy, a real API server, simulated nodes.

#![allow(missing_docs)]

use anyhow::{Result, ensure};
use faults::{
    Plan,
    chance::Chance,
    plans,
    report::{figures, lanes, only, remove, run_all},
    run::baselines,
    workload::{Scenario, WORKLOADS},
};

/// Plans of each workload.
const EACH: usize = 6;
/// Lanes that a small machine bears beside other tests.
const LANES: usize = 4;
/// The same choice in every run: what is found by chance is found by the long tests. `SEED` makes another.
const SEED: u64 = 4;

/// What the long tests have found, so that it is seen in every run.
const FOUND: [&str; 2] = [
    // A WorkerCluster is deleted, and made again, while the operator's watch stands still: the status of the one came to the other.
    "adopt/2 event:workerclusters#1=freeze-6000 event:workerclusters#3=freeze-300",
    // The answer to a delete is lost while the watch stands still: another pod was deleted in the place of the one that was gone.
    "scale-down/2 delete:pods#3=reset event:pods#2=freeze-7600",
];

fn seed() -> Result<u64> {
    Ok(std::env::var("SEED").map_or(Ok(SEED), |seed| seed.parse())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_and_pairs_of_faults_change_nothing_in_the_end() -> Result<()> {
    let seed = seed()?;
    let lanes = lanes(LANES).await?;
    if let Ok(plan) = std::env::var("PLAN") {
        let outcome = only(&lanes[0], &plan.parse()?).await?;
        remove(lanes).await?;
        ensure!(outcome.is_good(), "{plan}");
        return Ok(());
    }
    let scenarios: Vec<Scenario> = WORKLOADS.map(|workload| Scenario { workload, size: 2 }).into();
    let baselines = baselines(&lanes, &scenarios).await?;
    let mut chance = Chance::new(seed);
    let mut selected: Vec<Plan> = plans::pairs(&baselines, seed, EACH * 2);
    for (scenario, baseline) in &baselines {
        selected.extend(plans::some(plans::crashes(*scenario, baseline), seed, EACH));
    }
    for found in FOUND {
        selected.push(found.parse()?);
    }
    plans::shuffle(&mut selected, &mut chance);
    let outcomes = run_all(&lanes, selected, &baselines).await?;
    figures("faults", &outcomes);
    remove(lanes).await?;
    let wrong = outcomes.iter().filter(|outcome| !outcome.is_good()).count();
    ensure!(wrong == 0, "{wrong} plans went wrong; SEED={seed} repeats them, PLAN='…' one of them");
    Ok(())
}
