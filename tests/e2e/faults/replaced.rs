//! A pod that is deleted or evicted is replaced; of a pod in which the kernel takes memory back, no more is replaced than has to be.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Space,
    figures::figure,
    load, manifest, until,
    watcher::{is_active, is_ready},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams},
};

use super::{restarts, told_once};

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_deleted_or_evicted_are_replaced() -> Result<()> {
    Space::run("gone", |space| async move {
        space.apply(&manifest::program("web", "server.js", super::SERVER)).await?;
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 2, 1)).await?;
        space.ready("web", 2).await?;
        for how in ["deleted", "evicted"] {
            let before = active(&space).await?;
            let (gone, stays) = (before.first().context("no pod")?, before.last().context("no pod")?);
            let pods = space.api::<Pod>();
            let started = std::time::Instant::now();
            if how == "deleted" {
                pods.delete(&gone.1, &DeleteParams::default()).await?;
            } else {
                pods.evict(&gone.1, &EvictParams::default()).await?;
            }
            until(&format!("a pod in place of the one {how}"), Duration::from_secs(60), async || {
                let now = active(&space).await?;
                let replaced = now.len() == 2 && now.contains(stays) && !now.contains(gone);
                Ok(if replaced { Ok(()) } else { Err(format!("{now:?}, before {before:?}")) })
            })
            .await?;
            figure(&format!("pod {how}: successor created after"), started.elapsed().as_millis(), "ms");
            until("both pods ready", Duration::from_secs(60), async || {
                let pods: Vec<_> = space.pods("web").await?.into_iter().filter(is_active).collect();
                let ready = pods.iter().filter(|pod| is_ready(pod)).count();
                Ok(if (pods.len(), ready) == (2, 2) { Ok(()) } else { Err(format!("{ready} of {}", pods.len())) })
            })
            .await?;
            figure(
                &format!("pod {how}: all ready again after"),
                format!("{:.1}", started.elapsed().as_secs_f32()),
                "s",
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_takes_too_much_memory_is_replaced() -> Result<()> {
    Space::run("oom", |space| async move {
        space.apply(&manifest::program("web", "server.js", super::SERVER)).await?;
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 1, 2)).await?;
        space.ready("web", 1).await?;
        let before = space.pods("web").await?;
        let pod = before.first().map(ResourceExt::name_any).context("no pod")?;
        let unified =
            space.exec(&pod, &["sh", "-c", "test -f /sys/fs/cgroup/cgroup.controllers && echo v2 || echo v1"]).await?;
        let unified = unified.trim() == "v2";
        let address = space.address("web", 8000).await?;
        let first = space.stats(&pod).await?;
        let started = std::time::Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(30), load::get(address, "/leak"))
            .await
            .context("the leak goes on")?;
        ensure!(answer.is_err(), "the request that takes all memory was answered: {answer:?}");
        let stats = until("two ready workers after the leak", Duration::from_secs(60), async || {
            let Ok(stats) = space.stats(&pod).await else { return Ok(Err("the primary does not answer".to_owned())) };
            let new = stats.workers.restarts > 0 || stats.uptime_milliseconds < first.uptime_milliseconds;
            Ok(if new && stats.workers.ready == 2 { Ok(stats) } else { Err(format!("{:?}", stats.workers)) })
        })
        .await?;
        figure("worker out of memory: all workers ready again after", started.elapsed().as_millis(), "ms");
        space.ready("web", 1).await?;
        let after = space.pods("web").await?;
        ensure!(after.first().map(ResourceExt::name_any).as_ref() == Some(&pod), "the pod was replaced");
        let restarted: i32 = restarts(&after).values().sum();
        if unified {
            // memory.oom.group: the kernel ends the whole container, the kubelet starts it again.
            figure("cgroup v2: restarts of the container", restarted, "");
            ensure!(restarted == 1, "{restarted} restarts of the container");
        } else {
            figure("cgroup v1: workers killed for memory", stats.deaths.out_of_memory, "");
            figure("cgroup v1: restarts of the container", restarted, "");
            ensure!(restarted == 0 && stats.deaths.out_of_memory == 1, "{restarted} restarts, {:?}", stats.deaths);
            ensure!(stats.uptime_milliseconds > first.uptime_milliseconds, "the primary was started again");
        }
        // Told either way: by the primary, or, where it was killed as well, from the pod's status.
        let message = space.condition("web", "WorkersHealthy", "False", "WorkersOutOfMemory").await?;
        ensure!(message.contains(&pod) && message.contains("workers.recycle.memory"), "{message}");
        told_once(&space, "WorkersOutOfMemory").await?;
        load::get(address, "/").await.map(|_| ())
    })
    .await
}

/// UID and name of the pods that are not on their way out.
async fn active(space: &Space) -> Result<BTreeSet<(String, String)>> {
    let pods = space.pods("web").await?;
    Ok(pods.iter().filter(|pod| is_active(pod)).map(|pod| (pod.uid().unwrap_or_default(), pod.name_any())).collect())
}
