//! What others do to a WorkerCluster: kubectl scale, a HorizontalPodAutoscaler, delete.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, look::QUIET, manifest, until};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Service, discovery::v1::EndpointSlice};
use kube::api::ListParams;
use serde_json::json;

fn seconds(since: Instant) -> String {
    format!("{:.2}", since.elapsed().as_secs_f32())
}

/// Whether every pod of `some` is one of `all`, by name and UID.
fn kept(some: &BTreeMap<String, String>, all: &BTreeMap<String, String>) -> bool {
    some.iter().all(|(name, uid)| all.get(name) == Some(uid))
}

/// Waits until no pod, Service and EndpointSlice of the WorkerCluster is left, and no WorkerCluster.
async fn gone(space: &Space, name: &str) -> Result<()> {
    let ours = ListParams::default().labels(&format!("{}={name}", crds::names::LABEL_NAME));
    until("nothing to be left", Duration::from_secs(60), async || {
        let mut left: Vec<String> =
            space.versions().await?.into_keys().filter(|key| key.contains(&format!("/{name}"))).collect();
        let slices = space.api::<EndpointSlice>().list(&ours).await?.items;
        left.extend(slices.into_iter().filter_map(|slice| slice.metadata.name));
        Ok(if left.is_empty() { Ok(()) } else { Err(left.join(", ")) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_scale_restarts_nothing_and_delete_leaves_nothing() -> Result<()> {
    Space::run("scale", |space| async move {
        let http = json!({"http": {"port": 8000}});
        space.apply(&manifest::idle("x", &http)).await?;
        space.ready("x", 1).await?;
        let before = space.uids("x").await?;
        let started = Instant::now();
        space.kubectl(&["scale", "wc/x", "--replicas=5"]).await?;
        space.ready("x", 5).await?;
        figure("kubectl scale 1 to 5: Ready", seconds(started), "s");
        let five = space.uids("x").await?;
        ensure!(five.len() == 5 && kept(&before, &five), "{before:?} {five:?}");
        space.kubectl(&["scale", "wc/x", "--replicas=2"]).await?;
        space.ready("x", 2).await?;
        let two = space.uids("x").await?;
        ensure!(kept(&two, &five), "the two that stay are two of the five");
        ensure!(space.restarts("x").await? == 0, "a container restarted");

        // While it scales: whatever is being created has to go too.
        space.kubectl(&["scale", "wc/x", "--replicas=8"]).await?;
        let started = Instant::now();
        space.kubectl(&["delete", "wc", "x"]).await?;
        gone(&space, "x").await?;
        figure("kubectl delete while scaling 2 to 8: nothing left", seconds(started), "s");
        let left = space.settled(QUIET, Duration::from_secs(30)).await?;
        ensure!(left.keys().all(|key| !key.contains("/x")), "came again: {left:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_horizontal_pod_autoscaler_scales_it() -> Result<()> {
    Space::run("hpa", |space| async move {
        space.apply(&manifest::idle("x", &json!({}))).await?;
        space.ready("x", 1).await?;
        let before = space.uids("x").await?;
        let target = json!({"apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "name": "x"});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
        let started = Instant::now();
        space
            .apply(&json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"},
                "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": [cpu]}
            }))
            .await?;
        space.ready("x", 3).await?;
        figure("HPA with minReplicas 3: Ready with 3", seconds(started), "s");
        ensure!(kept(&before, &space.uids("x").await?), "the first pod stays");
        // It must also be able to reckon: pods by our selector, with their processor time.
        let api = space.api::<HorizontalPodAutoscaler>();
        let status = until("the HPA to know the processor time", Duration::from_secs(90), async || {
            let status = api.get("x").await?.status.unwrap_or_default();
            let conditions: Vec<String> = status
                .conditions
                .iter()
                .flatten()
                .map(|condition| {
                    let text = |text: &Option<String>| text.clone().unwrap_or_default();
                    format!("{}={} ({}: {})", condition.type_, condition.status, text(&condition.reason), text(&condition.message))
                })
                .collect();
            let text = format!("current {:?}, desired {}; {}", status.current_replicas, status.desired_replicas, conditions.join("; "));
            let active = conditions.iter().any(|condition| condition.starts_with("ScalingActive=True"));
            Ok(if active && status.current_replicas == Some(3) { Ok(text) } else { Err(text) })
        })
        .await?;
        figure("HPA to its first figure", seconds(started), "s");
        figure("HPA status", status, "");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_adopted() -> Result<()> {
    Space::run("orphan", |space| async move {
        let cluster = manifest::idle("x", &json!({"replicas": 3, "http": {"port": 8000}}));
        space.apply(&cluster).await?;
        space.ready("x", 3).await?;
        let before = space.uids("x").await?;
        let first = space.api::<WorkerCluster>().get("x").await?.metadata.uid;
        space.kubectl(&["delete", "wc", "x", "--cascade=orphan"]).await?;
        until("pods without an owner", Duration::from_secs(20), async || {
            let owned = space.pods("x").await?.iter().filter(|pod| pod.metadata.owner_references.is_some()).count();
            Ok(if owned == 0 { Ok(()) } else { Err(format!("{owned} pods have an owner")) })
        })
        .await?;
        let started = Instant::now();
        space.apply(&cluster).await?;
        let again = space.ready("x", 3).await?;
        figure("orphans adopted: Ready again", seconds(started), "s");
        ensure!(again.metadata.uid != first, "it is the same WorkerCluster");
        ensure!(space.uids("x").await? == before, "{before:?} became {:?}", space.uids("x").await?);
        let owners: BTreeSet<String> = space
            .pods("x")
            .await?
            .into_iter()
            .flat_map(|pod| pod.metadata.owner_references.unwrap_or_default())
            .map(|owner| owner.uid)
            .collect();
        ensure!(Some(owners) == again.metadata.uid.map(|uid| BTreeSet::from([uid])), "not all pods are its own");
        space.condition("x", "Stalled", "False", "").await?;
        space.kubectl(&["delete", "wc", "x"]).await?;
        gone(&space, "x").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_others_is_left_alone_and_one_of_ours_is_healed() -> Result<()> {
    Space::run("services", |space| async move {
        let foreign = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
            "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]}
        });
        space.apply(&foreign).await?;
        let services = space.api::<Service>();
        let before = services.get("x").await?;
        space.apply(&manifest::idle("x", &json!({"http": {"port": 8000}}))).await?;
        let message = space.condition("x", "Ready", "False", "NameTaken").await?;
        figure("a foreign Service of that name: message", &message, "");
        ensure!(message.contains("Service x"), "{message}");
        ensure!(services.get("x").await? == before, "the foreign Service was touched");
        let removed = Instant::now();
        space.kubectl(&["delete", "service", "x"]).await?;
        space.ready("x", 1).await?;
        figure("the foreign Service deleted: Ready", seconds(removed), "s");

        let patch = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 9999}]"#;
        let edited = Instant::now();
        space.kubectl(&["patch", "service", "x", "--type=json", "-p", patch]).await?;
        until("the port to be 8000 again", Duration::from_secs(20), async || {
            let ports: Vec<i32> = services
                .get("x")
                .await?
                .spec
                .and_then(|spec| spec.ports)
                .into_iter()
                .flatten()
                .map(|port| port.port)
                .collect();
            Ok(if ports == [8000] { Ok(()) } else { Err(format!("{ports:?}")) })
        })
        .await?;
        figure("a Service edited by hand: healed", seconds(edited), "s");
        let deleted = Instant::now();
        let uid = services.get("x").await?.metadata.uid;
        space.kubectl(&["delete", "service", "x"]).await?;
        until("the Service to be there again", Duration::from_secs(20), async || {
            let found = services.get_opt("x").await?.and_then(|service| service.metadata.uid);
            Ok(if found.is_some() && found != uid { Ok(()) } else { Err(format!("{found:?}")) })
        })
        .await?;
        figure("a Service deleted by hand: made again", seconds(deleted), "s");
        Ok(())
    })
    .await
}
