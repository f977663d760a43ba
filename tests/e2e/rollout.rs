//! A change of the template under load costs no request.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use crds::names::LABEL_REVISION;
use e2e::{Load, Report, Space, Watcher, figures::figure, load, manifest, until, watcher::is_active};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

/// An unmodified program for Node's cluster module that says which version of its pod answered.
const SERVER: &str = r"
const cluster = require('cluster'), http = require('http'), os = require('os');
if (cluster.isPrimary) { for (let i = 0; i < os.cpus().length; i++) cluster.fork(); }
else http.createServer((req, res) => res.end(process.env.VERSION)).listen(8000);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_template_costs_no_request() -> Result<()> {
    Space::run("rollout", |space| async move {
        start(&space, 2).await?;
        let address = space.address("web", 8000).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let load = Load::start(address, "/", 4, Duration::from_millis(50));
        let started = std::time::Instant::now();
        space.patch("web", version("2")).await?;
        rolled(&space, 2).await?;
        figure("rollout of 2 pods", format!("{:.1}", started.elapsed().as_secs_f32()), "s");
        gone(&space).await?;
        let report = load.stop().await?;
        check("rollout", &report, &watcher.seen(), 2)?;
        let seen = watcher.stop().await?;
        figure("rollout: most pods at a time", seen.most_active(), "pods");
        ensure!(seen.most_active() <= 3, "{} pods at a time, one more than wanted is allowed", seen.most_active());
        ensure!(seen.uids.len() == 4, "{} pods for 2 of the old revision and 2 of the new", seen.uids.len());
        ensure!(load::get(address, "/").await? == "2", "the old version still answers");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_taken_back_while_it_rolls_out_costs_no_request() -> Result<()> {
    Space::run("revert", |space| async move {
        start(&space, 3).await?;
        let old = space.ready("web", 3).await?.status.unwrap_or_default().current_revision;
        let address = space.address("web", 8000).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let load = Load::start(address, "/", 4, Duration::from_millis(50));
        space.patch("web", version("2")).await?;
        until("an answer of the new version", Duration::from_secs(60), async || {
            let answer = load::get(address, "/").await?;
            Ok(if answer == "2" { Ok(()) } else { Err(answer) })
        })
        .await?;
        let midway = revisions(&space).await?;
        space.patch("web", version("1")).await?;
        ensure!(midway.contains(&old) && midway.len() == 2, "not in the middle of a rollout: {midway:?}");
        rolled(&space, 3).await?;
        ensure!(revisions(&space).await? == BTreeSet::from([old]), "not back at the old revision");
        gone(&space).await?;
        let report = load.stop().await?;
        check("taken back while rolling", &report, &watcher.stop().await?, 3)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_never_gets_ready_takes_nothing_away_and_can_be_taken_back() -> Result<()> {
    Space::run("broken", |space| async move {
        let before = start(&space, 2).await?;
        let address = space.address("web", 8000).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let load = Load::start(address, "/", 4, Duration::from_millis(50));
        let mut broken = version("2");
        broken["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["node", "-e", "process.exit(7)"]);
        space.patch("web", broken).await?;
        let message = space.condition("web", "WorkersHealthy", "False", "CrashLoop").await?;
        println!("broken: {message}");
        ensure!(message.contains("exit code 7"), "the condition does not say how the program ends: {message}");
        space.condition("web", "Available", "True", "").await?;
        let back = std::time::Instant::now();
        space.patch("web", version("1")).await?;
        rolled(&space, 2).await?;
        space.condition("web", "WorkersHealthy", "True", "AllWell").await?;
        figure(
            "broken rollout: well again after it was taken back",
            format!("{:.1}", back.elapsed().as_secs_f32()),
            "s",
        );
        ensure!(uids(&space).await? == before, "the pods that were well are not the same any more");
        gone(&space).await?;
        let report = load.stop().await?;
        let seen = watcher.stop().await?;
        figure("broken rollout: most pods at a time", seen.most_active(), "pods");
        ensure!(seen.most_active() <= 3, "{} pods at a time", seen.most_active());
        check("broken rollout", &report, &seen, 2)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_replicas_restarts_nothing_and_costs_no_request() -> Result<()> {
    Space::run("replicas", |space| async move {
        let first = start(&space, 2).await?;
        let address = space.address("web", 8000).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let load = Load::start(address, "/", 4, Duration::from_millis(50));
        space.patch("web", json!({"spec": {"replicas": 4}})).await?;
        space.ready("web", 4).await?;
        let four = uids(&space).await?;
        ensure!(first.is_subset(&four), "scaling up replaced pods: {first:?}, then {four:?}");
        space.patch("web", json!({"spec": {"replicas": 2}})).await?;
        space.ready("web", 2).await?;
        let two = uids(&space).await?;
        ensure!(two.is_subset(&four), "scaling down made new pods: {four:?}, then {two:?}");
        gone(&space).await?;
        let report = load.stop().await?;
        let seen = watcher.stop().await?;
        check("2 to 4 to 2", &report, &seen, 2)?;
        figure("2 to 4 to 2: pods created", seen.uids.difference(&first).count(), "pods");
        ensure!(seen.uids == four, "other pods than the four: {:?}", seen.uids);
        let restarts: i32 = space
            .pods("web")
            .await?
            .iter()
            .flat_map(|pod| pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()))
            .map(|container| container.restart_count)
            .sum();
        ensure!(restarts == 0, "{restarts} restarts of containers");
        Ok(())
    })
    .await
}

/// Starts version 1 and returns the UIDs of its pods.
async fn start(space: &Space, replicas: i32) -> Result<BTreeSet<String>> {
    space.apply(&manifest::program("web", "server.js", SERVER)).await?;
    let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/server.js"], replicas, 1);
    cluster["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "VERSION", "value": "1"}]);
    space.apply(&cluster).await?;
    space.ready("web", replicas).await?;
    uids(space).await
}

/// A change of the template: another value of VERSION. The list of containers is replaced as a whole, so all of it is said again.
fn version(version: &str) -> serde_json::Value {
    let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/server.js"], 1, 1);
    let mut containers = cluster["spec"]["template"]["spec"]["containers"].take();
    containers[0]["env"] = json!([{"name": "VERSION", "value": version}]);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

/// Waits until every pod is ready and of the current revision.
async fn rolled(space: &Space, replicas: i32) -> Result<()> {
    let cluster = space.ready("web", replicas).await?;
    let current = cluster.status.context("no status")?.current_revision;
    let found = revisions(space).await?;
    ensure!(found == BTreeSet::from([current.clone()]), "revisions {found:?}, wanted only {current}");
    Ok(())
}

/// Waits until the pods that were told to end are no more: their last requests count, too.
async fn gone(space: &Space) -> Result<()> {
    until("the end of the pods that were deleted", Duration::from_secs(60), async || {
        let pods = space.pods("web").await?;
        let ending = pods.iter().filter(|pod| !is_active(pod)).count();
        Ok(if ending == 0 { Ok(()) } else { Err(format!("{ending} of {} still end", pods.len())) })
    })
    .await
}

async fn active(space: &Space) -> Result<Vec<Pod>> {
    Ok(space.pods("web").await?.into_iter().filter(is_active).collect())
}

async fn uids(space: &Space) -> Result<BTreeSet<String>> {
    Ok(active(space).await?.iter().filter_map(ResourceExt::uid).collect())
}

async fn revisions(space: &Space) -> Result<BTreeSet<String>> {
    Ok(active(space).await?.iter().filter_map(|pod| pod.labels().get(LABEL_REVISION).cloned()).collect())
}

/// No request failed, and never were fewer pods ready than at first.
fn check(what: &str, report: &Report, seen: &e2e::watcher::Seen, ready: usize) -> Result<()> {
    figure(&format!("{what}: requests answered"), report.ok, "requests");
    figure(&format!("{what}: requests failed"), report.bad(), "requests");
    figure(&format!("{what}: fewest ready pods over {} watch events", seen.ready.len()), seen.fewest_ready(), "pods");
    ensure!(report.ok > 0 && report.bad() == 0, "{} hung, failed: {:?}", report.hung, report.failed);
    ensure!(seen.fewest_ready() >= ready, "{} of {ready} pods ready: {:?}", seen.fewest_ready(), seen.ready);
    Ok(())
}
