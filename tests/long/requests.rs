//! `balancing: Queue` under 300 requests a second on kept connections while everything happens that happens to pods.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Kept, Logs, Nodes, Space, figures::figure, manifest, until};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

/// Says who answered, after 20 ms.
const SERVER: &str = r"
const http = require('http'), os = require('os');
http.createServer((req, res) => setTimeout(() => res.end(os.hostname()), 20)).listen(process.env.PORT);
";

const CONNECTIONS: u32 = 900;
const EVERY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_happens_to_pods_costs_a_request() -> Result<()> {
    Nodes::run("requests", |space, nodes| async move {
        space.apply(&manifest::program("web", "server.js", SERVER)).await?;
        let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/server.js"], 2, 2);
        cluster["spec"]["http"] = json!({"port": 8000, "balancing": "Queue"});
        cluster["spec"]["workers"]["drainSeconds"] = json!(20);
        e2e::nodes::spread(&mut cluster);
        space.apply(&cluster).await?;
        space.ready("web", 2).await?;
        let address = space.address("web", 8000).await?;
        let logs = Logs::follow(space.clone(), "web");
        let load = Kept::start(address, "/", CONNECTIONS, EVERY);
        let mut steps = Vec::new();
        let mut step = |what: &'static str, load: &Kept| {
            let account = load.so_far();
            steps.push((what, account.answers.len(), account.bad()));
            println!("{what}: {} answered, {:?} failed so far", account.answers.len(), account.failed);
        };

        let mut containers = cluster["spec"]["template"]["spec"]["containers"].clone();
        containers[0]["env"] = json!([{"name": "VERSION", "value": "2"}]);
        space.roll("web", json!({"spec": {"template": {"spec": {"containers": containers}}}}), 2).await?;
        step("rolling update", &load);

        space.patch("web", json!({"spec": {"replicas": 8}})).await?;
        settled(&space, 8).await?;
        step("2 to 8 pods", &load);
        space.patch("web", json!({"spec": {"replicas": 2}})).await?;
        settled(&space, 2).await?;
        step("8 to 2 pods", &load);

        space.patch("web", json!({"spec": {"replicas": 4}})).await?;
        settled(&space, 4).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (shares, furthest) = spread(&load).await;
        figure("2 to 4 pods: load of a pod is off the mean 10 s later by at most", furthest, "%");
        // Of 900 that choose one of four at random, one has 15 % more or fewer than its part once in fifty times.
        let again = if furthest > 15 { spread(&load).await } else { (shares, furthest) };
        ensure!(again.0.len() == 4 && again.1 <= 15, "{furthest} %, and then {again:?}");
        step("2 to 4 pods", &load);

        let pod = space.pods("web").await?.first().map(ResourceExt::name_any).context("no pod")?;
        space.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
        until("the deleted pod to be gone", Duration::from_secs(60), async || {
            let there = space.pods("web").await?.iter().any(|one| one.name_any() == pod);
            Ok(if there { Err("it is still there") } else { Ok(()) })
        })
        .await?;
        settled(&space, 4).await?;
        step("pod deletion", &load);

        let node = &nodes.workers[0];
        let drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"];
        space.kubectl(&[&drain[..], &["--pod-selector", "workercluster.dev/name=web"]].concat()).await?;
        settled(&space, 4).await?;
        let on_it = space
            .pods("web")
            .await?
            .iter()
            .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(node))
            .count();
        ensure!(on_it == 0, "{on_it} pods on the drained node");
        step("node drain", &load);

        let drained = logs.with(r#""event":"draining""#).len();
        let killed = logs.with("did not stop in time");
        let account = load.stop().await?;
        for (what, answered, failed) in &steps {
            figure(&format!("after {what}: requests answered, failed"), format!("{answered}, {failed}"), "requests");
        }
        figure("requests answered", account.answers.len(), "requests");
        figure("requests failed", account.bad(), "requests");
        figure("connections that ended with an answer that said so", account.ended, "connections");
        figure("p99", account.percentile(99).as_millis(), "ms");
        figure("replicas that ended, by their own words", drained, "");
        figure("workers killed since they did not stop in time", killed.len(), "workers");
        ensure!(account.bad() == 0, "{:?}", account.failed);
        ensure!(killed.is_empty(), "{killed:?}");
        // 2 of the rollout, 6 of the way down, one that was deleted, and at least one on the drained node.
        ensure!(drained >= 10, "only {drained} replicas were heard to the end");
        Ok(())
    })
    .await
}

/// How many requests each pod answers within ten seconds, and by how many percent one is off the mean at most.
async fn spread(load: &Kept) -> (BTreeMap<String, usize>, usize) {
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let account = load.so_far();
    let shares: BTreeMap<String, usize> =
        account.shares(since).into_iter().map(|(pod, count)| (pod.to_owned(), count)).collect();
    let mean = shares.values().sum::<usize>() / 4;
    let furthest = shares.values().map(|count| count.abs_diff(mean) * 100 / mean.max(1)).max().unwrap_or(100);
    (shares, furthest)
}

/// All pods are ready, of the current revision, and no other is left.
async fn settled(space: &Space, replicas: i32) -> Result<()> {
    space.ready("web", replicas).await?;
    until("no other pod to be left", Duration::from_secs(120), async || {
        let count = space.pods("web").await?.len();
        Ok(if i32::try_from(count)? == replicas { Ok(()) } else { Err(format!("{count} pods")) })
    })
    .await
}
