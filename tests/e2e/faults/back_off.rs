//! Pods that cannot be, or that fail again and again, are tried ever more slowly, and at once when the cause is gone.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Space, figures::figure, manifest, space::condition, until, watcher::is_active};
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

/// How long pods that a quota refuses are watched: back-off 1, 2, 4, 8 s, so five attempts.
const REFUSED: Duration = Duration::from_secs(16);

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_named_and_asked_ever_more_slowly() -> Result<()> {
    Space::run("quota", |space| async move {
        space.apply(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-pod"}, "spec": {"hard": {"pods": "1"}}})).await?;
        let quotas = space.api::<ResourceQuota>();
        until("the quota in force", Duration::from_secs(20), async || {
            let used = quotas.get("one-pod").await?.status.and_then(|status| status.used).unwrap_or_default();
            Ok(if used.contains_key("pods") { Ok(()) } else { Err(format!("{used:?}")) })
        })
        .await?;
        let before = refused(&space).await?;
        space.apply(&manifest::program("web", "server.js", super::SERVER)).await?;
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 3, 1)).await?;
        let message = space.condition("web", "Ready", "False", "PodRejected").await?;
        println!("quota: {message}");
        ensure!(message.contains("exceeded quota: one-pod"), "the condition does not name the quota: {message}");
        let begun = Instant::now();
        let attempts = until("the end of the watch", REFUSED * 2, async || {
            let attempts = refused(&space).await? - before;
            Ok(if begun.elapsed() >= REFUSED { Ok(attempts) } else { Err(attempts) })
        })
        .await?;
        figure(&format!("quota: creates refused in the first {} s", REFUSED.as_secs()), attempts, "creates");
        // One for each step of the back-off, and one more in the first, where one pod of a batch of two is let in.
        ensure!((1..=6).contains(&attempts), "{attempts} creates refused in {} s", REFUSED.as_secs());

        quotas.delete("one-pod", &DeleteParams::default()).await?;
        let lifted = Instant::now();
        until("all pods created", Duration::from_secs(30), async || {
            let pods = space.pods("web").await?.len();
            Ok(if pods == 3 { Ok(()) } else { Err(pods) })
        })
        .await?;
        figure("quota lifted: all created after", format!("{:.1}", lifted.elapsed().as_secs_f32()), "s");
        space.ready("web", 3).await?;
        figure("quota lifted: all ready after", format!("{:.1}", lifted.elapsed().as_secs_f32()), "s");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_a_kubelet_refuses_are_replaced_ever_more_slowly() -> Result<()> {
    Space::run("failing", |space| async move {
        let nodes =
            Api::<Node>::all(space.client.clone()).list(&ListParams::default().labels("!kwok.x-k8s.io/node")).await?;
        let node = nodes.iter().next().map(ResourceExt::name_any).context("no node")?;
        space.apply(&manifest::program("web", "server.js", super::SERVER)).await?;
        let mut cluster = manifest::cluster("web", "node:22", &["node", "/program/server.js"], 1, 1);
        // The scheduler is passed by, and the kubelet finds that the pod does not belong there: it fails at once, each time.
        cluster["spec"]["template"]["spec"]["nodeName"] = node.into();
        cluster["spec"]["template"]["spec"]["nodeSelector"] = json!({"workercluster.dev/e2e": "nowhere"});
        // Neither does it ask for anything: a node that is full would be another reason.
        cluster["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
        let begun = Instant::now();
        space.apply(&cluster).await?;
        let (mut seen, mut most_kept) = (BTreeSet::new(), 0);
        until("60 s of watching", Duration::from_secs(90), async || {
            let pods = space.pods("web").await?;
            seen.extend(pods.iter().filter_map(ResourceExt::uid));
            most_kept = most_kept.max(failed(&pods));
            Ok(if begun.elapsed() >= Duration::from_secs(60) { Ok(()) } else { Err(format!("{} pods", seen.len())) })
        })
        .await?;
        figure("failing pods: creates in the first 60 s", seen.len(), "creates");
        figure("failing pods: failed ones at a time", most_kept, "pods");
        ensure!((2..=7).contains(&seen.len()), "{} pods in 60 s", seen.len());
        let said = until("a condition that says why", Duration::from_secs(30), async || {
            let cluster = space.api::<crds::WorkerCluster>().get("web").await?;
            let (_, reason, message) = condition(&cluster, "Ready").context("no condition")?;
            let said = format!("{reason}: {message}");
            Ok(if message.contains("NodeAffinity") { Ok(said) } else { Err(said) })
        })
        .await?;
        println!("failing pods: {said}");
        let kept = until("three failed pods at the most", Duration::from_secs(10), async || {
            let kept = failed(&space.pods("web").await?);
            Ok(if kept <= 3 { Ok(kept) } else { Err(kept) })
        })
        .await?;
        figure("failing pods: kept in the end", kept, "pods");

        // The next fails at 63 s, and then the back-off holds for another 64. A spec that is put right does not have to wait for that.
        let before = seen.len();
        until("one more failed pod", Duration::from_secs(40), async || {
            let pods = space.pods("web").await?;
            seen.extend(pods.iter().filter_map(ResourceExt::uid));
            let more = seen.len() > before && !pods.iter().any(is_active);
            Ok(if more { Ok(()) } else { Err(format!("{} pods", seen.len())) })
        })
        .await?;
        let right = Instant::now();
        let removed = serde_json::Value::Null;
        space
            .patch("web", json!({"spec": {"template": {"spec": {"nodeName": removed, "nodeSelector": removed}}}}))
            .await?;
        space.ready("web", 1).await?;
        figure(
            "failing pods: ready after the spec was put right",
            format!("{:.1}", right.elapsed().as_secs_f32()),
            "s",
        );
        ensure!(right.elapsed() < Duration::from_secs(45), "a spec that was put right waited {:?}", right.elapsed());
        Ok(())
    })
    .await
}

/// Failed pods that nobody has deleted yet.
fn failed(pods: &[Pod]) -> usize {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    let failed = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && phase(pod).as_deref() == Some("Failed");
    pods.iter().filter(failed).count()
}

/// How often a quota has refused a create, by the API server's own account; no other test has a quota.
async fn refused(space: &Space) -> Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let metrics = space.client.request_text(request).await?;
    let line = metrics.lines().find(|line| {
        let wanted = [r#"name="ResourceQuota""#, r#"operation="CREATE""#, r#"rejected="true""#];
        line.starts_with("apiserver_admission_controller_admission_duration_seconds_count")
            && wanted.iter().all(|part| line.contains(part))
    });
    let count = line.and_then(|line| line.rsplit(' ').next()).map_or(Ok(0.0), str::parse::<f64>)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(count as u64)
}
