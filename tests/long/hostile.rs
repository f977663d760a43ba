//! Replicas whose primaries lie, stall and flood: nothing is removed because of them, the operator stays small and alive, others are served, and a
//! condition says which pod it is and why.

mod replicas;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{
    Space,
    figures::figure,
    manifest,
    space::{brief, condition},
    until,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};
use replicas::{LIARS, NAME};
use serde_json::json;

/// The operator under test keeps the highest recommendation for 20 s (tests/evidence); whatever would take a replica away does so within that and
/// the 5 s for which a sample is used.
const HELD: Duration = Duration::from_secs(30);
/// Until it is told: five bad answers, or twenty seconds where every second one is good; other words come 30 s after the last.
const TOLD: Duration = Duration::from_secs(60);
/// Another WorkerCluster gets what it wants all the same.
const SERVED: Duration = Duration::from_secs(30);
/// The most by which the operator may grow: 16 MiB is far more than two documents of a mebibyte and their parts.
const MOST_GROWTH_KIB: u64 = 16 * 1024;

/// Two liars and one that is honest.
const REPLICAS: i32 = 3;

/// What the liars do, and the words by which the condition must name it, or others. No two that follow each other have the same.
const BEHAVIOURS: [(&str, &str); 17] = [
    ("nan", "is not a stats document"),
    ("negative", "is not a stats document: invalid value: integer `-1`"),
    ("1e308", "is not a stats document: invalid type: floating point"),
    ("stale", "stands still: it repeats an old answer"),
    ("backwards", "go back or jump"),
    ("huge", "longer than 1048576 bytes"),
    ("everything-and-nothing", "more processor time than any machine has|go back or jump"),
    ("endless-head", "broke off or is not HTTP"),
    ("slow-loris", "did not answer in time"),
    ("truncated", "broke off or is not HTTP"),
    ("version", "has version 7"),
    ("redirect", "HTTP status 302"),
    ("html", "is not a stats document: expected value"),
    ("impossible", "more workers are ready than run"),
    ("nested", "is not a stats document: invalid type: sequence"),
    ("silent", "did not answer in time"),
    ("flapping", "is not a stats document: missing field"),
];

/// The operator's containers: how often they were started anew, by pod.
async fn restarts(space: &Space) -> Result<Vec<(String, i32)>> {
    let operator = space.operator().await?;
    let pods = Api::<Pod>::namespaced(space.client.clone(), &operator.namespace().context("no namespace")?);
    let params = kube::api::ListParams::default().labels("app.kubernetes.io/name=workercluster-operator");
    let count = |pod: &Pod| {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        containers.map(|container| container.restart_count).sum()
    };
    let mut all: Vec<(String, i32)> =
        pods.list(&params).await?.iter().map(|pod| (pod.uid().unwrap_or_default(), count(pod))).collect();
    all.sort();
    Ok(all)
}

/// Panics in the operators' logs of the time since `since`.
async fn panics(space: &Space, since: Instant) -> Result<usize> {
    let operator = space.operator().await?;
    let namespace = operator.namespace().context("no namespace")?;
    let pods = Api::<Pod>::namespaced(space.client.clone(), &namespace);
    let seconds = i64::try_from(since.elapsed().as_secs())? + 1;
    let params = LogParams { since_seconds: Some(seconds), ..LogParams::default() };
    let text = pods.logs(&operator.name_any(), &params).await?;
    Ok(text.lines().filter(|line| line.contains("panicked at")).count())
}

/// Fails where a replica is missing, or one is no longer wanted; returns the version, of which there is one for each write.
async fn whole(space: &Space, replicas: i32) -> Result<(WorkerCluster, String)> {
    let cluster = space.api::<WorkerCluster>().get(NAME).await?;
    let status = cluster.status.clone().unwrap_or_default();
    let desired = status.autoscaling.map_or(replicas, |autoscaling| autoscaling.desired_replicas);
    let numbers = [cluster.spec.replicas, desired, status.replicas];
    ensure!(numbers.iter().all(|number| *number == replicas), "no longer {replicas}: {}", brief(&cluster));
    let version = cluster.resource_version().unwrap_or_default();
    Ok((cluster, version))
}

/// Nothing is removed, and nothing is about to be, for longer than the window; returns how often the WorkerCluster was written meanwhile.
async fn stays_whole(space: &Space, replicas: i32) -> Result<usize> {
    let (begun, mut versions) = (Instant::now(), BTreeSet::new());
    until("the time of watching", HELD * 2, async || {
        versions.insert(whole(space, replicas).await?.1);
        Ok(if begun.elapsed() >= HELD { Ok(()) } else { Err("not over yet") })
    })
    .await?;
    Ok(versions.len() - 1)
}

/// One behaviour: told in time, and nothing removed for longer than the window.
async fn endure(space: &Space, behaviour: &str, words: &str) -> Result<()> {
    replicas::behave(space, behaviour).await?;
    let begun = Instant::now();
    let told = until(&format!("{behaviour} to be told"), TOLD, async || {
        let (cluster, _) = whole(space, REPLICAS).await?;
        let (status, reason, message) = condition(&cluster, "WorkersHealthy").context("no condition")?;
        let named = LIARS.iter().any(|pod| message.contains(pod));
        let said = words.split('|').any(|words| message.contains(words));
        let is_told = status == "Unknown" && reason == "StatsUnusable" && named && said;
        Ok(if is_told { Ok(message) } else { Err(format!("{status} ({reason}): {message}")) })
    })
    .await?;
    figure(&format!("{behaviour}: told after"), format!("{:.1}", begun.elapsed().as_secs_f32()), &format!("s: {told}"));
    let writes = stays_whole(space, REPLICAS).await?;
    figure(&format!("{behaviour}: writes in the {} s after", HELD.as_secs()), writes, "");
    ensure!(writes <= 4, "{behaviour}: written {writes} times in {HELD:?}");
    Ok(())
}

/// Another WorkerCluster is scaled and is ready again.
async fn serves_others(space: &Space, replicas: i32) -> Result<Duration> {
    let begun = Instant::now();
    space.patch("calm", json!({"spec": {"replicas": replicas}})).await?;
    space.ready("calm", replicas).await?;
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replica_goes_because_of_a_primary_that_lies_and_the_pod_is_named() -> Result<()> {
    Space::run("hostile", |space| async move {
        space.apply(&manifest::idle("calm", &json!({"replicas": 1}))).await?;
        space.ready("calm", 1).await?;
        replicas::make(&space, REPLICAS).await?;
        let begun = Instant::now();
        let (uids, before) = (space.uids(NAME).await?, restarts(&space).await?);
        // Honest, they hold the number: what comes below is not because they ask for more.
        stays_whole(&space, REPLICAS).await?;
        let (first, mut most) = (space.operator_memory().await?, 0);
        figure("operator before", first.kib, &format!("KiB ({})", first.from));
        let mut slowest = Duration::ZERO;
        for (number, (behaviour, words)) in (1..).zip(BEHAVIOURS) {
            endure(&space, behaviour, words).await?;
            most = most.max(space.operator_memory().await?.kib);
            slowest = slowest.max(serves_others(&space, 1 + number % 2).await?);
        }
        replicas::behave(&space, "honest").await?;
        let honest = Instant::now();
        space.condition(NAME, "WorkersHealthy", "True", "AllWell").await?;
        space.condition(NAME, "ScalingActive", "True", "MetricsKnown").await?;
        figure("honest again: all well after", format!("{:.1}", honest.elapsed().as_secs_f32()), "s");
        whole(&space, REPLICAS).await?;

        let left = space.uids(NAME).await?;
        let removed = uids.iter().filter(|(name, uid)| left.get(*name) != Some(*uid)).count();
        figure("behaviours endured", BEHAVIOURS.len(), &format!("in {} s", begun.elapsed().as_secs()));
        figure("replicas removed", removed, "");
        ensure!(left == uids, "pods came or went: {uids:?} {left:?}");
        figure("another WorkerCluster scaled meanwhile: slowest", format!("{:.1}", slowest.as_secs_f32()), "s");
        figure("operator at the most", most, "KiB");
        ensure!(slowest <= SERVED, "{slowest:?} is more than {SERVED:?}");
        ensure!(most <= first.kib + MOST_GROWTH_KIB, "from {} to {most} KiB", first.kib);
        let after = restarts(&space).await?;
        ensure!(before == after, "operators restarted: {before:?} {after:?}");
        let panics = panics(&space, begun).await?;
        figure("restarts and panics of the operator", panics, "");
        ensure!(panics == 0, "the operator panicked");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_lie_scaling_is_not_active_and_says_of_whom() -> Result<()> {
    Space::run("liars", |space| async move {
        let replicas = i32::try_from(LIARS.len())?;
        replicas::make(&space, replicas).await?;
        let uids = space.uids(NAME).await?;
        for (behaviour, words) in
            [("1e308", "floating point"), ("stale", "stands still"), ("silent", "did not answer in time")]
        {
            replicas::behave(&space, behaviour).await?;
            let begun = Instant::now();
            let told = until(&format!("{behaviour} to be told"), TOLD, async || {
                let (cluster, _) = whole(&space, replicas).await?;
                let (status, reason, message) = condition(&cluster, "ScalingActive").context("no condition")?;
                let named = LIARS.iter().any(|pod| message.contains(pod));
                let is_told = status == "False" && reason == "NoUsableSample" && named && message.contains(words);
                Ok(if is_told { Ok(message) } else { Err(format!("{status} ({reason}): {message}")) })
            })
            .await?;
            let took = format!("{:.1}", begun.elapsed().as_secs_f32());
            figure(&format!("all {behaviour}: ScalingActive=False after"), took, &format!("s: {told}"));
            stays_whole(&space, replicas).await?;
        }
        ensure!(space.uids(NAME).await? == uids, "pods came or went: {:?}", space.uids(NAME).await?);
        Ok(())
    })
    .await
}
