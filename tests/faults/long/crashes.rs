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
/// Fewest plans that met their call. On a quick machine fewer lines of watches come at all, so that more plans wait for one in vain.
const CRASH_PLANS: usize = 1000;
/// Most that are tried for that.
const TRIED_PLANS: usize = 2 * CRASH_PLANS;
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
        println!("{}: {}", outcome.plan, outcome.told());
    }
    ensure!(wrong.is_empty(), "{} plans went wrong", wrong.len());
    Ok(())
}

fn met(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.fired).count()
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
    plans::shuffle(&mut every, &mut chance);
    let mut outcomes = run_all(&lanes, every, &baselines).await?;
    while met(&outcomes) < CRASH_PLANS && outcomes.len() < TRIED_PLANS {
        let missing = (CRASH_PLANS - met(&outcomes)).min(TRIED_PLANS - outcomes.len());
        let again = (0..missing).map(|index| plans::crash_again(&outcomes[index % outcomes.len()].plan, &mut chance));
        let again = again.collect();
        outcomes.extend(run_all(&lanes, again, &baselines).await?);
    }
    figures("crashes", &outcomes);
    remove(lanes).await?;
    let met = met(&outcomes);
    ensure!(met >= CRASH_PLANS, "only {met} of {} plans met their calls", outcomes.len());
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
