//! What reaches pods that run: settings, reloads, drains; and who may order it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::{WorkerCluster, names};
use e2e::{Load, Space, figures::figure, manifest, until};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use primary_protocol::Stats;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// As it is promised: applied to all pods within this time, in the middle of several changes.
const AT_ONCE: Duration = Duration::from_secs(2);
/// None takes longer, whatever a machine that stands still for some seconds adds to it.
const SOON: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);

/// A WorkerCluster of Node workers behind one port, ready.
async fn start(space: &Space, replicas: i32, workers: i32) -> Result<()> {
    start_with(space, replicas, workers, json!({})).await
}

/// The same with more in `spec.workers`.
async fn start_with(space: &Space, replicas: i32, workers: i32, more: Value) -> Result<()> {
    let files = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"app.js": manifest::NODE_CLUSTER}
    });
    space.apply(&files).await?;
    let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/app.js"], replicas, workers);
    cluster["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("512Mi");
    if let (Some(workers), Value::Object(more)) = (cluster["spec"]["workers"].as_object_mut(), more) {
        workers.extend(more);
    }
    space.apply(&cluster).await?;
    space.ready("web", replicas).await?;
    Ok(())
}

/// Restarts of the pods' containers, by UID: the same again means that no pod and no container was replaced.
async fn lives(space: &Space) -> Result<BTreeMap<String, i32>> {
    let restarts = |pod: &Pod| {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        containers.map(|container| container.restart_count).sum()
    };
    Ok(space.pods("web").await?.iter().map(|pod| (pod.uid().unwrap_or_default(), restarts(pod))).collect())
}

/// What each pod's primary says.
async fn told(space: &Space) -> Result<BTreeMap<String, Stats>> {
    let mut all = BTreeMap::new();
    for pod in space.pods("web").await? {
        all.insert(pod.name_any(), space.stats(&pod.name_any()).await?);
    }
    Ok(all)
}

/// The workers' process ids, with their pod.
fn workers(told: &BTreeMap<String, Stats>) -> BTreeSet<(String, u32)> {
    let pids = |(pod, stats): (&String, &Stats)| {
        stats.slots.iter().filter_map(|slot| Some((pod.clone(), slot.pid?))).collect::<Vec<_>>()
    };
    told.iter().flat_map(pids).collect()
}

/// Patches `spec.workers` and waits until every primary goes by it; how long that took.
async fn change(space: &Space, what: &str, patch: Value, done: impl Fn(&Stats) -> bool) -> Result<Duration> {
    let before = told(space).await?;
    let revision = |stats: &Stats| stats.told.as_ref().map(|told| told.revision.clone());
    let begun = Instant::now();
    space.patch("web", json!({"spec": {"workers": patch}})).await?;
    until(&format!("{what} in every pod"), PATIENCE, async || {
        let now = told(space).await?;
        let other = now.iter().all(|(pod, stats)| revision(stats) != before.get(pod).and_then(revision) && done(stats));
        Ok(if other {
            Ok(())
        } else {
            Err(format!("{:?}", now.values().map(|stats| (&stats.told, stats.workers)).collect::<Vec<_>>()))
        })
    })
    .await?;
    let took = begun.elapsed();
    figure(&format!("{what}: in every pod after"), format!("{:.2}", took.as_secs_f32()), "s");
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_pods_that_run_and_restart_none() -> Result<()> {
    Space::run("live", |space| async move {
        start(&space, 3, 2).await?;
        let (before, running) = (lives(&space).await?, workers(&told(&space).await?));
        let more =
            change(&space, "workers.count 2 to 3", json!({"count": 3}), |stats| stats.workers.desired == 3).await?;
        let mut took = vec![more];
        for (what, patch) in [
            ("workers.recycle.memory", json!({"recycle": {"memory": "400Mi"}})),
            ("workers.hang", json!({"hang": {"timeoutSeconds": 60}})),
            ("workers.restart", json!({"restart": {"maxSeconds": 5}})),
        ] {
            took.push(change(&space, what, patch, |_| true).await?);
        }
        space.condition("web", "SettingsApplied", "True", "Applied").await?;
        until("9 workers", PATIENCE, async || {
            let cluster = space.api::<WorkerCluster>().get("web").await?;
            let ready = cluster.status.unwrap_or_default().workers.ready;
            Ok(if ready == 9 { Ok(()) } else { Err(ready) })
        })
        .await?;
        ensure!(lives(&space).await? == before, "a pod or a container was replaced");
        ensure!(workers(&told(&space).await?).is_superset(&running), "a worker was restarted");
        let fewer =
            change(&space, "workers.count 3 to 1", json!({"count": 1}), |stats| stats.workers.desired == 1).await?;
        ensure!(lives(&space).await? == before, "a pod or a container was replaced");
        took.push(fewer);
        took.sort();
        ensure!(took[took.len() / 2] <= AT_ONCE && took.last() <= Some(&SOON), "they took {took:?}");
        // A pod that is made now begins with them, and need not be told.
        space.patch("web", json!({"spec": {"replicas": 4}})).await?;
        space.ready("web", 4).await?;
        let fresh = told(&space).await?;
        let names: BTreeSet<_> = fresh.values().map(|stats| stats.told.clone().map(|told| told.revision)).collect();
        ensure!(names.len() == 1 && fresh.values().all(|stats| stats.workers.desired == 1), "{fresh:?}");
        ensure!(fresh.values().any(|stats| stats.orders.taken == 0), "the new pod was told: {fresh:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_replaces_all_workers_replica_by_replica_and_fails_no_request() -> Result<()> {
    Space::run("reload", |space| async move {
        start(&space, 2, 2).await?;
        let address = space.address("web", 8000).await?;
        let (before, running) = (lives(&space).await?, workers(&told(&space).await?));
        let load = Load::start(address, "/", 2, Duration::from_millis(20));
        let begun = Instant::now();
        let annotations = json!({(names::ANNOTATION_RELOAD): "first", (names::ANNOTATION_RELOAD_AT_ONCE): "1"});
        space.patch("web", json!({"metadata": {"annotations": annotations}})).await?;
        let mut twice = 0;
        until("the end of the reload", PATIENCE, async || {
            let cluster = space.api::<WorkerCluster>().get("web").await?;
            let reload = cluster.status.unwrap_or_default().reload.unwrap_or_default();
            let under_way = told(&space)
                .await?
                .values()
                .filter(|stats| stats.reload.as_ref().is_some_and(|reload| !reload.ended))
                .count();
            // One may have ended, and the next begun, between the two questions; not twice in a row.
            twice = if under_way > 1 { twice + 1 } else { 0 };
            ensure!(twice < 2, "{under_way} replicas reload at the same time");
            let done = (reload.id.as_str(), reload.replicas, reload.done_replicas) == ("first", 2, 2);
            Ok(if done { Ok(()) } else { Err(format!("{reload:?}")) })
        })
        .await?;
        figure("reload of 2 replicas of 2 workers", format!("{:.1}", begun.elapsed().as_secs_f32()), "s");
        let report = load.stop().await?;
        figure("requests during the reload: failed", report.bad(), "requests");
        ensure!(report.ok > 0 && report.bad() == 0, "{:?}", report.failed);
        ensure!(lives(&space).await? == before, "a pod or a container was replaced");
        ensure!(workers(&told(&space).await?).is_disjoint(&running), "an old worker serves on");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_pod_is_left_out_and_serves_on_until_it_is_taken_back() -> Result<()> {
    Space::run("drain", |space| async move {
        start(&space, 2, 1).await?;
        let pod = space.pods("web").await?.first().map(ResourceExt::name_any).context("no pod")?;
        let drain = async |value: Value| {
            let patch = json!({"metadata": {"annotations": {(names::ANNOTATION_DRAIN): value}}});
            space.api::<Pod>().patch(&pod, &PatchParams::default(), &Patch::Merge(patch)).await
        };
        drain(json!("true")).await?;
        until("one endpoint", PATIENCE, async || {
            let ready = space.endpoints("web").await?;
            Ok(if ready == 1 { Ok(()) } else { Err(ready) })
        })
        .await?;
        let stats = space.stats(&pod).await?;
        ensure!(stats.drained && stats.workers.ready == 1, "{stats:?}");
        drain(Value::Null).await?;
        space.ready("web", 2).await?;
        ensure!(!space.stats(&pod).await?.drained, "it is still drained");
        Ok(())
    })
    .await
}

/// Connections with half a request each, so many that a worker of every pod is busy with one.
async fn keep_all_busy(space: &Space, address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    until("a busy worker in every pod", PATIENCE, async || {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await?;
        held.push(connection);
        let busy: Vec<_> = told(space).await?.values().map(|stats| stats.workers.busy).collect();
        Ok(if busy.iter().all(|busy| busy.is_some_and(|busy| busy > 0)) { Ok(()) } else { Err(format!("{busy:?}")) })
    })
    .await?;
    Ok(held)
}

/// Waits until one of two pods serves out, and neither ends; gives its name.
async fn retiring(space: &Space) -> Result<String> {
    until("one that serves out, and one endpoint", PATIENCE, async || {
        let status = space.api::<WorkerCluster>().get("web").await?.status.unwrap_or_default();
        let drained = told(space).await?.into_iter().filter(|(_, stats)| stats.drained).map(|(pod, _)| pod);
        let (drained, endpoints) = (drained.collect::<Vec<_>>(), space.endpoints("web").await?);
        let seen = (status.replicas, status.retiring_replicas, status.terminating_replicas, endpoints);
        Ok(match drained.as_slice() {
            [pod] if seen == (1, 1, 0, 1) => Ok(pod.clone()),
            _ => Err(format!("{drained:?}, {seen:?}")),
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_too_many_serves_out_is_called_back_and_goes_when_it_is_idle() -> Result<()> {
    Space::run("retire", |space| async move {
        start_with(&space, 2, 1, json!({"drainSeconds": 60})).await?;
        let address = space.address("web", 8000).await?;
        let before = lives(&space).await?;
        let held = keep_all_busy(&space, address).await?;
        space.patch("web", json!({"spec": {"replicas": 1}})).await?;
        let first = retiring(&space).await?;
        ensure!(lives(&space).await? == before, "a pod ended though a worker of it was busy");

        let begun = Instant::now();
        space.patch("web", json!({"spec": {"replicas": 2}})).await?;
        until("that it is not drained any more", PATIENCE, async || {
            let drained = space.stats(&first).await?.drained;
            Ok(if drained { Err(drained) } else { Ok(()) })
        })
        .await?;
        figure("a retiring replica is called back after", format!("{:.2}", begun.elapsed().as_secs_f32()), "s");
        space.ready("web", 2).await?;
        ensure!(lives(&space).await? == before, "another pod was made in its place");

        space.patch("web", json!({"spec": {"replicas": 1}})).await?;
        let last = retiring(&space).await?;
        let begun = Instant::now();
        drop(held);
        until("the end of the one that served out", PATIENCE, async || {
            let pods: Vec<String> = space.pods("web").await?.iter().map(ResourceExt::name_any).collect();
            Ok(if pods.len() == 1 && !pods.contains(&last) { Ok(()) } else { Err(format!("{pods:?}")) })
        })
        .await?;
        let took = begun.elapsed();
        figure("an idle one is gone after", format!("{:.1}", took.as_secs_f32()), "s");
        ensure!(took < Duration::from_secs(45), "it waited for the time of those that are busy: {took:?}");
        let events = space.events("web").await?;
        for reason in ["PodsRetiring", "PodsCalledBack", "PodsDeleted"] {
            ensure!(events.iter().any(|(event, _)| event == reason), "no {reason} among {events:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reaches_the_port_can_order_nothing() -> Result<()> {
    Space::run("orders", |space| async move {
        start(&space, 1, 1).await?;
        let pod = space.pods("web").await?.first().map(ResourceExt::name_any).context("no pod")?;
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:9180/proxy/v1/config", space.namespace);
        let body = br#"{"revision": "evil", "workers": {"count": 9}}"#.to_vec();
        let request = http::Request::put(path).header("content-type", "application/json").body(body)?;
        let refused = space.client.request::<Value>(request).await;
        ensure!(refused.is_err(), "{refused:?}");
        let stats = space.stats(&pod).await?;
        ensure!(stats.workers.desired == 1 && stats.orders.refused.get("unsigned") == Some(&1), "{stats:?}");
        Ok(())
    })
    .await
}
