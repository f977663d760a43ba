//! The operator's memory with 100 WorkerClusters of 3 replicas each, on simulated nodes (tests/cluster/kwok).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, manifest, until};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, PostParams};
use serde_json::json;

const CLUSTERS: usize = 100;
const REPLICAS: i32 = 3;
/// The most that the operator may have.
const MOST_KIB: u64 = 60 * 1024;
/// How long it is watched when all are ready. Its readers knock at every replica each second, and no primary answers there.
const WATCHED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_with_a_hundred_clusters_is_small() -> Result<()> {
    Space::run("many", |space| async move {
        let before = space.operator_memory().await?;
        figure("operator before", before.kib, &format!("KiB ({})", before.from));
        let api = space.api::<WorkerCluster>();
        let started = Instant::now();
        stream::iter(0..CLUSTERS)
            .map(|index| {
                let mut cluster =
                    manifest::idle(&format!("many-{index}"), &json!({"replicas": REPLICAS, "http": {"port": 8000}}));
                let pod = &mut cluster["spec"]["template"]["spec"];
                pod["nodeSelector"] = json!({"type": "kwok"});
                pod["tolerations"] = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
                let api = api.clone();
                async move { anyhow::Ok(api.create(&PostParams::default(), &serde_json::from_value(cluster)?).await?) }
            })
            .buffer_unordered(4)
            .try_collect::<Vec<_>>()
            .await?;
        let wanted = CLUSTERS * usize::try_from(REPLICAS)?;
        until("all replicas to be ready", Duration::from_secs(300), async || {
            let clusters = api.list(&ListParams::default()).await?;
            let ready: i32 = clusters.iter().filter_map(|cluster| Some(cluster.status.as_ref()?.ready_replicas)).sum();
            Ok(if usize::try_from(ready)? == wanted { Ok(()) } else { Err(format!("{ready} of {wanted}")) })
        })
        .await?;
        figure(
            &format!("{CLUSTERS} WorkerClusters of {REPLICAS} replicas: Ready"),
            format!("{:.1}", started.elapsed().as_secs_f32()),
            "s",
        );
        let ready = Instant::now();
        let mut most = 0;
        let last = until("the time of watching", WATCHED + Duration::from_secs(30), async || {
            let now = space.operator_memory().await?;
            most = most.max(now.kib);
            Ok(if ready.elapsed() >= WATCHED { Ok(now) } else { Err("not over yet") })
        })
        .await?;
        figure(
            &format!("operator with them, after {} s", WATCHED.as_secs()),
            last.kib,
            &format!("KiB ({})", last.from),
        );
        figure("operator at the most", most.max(last.most_kib), "KiB");
        ensure!(most.max(last.most_kib) <= MOST_KIB, "more than {MOST_KIB} KiB");
        // While there is still somebody to end the pods of simulated nodes.
        let deleted = Instant::now();
        space.kubectl(&["delete", "workerclusters", "--all", "--wait=false"]).await?;
        until("nothing to be left", Duration::from_secs(120), async || {
            let left = space.versions().await?.len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} objects")) })
        })
        .await?;
        figure("all of them deleted, nothing left", format!("{:.1}", deleted.elapsed().as_secs_f32()), "s");
        Ok(())
    })
    .await
}
