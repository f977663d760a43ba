//! An API server that is killed again and again, and one that is gone for long: no worker notices, and when it is back the operator works again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, kubectl::root, manifest, until};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{process::Command, time::sleep};

const PATIENCE: Duration = Duration::from_secs(900);
/// From the API server's first good answer to what was asked for then.
const CONVERGED: Duration = Duration::from_secs(30);
/// Where Kubernetes itself needs longer (its own controllers end and wait when the API server is away): as quick as a Deployment, measured as the
/// differential lines do.
const RATIO: f32 = 0.9;

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

/// From the API server's first good answer after its return.
struct Back {
    /// To its first good answer at its Service, where pods ask for it: kube-proxy has to hear of it first.
    service: Duration,
    /// To the pod that was asked for then: what the operator has in its hands, from the answer at the Service on.
    made: Duration,
    /// To its being ready, which the scheduler and the kubelet, who were without the API server too, have a part in.
    ready: Duration,
    /// The same of a Deployment beside it.
    peer: Duration,
}

impl Back {
    fn tell(&self, what: &str, replicas: i32) {
        let seconds = |time: Duration| format!("{:.1}", time.as_secs_f32());
        figure(&format!("{what}: its Service answers after"), seconds(self.service), "s");
        figure(&format!("{what}: pod {replicas} made after"), seconds(self.made), "s");
        figure(&format!("{what}: {replicas} of {replicas} ready after"), seconds(self.ready), "s");
        figure(&format!("{what}: the same of a Deployment beside"), seconds(self.peer), "s");
    }

    fn is_in_time(&self) -> bool {
        let as_quick_as_a_deployment = self.peer.as_secs_f32() >= RATIO * self.ready.as_secs_f32();
        self.made <= self.service + CONVERGED && (self.ready <= CONVERGED || as_quick_as_a_deployment)
    }
}

/// Waits until the API server answers, asks for one replica more on both sides and waits for them.
async fn converges(space: &Space, replicas: i32) -> Result<Back> {
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
    let wanted = json!({"spec": {"replicas": replicas}});
    let peers = space.api::<Deployment>();
    until("the API server to take two writes", PATIENCE, async || {
        let both = async {
            space.patch("still", wanted.clone()).await?;
            peers.patch("peer", &PatchParams::default(), &Patch::Merge(&wanted)).await?;
            anyhow::Ok(())
        };
        Ok(both.await.map_err(|error| error.to_string()))
    })
    .await?;
    let service = until("the API server at its Service", PATIENCE, async || {
        Ok(apiserver("service").await.map(|()| back.elapsed()).map_err(|error| error.to_string()))
    });
    let (mut made, mut ready, mut peer) = (None, None, None);
    let both = until("the replicas of both", PATIENCE, async || {
        let ours = api.get("still").await.ok().and_then(|cluster| cluster.status);
        let (there, up) = ours.map_or((0, 0), |status| (status.replicas, status.ready_replicas));
        let theirs = peers.get("peer").await.ok().and_then(|peer| peer.status?.ready_replicas).unwrap_or(0);
        for (seen, count) in [(&mut made, there), (&mut ready, up), (&mut peer, theirs)] {
            if count == replicas {
                seen.get_or_insert_with(|| back.elapsed());
            }
        }
        Ok(match (made, ready, peer) {
            (Some(made), Some(ready), Some(peer)) => Ok((made, ready, peer)),
            _ => Err(format!("{there} pods, {up} ready; the Deployment {theirs}")),
        })
    });
    let (service, (made, ready, peer)) = tokio::try_join!(service, both)?;
    Ok(Back { service, made, ready, peer })
}

/// A Deployment of the same pods, to see what an absence of the API server costs by itself.
fn peer(replicas: i32) -> Value {
    let labels = json!({"app": "peer"});
    let mut pod = manifest::idle("x", &json!({}))["spec"]["template"].take();
    pod["metadata"] = json!({"labels": labels});
    // What our operator fills in; the namespace asks for it.
    pod["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}});
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "peer"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_goes_and_comes_back_restarts_no_worker() -> Result<()> {
    Space::run("apiserver", |space| async move {
        space.apply(&manifest::idle("still", &json!({"replicas": 2}))).await?;
        space.apply(&peer(2)).await?;
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
        let first = converges(&space, 3).await?;
        first.tell(&format!("API server killed {killed} times in {} s", kills.as_secs()), 3);
        let middle = restarts(&space).await?;

        let down = seconds("API_DOWN_SECONDS", 600);
        apiserver("away").await?;
        sleep(down).await;
        apiserver("back").await?;
        let again = converges(&space, 4).await?;
        again.tell(&format!("API server away for {} s", down.as_secs()), 4);
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
        ensure!(first.is_in_time() && again.is_in_time(), "longer than {CONVERGED:?}, and than a Deployment");
        Ok(())
    })
    .await
}
