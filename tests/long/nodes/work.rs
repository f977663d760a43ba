//! What administrators do to nodes: drain, cordon, taint.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Load, Nodes, figures::figure, manifest, nodes::spread, until};
use serde_json::json;

use super::{FOUR, REPLICAS, in_time, made_up, spread_idle, watch};

/// A pod is gone from a node that nobody may stay on, and another is ready, within this time (s): its end and its start.
const MOVED: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_respects_the_budget_and_costs_no_request() -> Result<()> {
    Nodes::run("drain", |space, nodes| async move {
        space.apply(&manifest::program("web", "server.js", manifest::NODE_CLUSTER)).await?;
        let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/server.js"], REPLICAS, 1);
        cluster["spec"]["disruption"] = json!({"minAvailable": FOUR - 1});
        spread(&mut cluster);
        space.apply(&cluster).await?;
        space.ready("web", REPLICAS).await?;
        let address = space.address("web", 8000).await?;
        let timeline = watch(&space, "web");
        let load = Load::start(address, "/", 4, Duration::from_millis(50));
        let mut refused = 0;
        for node in &nodes.workers {
            let begun = std::time::Instant::now();
            let told = space
                .kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout", "180s"])
                .await?;
            refused += told.matches("violate the pod's disruption budget").count();
            figure("drain of a node", format!("{:.1}", begun.elapsed().as_secs_f32()), "s");
            space.ready("web", REPLICAS).await?;
            let moments = timeline.since(begun);
            let left = moments.last().context("nothing was seen")?;
            ensure!(!left.pods.values().any(|row| &row.node == node), "pods are left on {node}: {left:?}");
            space.kubectl(&["uncordon", node]).await?;
        }
        let report = load.stop().await?;
        let moments = timeline.stop().await?;
        let fewest = moments.iter().map(|moment| moment.serving(&[])).min().unwrap_or(0);
        figure("drain: evictions refused by the budget", refused, "times");
        figure(&format!("drain: fewest ready pods over {} watch events", moments.len()), fewest, "pods (at least 3)");
        figure("drain: requests answered", report.ok, "requests");
        figure("drain: requests failed", report.bad(), "requests");
        ensure!(fewest >= FOUR - 1, "{fewest} ready pods");
        ensure!(report.ok > 0 && report.bad() == 0, "{} hung, failed: {:?}", report.hung, report.failed);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_keeps_its_pods_and_gets_no_more() -> Result<()> {
    Nodes::run("cordon", |space, nodes| async move {
        space.apply(&spread_idle("web", &json!({}))).await?;
        space.ready("web", REPLICAS).await?;
        let before = space.uids("web").await?;
        let node = &nodes.workers[0];
        space.kubectl(&["cordon", node]).await?;
        // The zone that is closed to new pods is none to spread over: a cordon is a taint.
        space.patch("web", json!({"spec": {"replicas": 6}})).await?;
        let grown = space.ready("web", 6).await;
        let after = space.uids("web").await?;
        grown?;
        ensure!(before.iter().all(|(name, uid)| after.get(name) == Some(uid)), "{before:?}, then {after:?}");
        let pods = space.pods("web").await?;
        let there = |old: bool| {
            pods.iter()
                .filter(|pod| {
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(node);
                    on && before.contains_key(&name) == old
                })
                .count()
        };
        figure("cordon: pods kept there, new pods there", format!("{}, {}", there(true), there(false)), "pods");
        ensure!(there(true) > 0 && there(false) == 0, "new pods on a cordoned node, or none kept");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_leave_a_node_that_is_tainted_and_stay_spread() -> Result<()> {
    Nodes::run("taint", |space, nodes| async move {
        space.apply(&spread_idle("web", &json!({}))).await?;
        space.ready("web", REPLICAS).await?;
        let timeline = watch(&space, "web");
        let node = &nodes.workers[0];
        let when = std::time::Instant::now();
        nodes.taint(node, "e2e=gone:NoExecute").await?;
        let took = made_up(&timeline, when, &[node], FOUR, Duration::from_secs(MOVED + 60)).await?;
        in_time("taint NoExecute: all pods ready elsewhere", took, MOVED)?;
        until("the end of the pods there", Duration::from_secs(60), async || {
            let last = timeline.moments().pop();
            let gone = last.as_ref().is_some_and(|last| !last.pods.values().any(|row| &row.node == node));
            Ok(if gone { Ok(()) } else { Err(format!("{last:?}")) })
        })
        .await?;
        let moments = timeline.stop().await?;
        let last = moments.last().map(|last| last.by_node().into_values().collect::<Vec<_>>()).unwrap_or_default();
        ensure!(last == [2, 2], "not spread over the two zones that are left: {last:?}");
        let most = moments.iter().map(e2e::timeline::Moment::active).max();
        ensure!(most == Some(FOUR), "{most:?} active pods at a time");
        Ok(())
    })
    .await
}
