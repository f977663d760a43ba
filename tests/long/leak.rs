//! A program that leaks, for ten minutes under load, in a container with a fixed limit: workers give way before the container is full, and nobody
//! notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Load, Space, figures::figure, manifest};
use kube::ResourceExt;
use serde_json::json;

const LEAKS: &str = "
const kept = [];
require('http').createServer((req, res) => { kept.push(Buffer.alloc(256 << 10, 1)); res.end('ok'); }).listen(8000);
";
const TIME: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_within_a_fixed_limit_costs_no_request_and_no_container() -> Result<()> {
    Space::run("leak", |space| async move {
        let files =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"app.js": LEAKS}});
        space.apply(&files).await?;
        let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/app.js"], 1, 2);
        cluster["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("640Mi");
        cluster["spec"]["workers"]["recycle"] = json!({"memory": "160Mi"});
        space.apply(&cluster).await?;
        space.ready("web", 1).await?;
        let address = space.address("web", 8000).await?;
        let load = Load::start(address, "/", 4, Duration::from_millis(20));
        let begun = std::time::Instant::now();
        let mut most = 0;
        while begun.elapsed() < TIME {
            tokio::time::sleep(LOOK).await; // how often it is looked at while time passes
            let pod = pod(&space).await?;
            let stats = space.stats(&pod).await?;
            most = most.max(stats.memory.map_or(0, |memory| memory.usage_bytes));
            println!("{} s: {} replaced, {:?}", begun.elapsed().as_secs(), stats.replaced.over_memory, stats.memory);
        }
        let report = load.stop().await?;
        let pod = pod(&space).await?;
        let (stats, restarts) = (space.stats(&pod).await?, restarts(&space).await?);
        figure("requests answered", report.ok, "requests");
        figure("requests failed", report.bad(), "requests");
        figure("workers that gave way for their memory", stats.replaced.over_memory, "workers");
        figure("memory of the container, the most that was seen", most >> 20, "MiB of 640");
        figure("container restarts", restarts, "");
        ensure!(report.bad() == 0, "{:?}", report.failed);
        ensure!(restarts == 0 && stats.deaths.out_of_memory == 0, "{restarts} restarts, {:?}", stats.deaths);
        ensure!(stats.replaced.over_memory >= 4, "it did not leak: {:?}", stats.replaced);
        Ok(())
    })
    .await
}

async fn pod(space: &Space) -> Result<String> {
    space.pods("web").await?.first().map(ResourceExt::name_any).context("no pod")
}

async fn restarts(space: &Space) -> Result<i32> {
    let pods = space.pods("web").await?;
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten();
    Ok(statuses.map(|container| container.restart_count).sum())
}
