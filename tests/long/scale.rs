//! Thousands of pods on simulated nodes (tests/cluster/kwok): how long reconciles take while they are made, at rest and after a fault, what
//! the operator asks the API server for at rest, how much memory it has, and how quickly they come beside a Deployment's.

mod curve;
mod look;
mod metrics;
mod pods;
mod rest;
mod sides;

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use curve::Line;
use e2e::{Space, figures::figure, kubectl::root, until};
use look::look;
use metrics::Series;
use pods::Pods;
use serde_json::{Value, json};
use sides::{LABEL, Shape, Side, Template};

const SHAPES: [Shape; 3] = [
    Shape { objects: 1, replicas: 5000 },
    Shape { objects: 100, replicas: 100 },
    Shape { objects: 1000, replicas: 10 },
];
/// At the limits that kubeadm leaves the controllers with, 20 calls a second, the shapes would take half an hour.
const SMALL: Shape = Shape { objects: 1, replicas: 1000 };
/// As quick to Ready as the peer, within what two runs of the same differ by. Created is told beside it.
const RATIO: f64 = 0.9;
const PATIENCE: Duration = Duration::from_secs(1200);
/// Each in turn, alone in the cluster. What thousands of pods leave behind in etcd and in the controllers slows down whoever comes next, so both
/// come early and late.
const TURNS: [Side; 4] = [Side::Ours, Side::Peer, Side::Peer, Side::Ours];

/// One side's way to a shape.
struct Run {
    /// Until the last pod was created.
    created: Duration,
    /// Until the last pod was ready: the simulated nodes', the scheduler's and the endpoints controllers' time, on either side.
    ready: Duration,
    curve: Vec<(f64, usize, usize)>,
}

// === impl Run ===

impl Run {
    /// Its lines in the drawing: all pods, and those that are ready.
    fn lines(&self, who: &str, colour: &'static str) -> [Line<'static>; 2] {
        let created = self.curve.iter().map(|(at, all, _)| (*at, *all)).collect();
        let ready = self.curve.iter().map(|(at, _, ready)| (*at, *ready)).collect();
        [("created", self.created, true, created), ("ready", self.ready, false, ready)].map(
            |(what, took, dashed, points)| Line {
                name: format!("{who} {what}: {:.0} s", took.as_secs_f32()),
                colour,
                dashed,
                points,
            },
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pods_beside_a_deployments_with_the_limits_of_kubeadm() -> Result<()> {
    Space::run("scale", |space| async move {
        let template = sides::template(&space).await?;
        let mut missed = Vec::new();
        compare(&space, SMALL, &template, "usual limits", &mut missed).await?;
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
        for shape in SHAPES {
            if wanted.is_empty() || wanted.split(',').any(|one| one == shape.text().replace(' ', "")) {
                compare(&space, shape, &template, "raised limits", &mut missed).await?;
            }
        }
        ensure!(missed.is_empty(), "{}", missed.join("; "));
        Ok(())
    })
    .await
}

/// Both sides in their turns.
async fn compare(
    space: &Space,
    shape: Shape,
    template: &Template,
    limits: &str,
    missed: &mut Vec<String>,
) -> Result<()> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for (turn, side) in TURNS.into_iter().enumerate() {
        let pods = Pods::follow(space, &format!("{LABEL}={}", side.name()));
        // What is asked of ours beyond its pace is asked once.
        let before = if turn == 0 { Some(Series::of_operator(space).await?) } else { None };
        let run = create(space, side, shape, template, &pods).await?;
        let name = format!("{}, {limits}, turn {}, {}", shape.text(), turn + 1, side.name());
        figure(&format!("{name}: all created"), format!("{:.1}", run.created.as_secs_f32()), "s");
        figure(&format!("{name}: all Ready"), format!("{:.1}", run.ready.as_secs_f32()), "s");
        if let Some(before) = before {
            missed.extend(look(space, shape, &pods, &before).await?);
        }
        let gone = side.delete(space, &pods, PATIENCE).await?;
        figure(&format!("{name}: deleted, no pod left"), format!("{:.1}", gone.as_secs_f32()), "s");
        nothing_left(space).await?;
        if side == Side::Ours { &mut ours } else { &mut peer }.push(run);
    }
    let created = row(shape, limits, "created", &ours, &peer, |run| run.created);
    let ready = row(shape, limits, "Ready", &ours, &peer, |run| run.ready);
    // Both on two processors: who asks an API server for more at a time has its pods created sooner, and scheduled and Ready later, for the
    // scheduler and the nodes wait for it. What is promised is that they are there to be used as soon.
    if ready["met"] != true {
        missed.push(format!("{}: {} times as quick as a Deployment", shape.text(), ready["ratio"]));
    }
    save(shape, limits, &json!([created, ready]))?;
    let file = format!("scale-{}-{}.svg", shape.text().replace(' ', ""), limits.replace(' ', "-"));
    let folder = env::var("CURVES").map_or_else(|_| root().join("target"), PathBuf::from);
    let first = [("WorkerCluster", "#3366cc", &ours), ("Deployment", "#dc7633", &peer)];
    let lines = first.into_iter().filter_map(|(who, colour, runs)| Some(runs.first()?.lines(who, colour))).flatten();
    let title = format!("{} pods each, {limits}", shape.text());
    curve::draw(&folder.join(&file), &title, &lines.collect::<Vec<_>>())?;
    figure(&format!("{}, {limits}: curve of the first turns", shape.text()), file, "");
    Ok(())
}

/// From the first object to the last Ready pod.
async fn create(space: &Space, side: Side, shape: Shape, template: &Template, pods: &Pods) -> Result<Run> {
    let begun = Instant::now();
    let mut told = begun;
    let what = format!("{} pods of {side:?}", shape.pods());
    let mut made = None;
    let ready = until(&what, PATIENCE, async || {
        let (all, ready) = pods.now()?;
        if all == shape.pods() {
            made.get_or_insert_with(Instant::now);
        }
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
    let (made_objects, ready) = tokio::join!(side.create(space, shape, template), ready);
    made_objects?;
    let ready = ready?;
    let created = made.unwrap_or(ready).duration_since(begun);
    Ok(Run { created, ready: ready.duration_since(begun), curve: pods.curve(begun) })
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

/// A row for target/bench, and printed: pods by second, of both, in all their turns.
#[expect(clippy::cast_precision_loss, reason = "thousands of pods")]
fn row(shape: Shape, limits: &str, what: &str, ours: &[Run], peer: &[Run], took: fn(&Run) -> Duration) -> Value {
    let seconds = |runs: &[Run]| runs.iter().map(|run| took(run).as_secs_f64()).collect::<Vec<_>>();
    let rate = |runs: &[Run]| (shape.pods() * runs.len()) as f64 / seconds(runs).iter().sum::<f64>();
    // By how much the turns of one side differ, of their mean.
    let spread = |runs: &[Run]| {
        let all = seconds(runs);
        let (least, most) = (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
        (most - least) * all.len() as f64 / all.iter().sum::<f64>()
    };
    let ratio = rate(ours) / rate(peer);
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default();
    let row = json!({
        "test": format!("{} pods {what} on simulated nodes, {limits}", shape.text()), "unit": "pods/s", "better": "higher",
        "ours": round(rate(ours)), "peer": "Deployment", "peer_value": round(rate(peer)), "ratio": round(ratio),
        "rounds": ours.len(), "spread": round(spread(ours).max(spread(peer))), "target": RATIO, "met": ratio >= RATIO,
        "commit": commit
    });
    figure(&format!("{}, {limits}, {what}: row", shape.text()), &row, "");
    row
}

fn save(shape: Shape, limits: &str, rows: &Value) -> Result<()> {
    let folder = root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let name = format!("scale-{}-{}.json", shape.text().replace(' ', ""), limits.replace(' ', "-"));
    fs::write(folder.join(name), serde_json::to_vec_pretty(rows)?)?;
    Ok(())
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
