//! What is asked of our own side beyond its pace: how long reconciles take, what is asked of the API server at rest, and how much memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use crds::WorkerCluster;
use e2e::{Space, figures::figure, space::condition, until};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use tokio::time::sleep;

use super::{
    PATIENCE,
    metrics::{Histogram, Series},
    pods::Pods,
    rest::{at_rest, calls, calm},
    sides::{LABEL, Shape, TOGETHER},
};

/// 99 of 100 reconciles take no longer, in seconds.
const RECONCILE: f64 = 0.1;
const MEMORY_KIB: u64 = 150 * 1024;
/// How long the calls are counted at rest.
const REST: Duration = Duration::from_secs(60);
pub const RECONCILES: &str = "workercluster_reconcile_duration_seconds";
const BUSY: &str = "workercluster_reconcile_busy_duration_seconds";

/// All that is asked of our own side beyond its pace. Returns what was missed.
pub async fn look(space: &Space, shape: Shape, pods: &Pods, before: &Series) -> Result<Vec<String>> {
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
