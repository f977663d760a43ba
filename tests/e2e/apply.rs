//! Applying: server-side, plain, again, and what kubectl then shows.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{
    Space,
    figures::figure,
    look::{QUIET, changes},
    until,
};
use kube::api::ListParams;

/// An example with its WorkerClusters and their replicas.
type Example = (&'static str, &'static [(&'static str, i32)]);
const HELLO: Example = ("hello", &[("hello", 2)]);
const PYTHON: Example = ("python", &[("own-port", 2), ("python", 2)]);
const QUEUE: Example = ("queue", &[("queue", 1)]);
const CPU: Example = ("cpu", &[("cpu", 1)]);
/// How long nothing may be written when all is well.
const REST: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_become_ready_and_rest_after_server_side_apply() -> Result<()> {
    Space::run("apply-server", |space| async move {
        for example in [PYTHON, CPU, HELLO] {
            one(&space, &["--server-side"], example).await?;
            delete(&space, example).await?;
        }
        one(&space, &["--server-side"], QUEUE).await?;
        rest(&space, "server-side").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_become_ready_and_rest_after_plain_apply() -> Result<()> {
    Space::run("apply-plain", |space| async move {
        for example in [QUEUE, CPU, PYTHON] {
            one(&space, &[], example).await?;
            delete(&space, example).await?;
        }
        one(&space, &[], HELLO).await?;
        rest(&space, "plain").await
    })
    .await
}

/// Applies an example, looks at it as its user would, and applies it again.
async fn one(space: &Space, mode: &[&str], (example, clusters): Example) -> Result<()> {
    let how = mode.first().map_or("plain", |_| "server-side");
    let apply = [&["apply", "-f", "-"], mode].concat();
    let diff = [&["diff", "-f", "-"], mode].concat();
    let text = space.example(example)?;
    let started = Instant::now();
    space.kubectl_with(&apply, &text).await?;
    for (name, replicas) in clusters {
        let cluster = space.ready(name, *replicas).await?;
        let took = format!("{:.1}", started.elapsed().as_secs_f32());
        figure(&format!("{how} apply of {example} to Ready of {name}"), took, "s");
        conditions_are_about_this_generation(&cluster)?;
    }
    no_difference(space, &diff, &text).await?;
    shown(space, clusters).await?;
    again(space, &apply, &text, clusters).await?;
    no_difference(space, &diff, &text).await
}

/// `kubectl diff` reads the object, and has it applied dry: a status that is written between the two looks like a difference, once.
async fn no_difference(space: &Space, diff: &[&str], text: &str) -> Result<()> {
    until("kubectl diff to show no difference", Duration::from_secs(20), async || {
        Ok(space.kubectl_with(diff, text).await.map(drop).map_err(|difference| difference.to_string()))
    })
    .await
}

/// Makes room: a small machine has not the processors that all examples request together.
async fn delete(space: &Space, (example, _): Example) -> Result<()> {
    space.kubectl_with(&["delete", "--wait=false", "-f", "-"], &space.example(example)?).await?;
    until("the example's pods to be gone", Duration::from_secs(60), async || {
        let versions = space.versions().await?;
        let left: Vec<_> = versions.into_keys().filter(|key| key.starts_with("pod/")).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(left.join(", ")) })
    })
    .await
}

fn conditions_are_about_this_generation(cluster: &WorkerCluster) -> Result<()> {
    let conditions = cluster.status.clone().unwrap_or_default().conditions;
    ensure!(conditions.len() >= 6, "{} conditions", conditions.len());
    for condition in conditions {
        ensure!(
            condition.observed_generation == cluster.metadata.generation,
            "{} is about generation {:?} of {:?}",
            condition.type_,
            condition.observed_generation,
            cluster.metadata.generation
        );
    }
    Ok(())
}

/// `kubectl get wc` tells replicas, workers and age.
async fn shown(space: &Space, clusters: &[(&str, i32)]) -> Result<()> {
    for (name, replicas) in clusters {
        until(&format!("a line of kubectl get wc {name} with all workers"), Duration::from_secs(20), async || {
            let table = space.kubectl(&["get", "wc", name]).await?;
            let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let (head, line) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let row: BTreeMap<&str, &str> = head.into_iter().zip(line).collect();
            let number = |column: &str| row.get(column).and_then(|text| text.parse::<i32>().ok()).unwrap_or(-1);
            let well = number("DESIRED") == *replicas
                && number("READY") == *replicas
                && number("WORKERS") >= *replicas
                && row.get("AGE").is_some_and(|age| age.ends_with('s'));
            Ok(if well { Ok(()) } else { Err(table) })
        })
        .await?;
    }
    Ok(())
}

/// A second apply of the same is no change. An autoscaler's figures may come between, but not each time.
async fn again(space: &Space, apply: &[&str], text: &str, clusters: &[(&str, i32)]) -> Result<()> {
    let old = generations(space, clusters).await?;
    until("a second apply without a write", Duration::from_secs(20), async || {
        let before = space.versions().await?;
        space.kubectl_with(apply, text).await?;
        let changed = changes(&before, &space.versions().await?);
        Ok(if changed.is_empty() { Ok(()) } else { Err(changed.join(", ")) })
    })
    .await?;
    ensure!(old == generations(space, clusters).await?, "the second apply made a generation");
    Ok(())
}

async fn generations(space: &Space, clusters: &[(&str, i32)]) -> Result<Vec<Option<i64>>> {
    let mut generations = Vec::new();
    for (name, _) in clusters {
        generations.push(space.api::<WorkerCluster>().get(name).await?.metadata.generation);
    }
    Ok(generations)
}

/// At rest nothing is written; figures of an autoscaler in status are, every 30 seconds. A machine that stands still in the midst of a look at the
/// pods makes one silent, which is news: once.
async fn rest(space: &Space, how: &str) -> Result<()> {
    if let Err(error) = rest_once(space, how).await {
        println!("again: {error:#}");
        return rest_once(space, how).await;
    }
    Ok(())
}

async fn rest_once(space: &Space, how: &str) -> Result<()> {
    let before = space.settled(QUIET, Duration::from_secs(90)).await?;
    let started = Instant::now();
    let mut last = before.clone();
    let mut writes: BTreeMap<String, u32> = BTreeMap::new();
    let mut told = vec![statuses(space).await?];
    until("the time of rest", REST + Duration::from_secs(10), async || {
        let now = space.versions().await?;
        let changed = changes(&last, &now);
        if !changed.is_empty() {
            told.push(statuses(space).await?);
        }
        for key in changed {
            *writes.entry(key).or_default() += 1;
        }
        last = now;
        let autoscaled = |key: &str| matches!(key, "wc/queue" | "wc/cpu");
        if let Some((key, count)) = writes.iter().find(|(key, count)| **count > u32::from(autoscaled(key))) {
            let after = started.elapsed().as_secs_f32();
            anyhow::bail!("{count} writes to {key} at rest after {after:.1} s; the statuses:\n{}", told.join("\n"));
        }
        Ok(if started.elapsed() >= REST { Ok(()) } else { Err("too early to tell") })
    })
    .await?;
    let objects = before.len();
    figure(
        &format!("{how} apply: writes in {} s to {objects} objects at rest", REST.as_secs()),
        format!("{writes:?}"),
        "",
    );
    Ok(())
}

/// What the WorkerClusters tell, for whoever has to find out what was written.
async fn statuses(space: &Space) -> Result<String> {
    let clusters = space.api::<WorkerCluster>().list(&ListParams::default()).await?;
    Ok(serde_json::to_string(&clusters.iter().map(|cluster| &cluster.status).collect::<Vec<_>>())?)
}
