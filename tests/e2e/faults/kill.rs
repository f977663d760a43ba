//! A worker that is killed under load: forked again in its pod, at the cost of the program's own start.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Space,
    figures::{figure, median_ms},
    manifest,
};
use serde::Deserialize;

use super::{restarts, told_once};

const KILLS: usize = 20;
/// The figure to reach is 20 ms; a machine that does other things at the same time is given more.
const GROSS_MS: f64 = 500.0;

/// What kill.js prints.
#[derive(Deserialize)]
struct Killed {
    /// From SIGKILL to the first answer by the new process, in milliseconds.
    again: Vec<f64>,
    /// From spawn to the first answer of the same program by itself, in milliseconds.
    alone: Vec<f64>,
    ok: u64,
    hung: u64,
    failed: BTreeMap<String, u64>,
    /// What the primary counted.
    restarts: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_serves_again_at_the_cost_of_the_programs_own_start() -> Result<()> {
    Space::run("kill", |space| async move {
        let killed = kill(&space, 1, true).await?;
        let (again, alone) = (median(&killed.again), median(&killed.alone));
        figure("kill to first answer by the new process (1 worker, median of 20)", format!("{again:.1}"), "ms");
        figure("the program's own start, spawn to first answer (median of 20)", format!("{alone:.1}"), "ms");
        figure("kill to first answer over the program's own start", format!("{:.1}", again - alone), "ms");
        ensure!(again - alone <= GROSS_MS, "{again:.1} ms after a kill, and the program needs {alone:.1} ms by itself");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_hangs_no_request() -> Result<()> {
    Space::run("kill-one", |space| async move {
        let killed = kill(&space, 2, false).await?;
        let again = median(&killed.again);
        figure("kill to first answer by the new process (2 workers, median of 20)", format!("{again:.1}"), "ms");
        Ok(())
    })
    .await
}

/// Kills 20 times in one pod with `workers` workers, and checks what holds in every case.
async fn kill(space: &Space, workers: i32, own_starts: bool) -> Result<Killed> {
    let mut program = manifest::program("web", "server.js", super::SERVER);
    program["data"]["kill.js"] = include_str!("kill.js").into();
    space.apply(&program).await?;
    space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 1, workers)).await?;
    space.ready("web", 1).await?;
    let before = space.pods("web").await?;
    let pod = before.first().and_then(|pod| pod.metadata.name.clone()).context("no pod")?;
    // Each slot's worker lives for more than the second after which a restart has no delay.
    let arguments = [KILLS.to_string(), workers.to_string(), u8::from(own_starts).to_string(), "1200".to_owned()];
    let command: Vec<&str> =
        ["node", "/program/kill.js"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let printed = space.exec(&pod, &command).await?;
    let killed: Killed = serde_json::from_str(printed.lines().last().unwrap_or_default()).context(printed.clone())?;
    let named = |what: &str| format!("{KILLS} kills, {workers} worker(s): {what}");
    figure(&named("answered"), killed.ok, "requests");
    figure(&named("failed (in the killed worker's hands)"), killed.failed.values().sum::<u64>(), "requests");
    println!("failed: {:?}", killed.failed);
    figure(&named("hung"), killed.hung, "requests");
    figure(&named("slowest return"), format!("{:.1}", killed.again.iter().copied().fold(0.0, f64::max)), "ms");
    ensure!(killed.again.len() == KILLS, "{} of {KILLS} kills", killed.again.len());
    ensure!(killed.hung == 0, "{} requests hung; failed: {:?}", killed.hung, killed.failed);
    ensure!(killed.restarts == KILLS as u64, "the primary counted {} restarts", killed.restarts);
    // All of them within five minutes: one event, however many.
    told_once(space, "WorkersCrashed").await?;
    let after = space.pods("web").await?;
    ensure!(
        restarts(&before) == restarts(&after),
        "pods before {:?} and after {:?}",
        restarts(&before),
        restarts(&after)
    );
    figure(&named("restarts of the container"), restarts(&after).values().sum::<i32>(), "");
    Ok(killed)
}

fn median(milliseconds: &[f64]) -> f64 {
    median_ms(&milliseconds.iter().map(|value| Duration::from_secs_f64(value / 1000.0)).collect::<Vec<_>>())
}
