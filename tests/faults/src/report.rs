//! Runs many plans and says what came of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use e2e::figures::figure;

use crate::{
    fault::Plan,
    lane::{Lane, Redis},
    run::{Baselines, Outcome, baseline, run, side_by_side},
    shrink::shrink,
};

/// A plan that says nothing about the operator, or whose only fault is that something came too late, is tried so often.
const TRIES: usize = 3;
/// How many failures are reduced: each needs some runs.
const REDUCED: usize = 20;

/// Lanes side by side; `FAULT_LANES` says how many.
///
/// # Errors
/// Where there is no cluster.
pub async fn lanes(default: usize) -> Result<Vec<Lane>> {
    let asked = std::env::var("FAULT_LANES").ok().and_then(|text| text.parse().ok());
    let redis = Arc::new(Redis::start().await?);
    let mut lanes = Vec::new();
    for _ in 0..asked.unwrap_or(default) {
        lanes.push(Lane::new(redis.clone()).await?);
    }
    Ok(lanes)
}

/// Runs all plans; prints each that goes wrong, with the least of it that does.
///
/// # Errors
/// Where the cluster fails.
pub async fn run_all(lanes: &[Lane], plans: Vec<Plan>, baselines: &Baselines) -> Result<Vec<Outcome>> {
    let (began, all) = (Instant::now(), plans.len());
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    side_by_side(lanes, plans, async |lane, plan: Plan| {
        let outcome = one(lane, &plan, baselines).await?;
        if !outcome.is_good() {
            println!("WRONG {plan}\n  {}", outcome.told());
            if let Ok(log) = std::fs::read_to_string(lane.log()) {
                let words: Vec<&str> = log.lines().collect();
                println!(
                    "  the operator's last words:\n    {}",
                    words[words.len().saturating_sub(25)..].join("\n    ")
                );
            }
            if failed.fetch_add(1, Ordering::SeqCst) < REDUCED {
                let least = shrink(lane, outcome.clone(), &baselines[&plan.scenario]).await?;
                println!("LEAST {} (of {plan})\n  {}", least.plan, least.told());
            }
        }
        let done = done.fetch_add(1, Ordering::SeqCst) + 1;
        if done.is_multiple_of(100) || done == all {
            println!("{done} of {all} plans after {:.0} s", began.elapsed().as_secs_f32());
        }
        Ok(outcome)
    })
    .await
}

async fn one(lane: &Lane, plan: &Plan, baselines: &Baselines) -> Result<Outcome> {
    let (mut tried, mut repeated) = (0, 0);
    loop {
        tried += 1;
        match run(lane, plan, &baselines[&plan.scenario]).await {
            Err(error) if tried < TRIES => println!("again: {plan}: {error:#}"),
            Ok(outcome) if tried < TRIES && outcome.wrong.is_empty() && !outcome.overdue.is_empty() => {
                repeated += 1;
                println!("again: {plan}: {}", outcome.told());
            }
            other => return other.map(|outcome| Outcome { repeated, ..outcome }),
        }
    }
}

/// Prints the figures of many plans.
pub fn figures(name: &str, outcomes: &[Outcome]) {
    let mut times: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.converged).collect();
    times.sort();
    let seconds = |index: usize| times.get(index).map_or(f32::NAN, Duration::as_secs_f32);
    let containing = |words: &[&str]| {
        let has = |outcome: &&Outcome| outcome.wrong.iter().any(|wrong| words.iter().any(|word| wrong.contains(word)));
        outcomes.iter().filter(has).count()
    };
    let count = |good: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| good(outcome)).count();
    figure(&format!("{name}: plans"), outcomes.len(), "");
    figure(&format!("{name}: plans all of whose faults happened"), count(&|outcome| outcome.fired), "");
    figure(&format!("{name}: operators killed"), outcomes.iter().map(|outcome| outcome.lives).sum::<u64>(), "");
    figure(
        &format!("{name}: calls to the API server"),
        outcomes.iter().map(|outcome| outcome.calls).sum::<usize>(),
        "",
    );
    figure(&format!("{name}: other end states, or none"), count(&|outcome| outcome.converged.is_none()), "plans");
    figure(&format!("{name}: pods too many, or a slot twice"), containing(&["TooMany", "SlotTwice"]), "plans");
    figure(&format!("{name}: plans with any violation"), count(&|outcome| !outcome.is_good()), "plans");
    figure(&format!("{name}: too late, and run again"), count(&|outcome| outcome.repeated > 0), "plans");
    figure(&format!("{name}: converged, median"), format!("{:.2}", seconds(times.len() / 2)), "s");
    figure(&format!("{name}: converged, p99"), format!("{:.2}", seconds(times.len() * 99 / 100)), "s");
    figure(&format!("{name}: converged, slowest"), format!("{:.2}", seconds(times.len().saturating_sub(1))), "s");
}

/// Takes the lanes away.
///
/// # Errors
/// What the API server says.
pub async fn remove(lanes: Vec<Lane>) -> Result<()> {
    for lane in lanes {
        lane.clear().await?;
        lane.remove().await?;
    }
    Ok(())
}

/// Runs a plan of `PLAN`, to look at it; prints its calls.
///
/// # Errors
/// Where it goes wrong.
pub async fn only(lane: &Lane, plan: &Plan) -> Result<Outcome> {
    let baseline = baseline(lane, plan.scenario).await?;
    let outcome = run(lane, plan, &baseline).await?;
    for seen in lane.proxy.state.calls() {
        println!("  {}#{} {}", seen.call, seen.nth, seen.outcome);
    }
    println!("{outcome:#?}");
    Ok(outcome)
}
