//! The operator beside primaries that were built before the stats protocol last changed (tests/evidence makes them and loads them with the
//! tag `before`): it reads them, acts on what they say, leaves them alone, and replaces them at the next rollout.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{Load, Space, figures::figure, space::brief, until};
use serde_json::{Value, json};

use super::release::{Release, init_image};

/// From load to more replicas on a busy machine.
const SCALED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_with_primaries_of_the_version_before() -> Result<()> {
    Space::run("before", |space| async move {
        let release = Release::now().await?;
        release.clone().upgrade("primary.image.tag=before").await?;
        space.cpu_example(2).await?;
        let ready = space.ready("cpu", 1).await?;
        let pod = pod(&space).await?;
        ensure!(init_image(&pod).ends_with(":before"), "its primary is {}", init_image(&pod));
        figure("primary of before: image", init_image(&pod), "");
        let document = document(&space, &pod).await?;
        let fields = document.as_object().map_or(0, serde_json::Map::len);
        figure("primary of before: version of its stats", &document["version"], &format!("({fields} fields)"));
        workers(&space, "2 of 2 workers ready", |status| (status.ready, status.total) == (2, 2)).await?;
        ensure!(ready.status.is_some_and(|status| status.replicas == 1), "not one replica");

        // The operator becomes another while these primaries stay.
        let before = space.uids("cpu").await?;
        release.rollback().await?;
        workers(&space, "2 of 2 workers ready after the upgrade", |status| (status.ready, status.total) == (2, 2))
            .await?;
        space.condition("cpu", "ScalingActive", "True", "").await?;
        let name = before.keys().next().context("no pod")?;
        // The lowest number after the primary's is a worker's.
        space.exec(name, &["sh", "-c", "kill -9 $(ls /proc | grep -E '^[0-9]+$' | sort -n | sed -n 2p)"]).await?;
        workers(&space, "a restart of a worker", |status| status.restarts >= 1).await?;

        let address = space.address("cpu", 8000).await?;
        let load = Load::start(address, "/?milliseconds=20", 4, Duration::ZERO);
        let begun = Instant::now();
        let api = space.api::<WorkerCluster>();
        until("a second replica for the load", SCALED, async || {
            let cluster = api.get("cpu").await?;
            let replicas = cluster.status.as_ref().map_or(0, |status| status.replicas);
            Ok(if replicas == 2 { Ok(()) } else { Err(brief(&cluster)) })
        })
        .await?;
        figure("primary of before: load to a second replica", format!("{:.1}", begun.elapsed().as_secs_f32()), "s");
        let report = load.stop().await?;
        ensure!(report.ok > 0, "no request was answered");
        let two = space.uids("cpu").await?;
        let replaced = before.iter().filter(|(name, uid)| two.get(*name) != Some(*uid)).count();
        figure("primary of before: pods replaced by the operator's upgrade", replaced, "");
        ensure!(replaced == 0, "{before:?} became {two:?}");
        figure("primary of before: restarts of containers", space.restarts("cpu").await?, "");
        ensure!(space.restarts("cpu").await? == 0, "containers restarted");

        let containers = serde_json::to_value(&api.get("cpu").await?.spec.template)?["spec"]["containers"].take();
        let mut containers = containers;
        containers[0]["env"] = json!([{"name": "ROLLED", "value": "1"}]);
        space.patch("cpu", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await?;
        let images = until("all pods to have the present primary", Duration::from_secs(120), async || {
            let pods = space.pods("cpu").await?;
            let images: Vec<String> = pods
                .iter()
                .map(|pod| serde_json::to_value(pod).map(|pod| init_image(&pod).to_owned()))
                .collect::<Result<_, _>>()?;
            let done = !images.is_empty() && images.iter().all(|image| !image.ends_with(":before"));
            Ok(if done { Ok(images) } else { Err(images.join(", ")) })
        })
        .await?;
        figure("primary of before: images after the next rollout", images.join(", "), "");
        Ok(())
    })
    .await
}

async fn pod(space: &Space) -> Result<Value> {
    let pod = space.pods("cpu").await?.pop().context("no pod")?;
    Ok(serde_json::to_value(pod)?)
}

/// What its primary says, as it says it.
async fn document(space: &Space, pod: &Value) -> Result<Value> {
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    let path = format!("/api/v1/namespaces/{}/pods/{name}:9180/proxy/v1/stats", space.namespace);
    Ok(space.client.request(http::Request::get(path).body(Vec::new())?).await?)
}

async fn workers(space: &Space, what: &str, done: impl Fn(&crds::WorkerTotals) -> bool) -> Result<()> {
    let api = space.api::<WorkerCluster>();
    until(what, Duration::from_secs(60), async || {
        let cluster = api.get("cpu").await?;
        let workers = cluster.status.clone().unwrap_or_default().workers;
        Ok(if done(&workers) { Ok(()) } else { Err(format!("{workers:?}; {}", brief(&cluster))) })
    })
    .await
}
