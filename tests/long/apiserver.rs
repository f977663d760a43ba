//! An API server that is killed again and again, and one that is gone for long: no worker notices, and when it is back the operator works again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, kubectl::root, manifest, until};
use kube::ResourceExt;
use serde_json::json;
use tokio::{process::Command, time::sleep};

const PATIENCE: Duration = Duration::from_secs(900);
/// From the API server's first good answer to what was asked for then.
const CONVERGED: Duration = Duration::from_secs(30);

/// Seconds, from the environment: fewer in a hurry.
fn seconds(name: &str, usual: u64) -> Duration {
    Duration::from_secs(std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual))
}

async fn apiserver(what: &str) -> Result<()> {
    let output = Command::new(root().join("tests/cluster/apiserver")).arg(what).output().await?;
    ensure!(output.status.success(), "apiserver {what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Restarts of containers and of workers, by the pod's UID.
async fn restarts(space: &Space) -> Result<BTreeMap<String, (i32, u64)>> {
    let mut restarts = BTreeMap::new();
    for pod in space.pods("still").await? {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let containers = containers.map(|container| container.restart_count).sum();
        let workers = space.stats(&pod.name_any()).await?.workers.restarts;
        restarts.insert(pod.uid().unwrap_or_default(), (containers, workers));
    }
    Ok(restarts)
}

/// Waits until the API server answers, asks for one replica more and waits for it; says how long that took.
async fn converges(space: &Space, replicas: i32) -> Result<Duration> {
    let api = space.api::<WorkerCluster>();
    until("the API server to answer", PATIENCE, async || {
        let answer = tokio::time::timeout(Duration::from_secs(5), api.get("still")).await;
        Ok(match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("silence".to_owned()),
        })
    })
    .await?;
    let back = Instant::now();
    until("the API server to take a write", PATIENCE, async || {
        Ok(space.patch("still", json!({"spec": {"replicas": replicas}})).await.map_err(|error| error.to_string()))
    })
    .await?;
    until("the replicas", PATIENCE, async || {
        let ready =
            api.get("still").await.ok().and_then(|cluster| cluster.status).map_or(0, |status| status.ready_replicas);
        Ok(if ready == replicas { Ok(()) } else { Err(format!("{ready} ready")) })
    })
    .await?;
    Ok(back.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_goes_and_comes_back_restarts_no_worker() -> Result<()> {
    Space::run("apiserver", |space| async move {
        space.apply(&manifest::idle("still", &json!({"replicas": 2}))).await?;
        space.ready("still", 2).await?;
        let before = restarts(&space).await?;

        let kills = seconds("API_KILLED_SECONDS", 300);
        let begun = Instant::now();
        let mut killed = 0;
        while begun.elapsed() < kills {
            apiserver("kill").await?;
            killed += 1;
            sleep(Duration::from_secs(10)).await;
        }
        let took = converges(&space, 3).await?;
        figure(
            &format!("API server killed {killed} times in {} s: back to 3 of 3", kills.as_secs()),
            format!("{:.1}", took.as_secs_f32()),
            "s",
        );
        let middle = restarts(&space).await?;

        let down = seconds("API_DOWN_SECONDS", 600);
        apiserver("away").await?;
        sleep(down).await;
        apiserver("back").await?;
        let again = converges(&space, 4).await?;
        figure(
            &format!("API server away for {} s: back to 4 of 4", down.as_secs()),
            format!("{:.1}", again.as_secs_f32()),
            "s",
        );
        let after = restarts(&space).await?;

        let same = |old: &BTreeMap<String, (i32, u64)>, new: &BTreeMap<String, (i32, u64)>| {
            old.iter().filter(|(uid, restarts)| new.get(*uid) != Some(restarts)).count()
        };
        figure(
            "pods replaced, or with restarts of container or workers",
            same(&before, &middle) + same(&middle, &after),
            "",
        );
        ensure!(same(&before, &middle) + same(&middle, &after) == 0, "{before:?} {middle:?} {after:?}");
        ensure!(took <= CONVERGED && again <= CONVERGED, "{took:?} and {again:?} are more than {CONVERGED:?}");
        Ok(())
    })
    .await
}
