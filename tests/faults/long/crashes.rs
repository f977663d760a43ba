//! Issue 4, line 1: crashes at every call, and pairs of faults.

use anyhow::{Result, ensure};
use e2e::figures::figure;
use faults::{
    chance::Chance,
    plans,
    report::{figures, lanes, remove, run_all},
    run::{Outcome, baselines},
    workload::{Scenario, WORKLOADS},
};

/// What 2 processors bear: most of a plan is waiting.
const LANES: usize = 8;
/// Fewest plans.
const CRASH_PLANS: usize = 1000;
/// Number of pairs.
const PAIRS: usize = 2000;
/// Of all choices.
const SEED: u64 = 4;

fn scenarios(sizes: &[usize]) -> Vec<Scenario> {
    WORKLOADS
        .iter()
        .flat_map(|workload| sizes.iter().map(|size| Scenario { workload: *workload, size: *size }))
        .collect()
}

fn good(outcomes: &[Outcome]) -> Result<()> {
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_good()).collect();
    for outcome in &wrong {
        println!("{}: {}", outcome.plan, outcome.wrong.join("; "));
    }
    ensure!(wrong.is_empty(), "{} plans went wrong", wrong.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_call_changes_nothing_in_the_end() -> Result<()> {
    let lanes = lanes(LANES).await?;
    let baselines = baselines(&lanes, &scenarios(&[3])).await?;
    let unchanged: Vec<_> = baselines.values().flat_map(|baseline| baseline.outcome.unchanged.clone()).collect();
    figure("without faults: writes that changed nothing", unchanged.len(), "");
    println!("{unchanged:?}");
    let mut chance = Chance::new(SEED);
    let mut every: Vec<_> =
        baselines.iter().flat_map(|(scenario, baseline)| plans::crashes(*scenario, baseline)).collect();
    figure("crashes: calls and lines of watches, each in every place", every.len(), "plans");
    let mut index = 0;
    while every.len() < CRASH_PLANS + CRASH_PLANS / 10 {
        let again = plans::crash_again(&every[index], &mut chance);
        every.push(again);
        index += 1;
    }
    plans::shuffle(&mut every, &mut chance);
    let outcomes = run_all(&lanes, every, &baselines).await?;
    figures("crashes", &outcomes);
    remove(lanes).await?;
    let fired = outcomes.iter().filter(|outcome| outcome.fired).count();
    ensure!(fired >= CRASH_PLANS, "only {fired} plans met their calls");
    good(&outcomes)
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_of_faults_break_no_rule() -> Result<()> {
    let lanes = lanes(LANES).await?;
    let baselines = baselines(&lanes, &scenarios(&[1, 2, 5])).await?;
    let pairs = plans::pairs(&baselines, SEED, PAIRS);
    let outcomes = run_all(&lanes, pairs, &baselines).await?;
    figures("pairs", &outcomes);
    remove(lanes).await?;
    good(&outcomes)
}
