//! Thousands of pods on simulated nodes (tests/cluster/kwok): how long reconciles take while they are made, at rest and after a fault, what
//! the operator asks the API server for at rest, how much memory it has, and how quickly they come beside a Deployment's.

mod curve;
mod metrics;
mod pods;
mod rest;
mod sides;

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use crds::WorkerCluster;
use curve::Line;
use e2e::{Space, figures::figure, kubectl::root, space::condition, until};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use metrics::{Histogram, Series};
use pods::Pods;
use rest::{at_rest, calls, calm};
use serde_json::{Value, json};
use sides::{LABEL, Shape, Side, TOGETHER};
use tokio::{process::Command, time::sleep};

const SHAPES: [Shape; 3] = [
    Shape { objects: 1, replicas: 5000 },
    Shape { objects: 100, replicas: 100 },
    Shape { objects: 1000, replicas: 10 },
];
/// At the limits that kubeadm leaves the controllers with, 20 calls a second, the shapes would take half an hour.
const SMALL: Shape = Shape { objects: 1, replicas: 1000 };
/// 99 of 100 reconciles take no longer, in seconds.
const RECONCILE: f64 = 0.1;
const MEMORY_KIB: u64 = 150 * 1024;
/// As quick as the peer, within what two runs of the same differ by.
const RATIO: f64 = 0.9;
/// How long the calls are counted at rest.
const REST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1200);
const RECONCILES: &str = "workercluster_reconcile_duration_seconds";
const BUSY: &str = "workercluster_reconcile_busy_duration_seconds";

/// One side's way to a shape.
struct Run {
    took: Duration,
    curve: Vec<(f64, usize)>,
}

// === impl Run ===

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "thousands of pods")]
    fn rate(&self, shape: Shape) -> f64 {
        shape.pods() as f64 / self.took.as_secs_f64()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pods_beside_a_deployments_with_the_limits_of_kubeadm() -> Result<()> {
    Space::run("scale", |space| async move {
        let template = sides::template(&space).await?;
        let mut missed = Vec::new();
        compare(&space, SMALL, &template, "usual limits", [Side::Ours, Side::Peer], &mut missed).await?;
        ensure!(missed.is_empty(), "{}", missed.join("; "));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_pods_in_three_shapes() -> Result<()> {
    Space::run("scale", |space| async move {
        let template = sides::template(&space).await?;
        let wanted = env::var("SHAPES").unwrap_or_default();
        // All figures first, so that the bad ones are seen beside the others.
        let mut missed = Vec::new();
        for (index, shape) in SHAPES.into_iter().enumerate() {
            if wanted.is_empty() || wanted.split(',').any(|one| one == shape.text().replace(' ', "")) {
                let sides = if index % 2 == 0 { [Side::Ours, Side::Peer] } else { [Side::Peer, Side::Ours] };
                compare(&space, shape, &template, "raised limits", sides, &mut missed).await?;
            }
        }
        ensure!(missed.is_empty(), "{}", missed.join("; "));
        Ok(())
    })
    .await
}

/// Both sides in turn, each alone in the cluster.
async fn compare(
    space: &Space,
    shape: Shape,
    template: &Value,
    limits: &str,
    sides: [Side; 2],
    missed: &mut Vec<String>,
) -> Result<()> {
    let mut runs = Vec::new();
    for side in sides {
        let pods = Pods::follow(space, &format!("{LABEL}={}", side.name()));
        let before = if side == Side::Ours { Some(Series::of_operator(space).await?) } else { None };
        let run = create(space, side, shape, template, &pods).await?;
        let name = format!("{}, {limits}, {}", shape.text(), side.name());
        figure(&format!("{name}: all Ready"), format!("{:.1}", run.took.as_secs_f32()), "s");
        figure(&format!("{name}: pods Ready per second"), format!("{:.1}", run.rate(shape)), "pods/s");
        if let Some(before) = before {
            missed.extend(look(space, shape, &pods, &before).await?);
        }
        let gone = side.delete(space, &pods, PATIENCE).await?;
        figure(&format!("{name}: deleted, no pod left"), format!("{:.1}", gone.as_secs_f32()), "s");
        nothing_left(space).await?;
        runs.push((side, run));
    }
    runs.sort_by_key(|(side, _)| *side == Side::Peer);
    let [(_, ours), (_, peer)] = runs.as_slice() else { bail!("two sides") };
    let ratio = ours.rate(shape) / peer.rate(shape);
    row(shape, limits, ours, peer).await?;
    if ratio < RATIO {
        missed.push(format!("{}: {ratio:.2} times as quick as a Deployment", shape.text()));
    }
    let file = format!("4.8-scale-{}-{}.svg", shape.text().replace(' ', ""), limits.replace(' ', "-"));
    let folder = env::var("CURVES").map_or_else(|_| root().join("target"), PathBuf::from);
    let label = |who: &str, run: &Run| format!("{who}: {:.0} s", run.took.as_secs_f32());
    curve::draw(
        &folder.join(&file),
        &format!("Ready pods, {} pods each, {limits}", shape.text()),
        &[
            Line { name: label("WorkerCluster", ours), colour: "#3366cc", points: &ours.curve },
            Line { name: label("Deployment", peer), colour: "#dc7633", points: &peer.curve },
        ],
    )?;
    figure(&format!("{}, {limits}: curve", shape.text()), file, "");
    Ok(())
}

/// From the first object to the last Ready pod.
async fn create(space: &Space, side: Side, shape: Shape, template: &Value, pods: &Pods) -> Result<Run> {
    let begun = Instant::now();
    let mut told = begun;
    let what = format!("{} pods of {side:?}", shape.pods());
    let ready = until(&what, PATIENCE, async || {
        let (all, ready) = pods.now()?;
        if told.elapsed() >= Duration::from_secs(10) {
            println!(
                "{} {}: {all} pods, {ready} Ready after {:.0} s",
                shape.text(),
                side.name(),
                begun.elapsed().as_secs_f32()
            );
            told = Instant::now();
        }
        Ok(if (all, ready) == (shape.pods(), shape.pods()) {
            Ok(Instant::now())
        } else {
            Err(format!("{all} pods, {ready} Ready"))
        })
    });
    let (created, ready) = tokio::join!(side.create(space, shape, template), ready);
    created?;
    Ok(Run { took: ready?.duration_since(begun), curve: pods.curve(begun) })
}

/// All that is asked of our own side beyond its pace. Returns what was missed.
async fn look(space: &Space, shape: Shape, pods: &Pods, before: &Series) -> Result<Vec<String>> {
    let mut missed = Vec::new();
    let name = shape.text();
    all_say_ready(space, shape).await?;
    let made = Series::of_operator(space).await?;
    let during = made.since(before);
    reconciles(&format!("{name}, made"), &during, &mut missed);
    figure(&format!("{name}, made: calls"), calls(&during), "");
    figure(
        &format!("{name}, made: watches that began with a list"),
        during.sum("workercluster_watch_lists_total", |_| true),
        "",
    );

    let calm = calm(space).await?;
    let (operator, server) = (Series::of_operator(space).await?, Series::of_api_server(&space.client).await?);
    let begun = Instant::now();
    sleep(REST).await;
    let server = Series::of_api_server(&space.client).await?.since(&server);
    let after = Series::of_operator(space).await?;
    let (rest, seconds) = (after.since(&operator), begun.elapsed().as_secs_f64());
    at_rest(&format!("{name}, at rest"), &rest, &server, seconds, &mut missed);
    figure(&format!("{name}, at rest: reached after"), format!("{:.0}", calm.as_secs_f32()), "s");
    figure(
        &format!("{name}, at rest: interval of the questions to each primary"),
        after.sum("workercluster_scrape_interval_seconds", |_| true),
        "s",
    );

    fault(space, shape, pods).await?;
    let mended = Series::of_operator(space).await?.since(&after);
    reconciles(&format!("{name}, 1 % of the pods deleted"), &mended, &mut missed);

    let memory = space.operator_memory().await?;
    figure(&format!("{name}: operator's memory"), memory.kib, &format!("KiB ({})", memory.from));
    figure(&format!("{name}: operator's memory, the most since it began"), memory.most_kib, "KiB");
    if memory.most_kib > MEMORY_KIB {
        missed.push(format!("{name}: {} KiB", memory.most_kib));
    }
    Ok(missed)
}

fn reconciles(name: &str, series: &Series, missed: &mut Vec<String>) {
    for (what, metric) in [("reconciles", RECONCILES), ("reconciles without waiting for others", BUSY)] {
        let times: Histogram = series.histogram(metric);
        figure(&format!("{name}: {what}"), times.text(), "");
        // What a reconcile waits for is the API server's pace, and the turn that it gives to 200 writes a second.
        if metric == BUSY && times.percentile(99.0) > RECONCILE {
            missed.push(format!("{name}: {what} {}", times.text()));
        }
    }
}

/// Waits until status says what the pods do.
async fn all_say_ready(space: &Space, shape: Shape) -> Result<()> {
    let api = space.api::<WorkerCluster>();
    until("every WorkerCluster to say Ready", PATIENCE, async || {
        let clusters = api.list(&ListParams::default()).await?;
        let ready = clusters
            .iter()
            .filter(|cluster| condition(cluster, "Ready").is_some_and(|(status, ..)| status == "True"))
            .count();
        if ready < shape.objects {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(if ready == shape.objects { Ok(()) } else { Err(format!("{ready} of {}", shape.objects)) })
    })
    .await
}

/// Deletes each hundredth pod, and waits until all are Ready again.
async fn fault(space: &Space, shape: Shape, pods: &Pods) -> Result<()> {
    let api = space.api::<Pod>();
    let all = api.list_metadata(&ListParams::default().labels(&format!("{LABEL}=ours"))).await?;
    let names: Vec<String> = all.iter().step_by(100).map(ResourceExt::name_any).collect();
    let begun = Instant::now();
    stream::iter(&names)
        .map(|name| async { anyhow::Ok(api.delete(name, &DeleteParams::default()).await?) })
        .buffer_unordered(TOGETHER)
        .try_collect::<Vec<_>>()
        .await?;
    until("all pods to be Ready again", PATIENCE, async || {
        let (all, ready) = pods.now()?;
        let quiet = pods.changed().is_some_and(|at| at >= begun && at.elapsed() >= Duration::from_secs(2));
        Ok(if quiet && (all, ready) == (shape.pods(), shape.pods()) {
            Ok(())
        } else {
            Err(format!("{all} pods, {ready} Ready"))
        })
    })
    .await?;
    let took = pods.changed().map_or(Duration::ZERO, |at| at.duration_since(begun));
    figure(
        &format!("{}, 1 % of the pods deleted: all Ready again", shape.text()),
        format!("{:.1}", took.as_secs_f32()),
        "s",
    );
    all_say_ready(space, shape).await
}

async fn nothing_left(space: &Space) -> Result<()> {
    until("nothing to be left", PATIENCE, async || {
        let left = space
            .kubectl(&["get", "workerclusters,deployments,replicasets,pods,services,controllerrevisions", "-o", "name"])
            .await?;
        Ok(if left.trim().is_empty() || left.starts_with("No resources") {
            Ok(())
        } else {
            Err(format!("{} objects", left.lines().count()))
        })
    })
    .await
}

/// A row for target/bench, and printed.
async fn row(shape: Shape, limits: &str, ours: &Run, peer: &Run) -> Result<()> {
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).output().await?;
    let (rate, other) = (ours.rate(shape), peer.rate(shape));
    let row = json!({
        "test": format!("{} pods Ready on simulated nodes, {limits}", shape.text()), "unit": "pods/s", "better": "higher",
        "ours": round(rate), "peer": "Deployment", "peer_value": round(other), "ratio": round(rate / other),
        "rounds": 1, "spread": 0, "target": RATIO, "met": rate / other >= RATIO,
        "commit": String::from_utf8_lossy(&commit.stdout).trim()
    });
    figure(&format!("{}, {limits}: row", shape.text()), &row, "");
    let folder = root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let name = format!("scale-{}-{}.json", shape.text().replace(' ', ""), limits.replace(' ', "-"));
    fs::write(folder.join(name), serde_json::to_vec_pretty(&json!([row]))?)?;
    Ok(())
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
