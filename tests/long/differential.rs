//! The same pods under a Deployment and under a WorkerCluster, side by side in one cluster: the same faults in turn, seen by one watch.

mod observer;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use crds::WorkerCluster;
use e2e::{
    Load, Space,
    figures::{figure, median_ms},
    manifest, until,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams, Patch, PatchParams},
};
use observer::Observer;
use serde_json::{Value, json};

/// Who looks after the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Ours,
    Peer,
}

/// How a pod is taken away.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Deleted,
    Evicted,
}

const SIDES: [Side; 2] = [Side::Ours, Side::Peer];
/// Label of the pods of both.
const LABEL: &str = "differential";
const REPLICAS: usize = 3;
const ROUNDS: usize = 20;
const ROLLOUTS: usize = 3;
/// Ours is as good where its median is within this of the peer's, or its inverse ratio at least 0.9.
const NEAR_MS: f64 = 20.0;
const PATIENCE: Duration = Duration::from_secs(120);
const SERVER: &str = r"
const cluster = require('cluster'), http = require('http'), os = require('os');
if (cluster.isPrimary) { for (let i = 0; i < os.cpus().length; i++) cluster.fork(); }
else http.createServer((req, res) => res.end(process.env.VERSION)).listen(8000);
";

// === impl Side ===

impl Side {
    /// Name of the WorkerCluster or Deployment, and value of the label.
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replacement_and_rollout_are_as_quick_as_a_deployments_and_lose_no_more() -> Result<()> {
    Space::run("differential", |space| async move {
        start(&space).await?;
        let observer = Observer::start(&space);
        for side in SIDES {
            whole(&observer, side).await?;
        }
        // All figures first, so that the bad ones are seen beside the others.
        let mut worse = Vec::new();
        for fault in [Fault::Deleted, Fault::Evicted] {
            worse.extend(replaced(&space, &observer, fault).await?);
        }
        worse.extend(rolled(&space, &observer).await?);
        observer.stop().await?;
        ensure!(worse.is_empty(), "{}", worse.join("; "));
        Ok(())
    })
    .await
}

/// Ours first, then a Deployment whose template is the very pod that our operator has built, and Services like ours.
async fn start(space: &Space) -> Result<()> {
    space.apply(&manifest::program("ours", "server.js", SERVER)).await?;
    let mut cluster =
        manifest::cluster("ours", "node:22", &["node", "/program/server.js"], i32::try_from(REPLICAS)?, 1);
    cluster["spec"]["template"]["metadata"] = json!({"labels": {(LABEL): "ours"}});
    cluster["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "VERSION", "value": "0"}]);
    space.apply(&cluster).await?;
    space.ready("ours", i32::try_from(REPLICAS)?).await?;
    let pod = space.pods("ours").await?.pop().context("no pod")?;
    let labels = json!({(LABEL): "peer"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "peer"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": labels},
            // As WorkerClusters roll out by default.
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": template(&pod)?}
        }
    });
    space.apply(&deployment).await?;
    // What a pod's end and beginning do to them is work for the cluster, on either side.
    for suffix in ["", "-pods"] {
        let service = space.api::<Service>().get(&format!("ours{suffix}")).await?;
        space.apply(&manifest::service_like(&service, &format!("peer{suffix}"), &labels)).await?;
    }
    Ok(())
}

/// The pod's spec without what the API server and the scheduler have put into it.
fn template(pod: &Pod) -> Result<Value> {
    let mut spec = serde_json::to_value(&pod.spec)?;
    let fields = spec.as_object_mut().context("no spec")?;
    for own in ["nodeName", "tolerations", "serviceAccount", "preemptionPolicy", "priority"] {
        fields.remove(own);
    }
    let token = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access"));
    for list in ["/volumes", "/containers/0/volumeMounts", "/initContainers/0/volumeMounts"] {
        if let Some(items) = spec.pointer_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| !token(item));
        }
    }
    Ok(spec)
}

/// Waits until a side has all its pods, ready, and none that ends.
async fn whole(observer: &Observer, side: Side) -> Result<()> {
    until(&format!("{side:?} to be whole"), PATIENCE, async || {
        let (all, ready) = observer.now(side);
        Ok(if (all, ready) == (REPLICAS, REPLICAS) { Ok(()) } else { Err(format!("{all} pods, {ready} ready")) })
    })
    .await
}

async fn replaced(space: &Space, observer: &Observer, fault: Fault) -> Result<Vec<String>> {
    let mut made = [Vec::new(), Vec::new()];
    let mut ready = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let side = SIDES[(round + turn) % 2];
            let victim = observer.oldest(side).context("no pod")?;
            let begun = Instant::now();
            match fault {
                Fault::Deleted => drop(space.api::<Pod>().delete(&victim.name, &DeleteParams::default()).await?),
                Fault::Evicted => drop(space.api::<Pod>().evict(&victim.name, &EvictParams::default()).await?),
            }
            let found = until("the replacement to be ready", PATIENCE, async || {
                Ok(observer.replacement(side, &victim.uid, begun).ok_or("not yet"))
            })
            .await?;
            made[side as usize].push(found.made);
            ready[side as usize].push(found.ready);
            whole(observer, side).await?;
        }
    }
    let what = format!("{fault:?}").to_lowercase();
    let made = compare(&format!("{what}: from the end's beginning to the new pod"), &made);
    let ready = compare(&format!("{what}: from the end's beginning to ready"), &ready);
    Ok(made.into_iter().chain(ready).collect())
}

/// Prints both medians with their extremes; says so where ours is worse.
fn compare(what: &str, [ours, peer]: &[Vec<Duration>; 2]) -> Option<String> {
    let text = |values: &[Duration]| {
        let least = values.iter().min().copied().unwrap_or_default().as_secs_f64() * 1000.0;
        let most = values.iter().max().copied().unwrap_or_default().as_secs_f64() * 1000.0;
        format!("{:.0} ({least:.0} to {most:.0}, {} rounds)", median_ms(values), values.len())
    };
    let (median, other) = (median_ms(ours), median_ms(peer));
    figure(&format!("{what}, ours"), text(ours), "ms");
    figure(&format!("{what}, ReplicaSet's"), text(peer), "ms");
    figure(&format!("{what}, ratio"), format!("{:.2}", other / median), "(at least 0.9, or within 20 ms)");
    let good = other / median >= 0.9 || median - other <= NEAR_MS;
    (!good).then(|| format!("{what}: {median:.0} ms, the ReplicaSet {other:.0} ms"))
}

async fn rolled(space: &Space, observer: &Observer) -> Result<Vec<String>> {
    let mut took = [Vec::new(), Vec::new()];
    let mut failed = [0, 0];
    let mut fewest = [REPLICAS; 2];
    let mut most = [0, 0];
    for round in 0..ROLLOUTS {
        for turn in 0..2 {
            let side = SIDES[(round + turn) % 2];
            let address = space.address_of(side.name(), &json!({(LABEL): side.name()}), 8000).await?;
            let load = Load::start(address, "/", 4, Duration::from_millis(50));
            let begun = Instant::now();
            change(space, side, &(round + 1).to_string()).await?;
            let done = until(&format!("the rollout of {side:?}"), PATIENCE, async || {
                Ok(observer.rolled(side, begun).ok_or_else(|| format!("{:?}", observer.now(side))))
            })
            .await?;
            whole(observer, side).await?;
            let report = load.stop().await?;
            let bounds = observer.bounds(side, begun);
            took[side as usize].push(done);
            failed[side as usize] += report.bad();
            fewest[side as usize] = fewest[side as usize].min(bounds.fewest_ready);
            most[side as usize] = most[side as usize].max(bounds.most_active);
            ensure!(report.ok > 0, "no request was answered");
        }
    }
    for side in SIDES {
        let (who, at) = (side.name(), side as usize);
        figure(&format!("rollout of {REPLICAS} pods under load, {who}"), format!("{:.0}", median_ms(&took[at])), "ms");
        figure(&format!("rollout, {who}: fewest ready, most active"), format!("{}, {}", fewest[at], most[at]), "pods");
        figure(&format!("rollout, {who}: requests failed in {ROLLOUTS} rollouts"), failed[at], "requests");
    }
    let (ours, peer) = (median_ms(&took[0]), median_ms(&took[1]));
    figure("rollout, ratio", format!("{:.2}", peer / ours), "(at least 0.9)");
    let mut worse = Vec::new();
    if fewest[0] < REPLICAS {
        worse.push(format!("rollout: {} of {REPLICAS} pods ready", fewest[0]));
    }
    if failed[0] > 0 {
        worse.push(format!("rollout: {} requests failed", failed[0]));
    }
    if peer / ours < 0.9 {
        worse.push(format!("rollout: {ours:.0} ms, the Deployment {peer:.0} ms"));
    }
    Ok(worse)
}

/// Another value of VERSION, in the same place of the same pod.
async fn change(space: &Space, side: Side, version: &str) -> Result<()> {
    match side {
        Side::Ours => {
            let cluster = space.api::<WorkerCluster>().get(side.name()).await?;
            let mut containers = serde_json::to_value(&cluster.spec.template)?["spec"]["containers"].take();
            containers[0]["env"] = json!([{"name": "VERSION", "value": version}]);
            space.patch(side.name(), json!({"spec": {"template": {"spec": {"containers": containers}}}})).await?;
        }
        Side::Peer => {
            let env = json!({"name": "worker", "env": [{"name": "VERSION", "value": version}]});
            let patch = json!({"spec": {"template": {"spec": {"containers": [env]}}}});
            let api = space.api::<Deployment>();
            let done = api.patch(side.name(), &PatchParams::default(), &Patch::Strategic(patch)).await?;
            if done.name_any() != side.name() {
                bail!("another Deployment");
            }
        }
    }
    Ok(())
}
