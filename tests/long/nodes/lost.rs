//! One node of three killed, shut down, or silent for a while.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Nodes, Space, Timeline, figures::figure, until};
use serde_json::json;

use super::{FOUR, REPLICAS, in_time, made_up, says, spread_idle, watch};

/// docs/design/0008-node-loss.md: from the fault until as many pods are ready as before.
const DEFAULT: u64 = 360;
const FAST: u64 = 90;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_or_shut_down_is_made_up_for_in_time() -> Result<()> {
    Nodes::run("lost", |space, nodes| async move {
        for (name, spec) in [
            ("default", json!({})),
            ("fast", json!({"nodeLoss": "Fast"})),
            ("complete", json!({"nodeLoss": "Fast", "podReplacementPolicy": "TerminationComplete"})),
        ] {
            space.apply(&spread_idle(name, &spec)).await?;
        }
        for name in ["default", "fast", "complete"] {
            space.ready(name, REPLICAS).await?;
        }
        for (what, node) in [("kill", &nodes.workers[0]), ("stop", &nodes.workers[1])] {
            lost(&space, &nodes, what, node).await?;
        }
        Ok(())
    })
    .await
}

async fn lost(space: &Space, nodes: &Nodes, what: &str, node: &str) -> Result<()> {
    let [default, fast, complete] = ["default", "fast", "complete"].map(|name| watch(space, name));
    for timeline in [&default, &fast, &complete] {
        seen(timeline, FOUR).await?;
    }
    let there = |timeline: &Timeline| {
        timeline.moments().last().map_or(0, |last| last.pods.values().filter(|row| row.node == node).count())
    };
    let counts = [there(&default), there(&fast), there(&complete)];
    figure(&format!("{what}: pods on the node (default, fast, fast and complete)"), format!("{counts:?}"), "pods");
    ensure!(counts.iter().all(|count| *count > 0), "nothing is lost with {node}: {counts:?}");

    let when = nodes.machine(node, what).await?;
    nodes.silent(node).await?;
    figure(&format!("{what}: the node is not Ready"), format!("{:.1}", when.elapsed().as_secs_f32()), "s");
    let took = made_up(&fast, when, &[node], FOUR, Duration::from_secs(FAST + 60)).await?;
    in_time(&format!("{what}: made up for with nodeLoss Fast"), took, FAST)?;
    // Its place stays taken while the pod on the lost node has not ended, and it says so.
    says(space, "complete", "Ready", &format!("node {node} does not answer, with {} ending", pods(counts[2]))).await?;
    says(space, "default", "Ready", &format!("node {node} does not answer, with {} to be evicted", pods(counts[0])))
        .await?;
    let took = made_up(&default, when, &[node], FOUR, Duration::from_secs(DEFAULT + 60)).await?;
    in_time(&format!("{what}: made up for with nodeLoss Default"), took, DEFAULT)?;
    for (name, timeline) in [("default", &default), ("fast", &fast)] {
        let moments = timeline.since(when);
        let most = moments.iter().map(e2e::timeline::Moment::active).max().unwrap_or(0);
        ensure!(most <= FOUR, "{name}: {most} active pods for {FOUR}");
        let last = moments.last().map(|last| last.by_node().into_values().collect::<Vec<_>>()).unwrap_or_default();
        ensure!(last == [2, 2], "{name}: not spread over the two zones that are left: {last:?}");
        // Whoever deletes them by force may start a second one of what still runs.
        ensure!(there(timeline) > 0, "{name}: the pods of the lost node are gone, and nobody can know that they ended");
    }
    ensure!(there(&complete) == counts[2], "complete: the pods of the lost node are gone");
    let made = complete.since(when).iter().map(|moment| moment.pods.len()).max().unwrap_or(0);
    ensure!(made <= FOUR, "complete: {made} pods, ending ones included");

    let back = nodes.machine(node, "start").await?;
    nodes.ready(node).await?;
    figure(&format!("{what}: started, the node is Ready"), format!("{:.1}", back.elapsed().as_secs_f32()), "s");
    for (name, timeline) in [("default", default), ("fast", fast), ("complete", complete)] {
        space.ready(name, REPLICAS).await?;
        seen(&timeline, FOUR).await?;
        timeline.stop().await?;
    }
    in_time(&format!("{what}: started, everything as before"), back.elapsed(), 120)
}

fn pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

/// Waits until there are exactly `count` pods, all of them ready.
async fn seen(timeline: &Timeline, count: usize) -> Result<()> {
    until(&format!("{count} pods and no other"), Duration::from_secs(90), async || {
        let last = timeline.moments().pop();
        let well = last.as_ref().is_some_and(|last| last.pods.len() == count && last.serving(&[]) == count);
        Ok(if well { Ok(()) } else { Err(format!("{last:?}")) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_on_a_node_that_is_silent_for_a_minute_are_kept_by_the_default_policy() -> Result<()> {
    Nodes::run("silent", |space, nodes| async move {
        space.apply(&spread_idle("default", &json!({}))).await?;
        space.ready("default", REPLICAS).await?;
        let before = space.uids("default").await?;
        let timeline = watch(&space, "default");
        seen(&timeline, FOUR).await?;
        let node = &nodes.workers[0];
        let when = nodes.machine(node, "pause").await?;
        nodes.silent(node).await?;
        space.condition("default", "Available", "False", "").await?;
        let back = nodes.machine(node, "unpause").await?;
        space.ready("default", REPLICAS).await?;
        figure("pause: silent for", format!("{:.1}", back.duration_since(when).as_secs_f32()), "s");
        figure("pause: back, all ready", format!("{:.1}", back.elapsed().as_secs_f32()), "s");
        ensure!(space.uids("default").await? == before, "other pods than before");
        let most = timeline.stop().await?.iter().map(|moment| moment.pods.len()).max();
        ensure!(most == Some(FOUR), "{most:?} pods at a time");
        Ok(())
    })
    .await
}
