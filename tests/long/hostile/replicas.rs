//! A WorkerCluster whose replicas have primaries that are made up, all of them or all but one: pods of our own that carry the labels of one of
//! its pods, and are taken in as orphans.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::names;
use e2e::{Space, manifest, until, watcher::is_ready};
use kube::ResourceExt;
use serde_json::{Value, json};

/// The WorkerCluster's name.
pub const NAME: &str = "web";
/// Pods whose primary is made up.
pub const LIARS: [&str; 2] = ["web-liar-1", "web-liar-2"];
/// What each requests, in thousandths of a processor; each liar says that it uses 60 of them.
const REQUEST: &str = "100m";

fn cluster(replicas: i32) -> Value {
    let mut cluster = manifest::idle(NAME, &json!({"replicas": replicas}));
    cluster["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(REQUEST);
    cluster
}

fn liar(name: &str, slot: usize, revision: &str) -> Value {
    let labels = json!({
        names::LABEL_NAME: NAME, names::LABEL_INSTANCE: NAME, names::LABEL_MANAGED_BY: names::MANAGED_BY,
        names::LABEL_REVISION: revision, names::LABEL_SLOT: slot.to_string()
    });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": names::WORKER_CONTAINER, "image": "python:3.11-slim", "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "/program/primary.py"],
                "ports": [{"name": names::ADMIN_PORT_NAME, "containerPort": 9180}],
                "resources": {"requests": {"cpu": REQUEST, "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "program", "mountPath": "/program"}]
            }],
            "volumes": [{"name": "program", "configMap": {"name": "liar"}}]
        }
    })
}

/// Makes it with 3 replicas, one of them honest, or with the 2 liars alone; scaled by processor time, with a target at which the number stays as
/// it is while the liars say that they use 60 % of their request and the honest one nothing.
pub async fn make(space: &Space, replicas: i32) -> Result<()> {
    space.apply(&cluster(1)).await?;
    space.ready(NAME, 1).await?;
    let honest = space.pods(NAME).await?.into_iter().next().context("no pod")?;
    let revision = honest.labels().get(names::LABEL_REVISION).context("no revision")?.clone();
    space.kubectl(&["delete", "wc", NAME, "--cascade=orphan"]).await?;
    space.apply(&manifest::program("liar", "primary.py", include_str!("primary.py"))).await?;
    for (slot, name) in (1..).zip(LIARS) {
        space.apply(&liar(name, slot, &revision)).await?;
    }
    let alone = replicas == i32::try_from(LIARS.len())?;
    if alone {
        space.kubectl(&["delete", "pod", &honest.name_any()]).await?;
    }
    until("the liars to be ready", Duration::from_secs(90), async || {
        let ready = space.pods(NAME).await?.iter().filter(|pod| is_ready(pod)).count();
        Ok(if i32::try_from(ready)? == replicas { Ok(()) } else { Err(format!("{ready} of {replicas} pods")) })
    })
    .await?;
    let before = space.uids(NAME).await?;
    space.apply(&cluster(replicas)).await?;
    space.ready(NAME, replicas).await?;
    anyhow::ensure!(space.uids(NAME).await? == before, "not all were taken in: {:?}", space.uids(NAME).await?);
    let metric = json!({"cpu": {"targetUtilization": if alone { 60 } else { 40 }}});
    space
        .patch(NAME, json!({"spec": {"autoscaling": {"minReplicas": 1, "maxReplicas": 6, "metrics": [metric]}}}))
        .await?;
    space.condition(NAME, "WorkersHealthy", "True", "AllWell").await?;
    space.condition(NAME, "ScalingActive", "True", "").await.map(drop)
}

/// Has both liars behave so from now on.
pub async fn behave(space: &Space, behaviour: &str) -> Result<()> {
    for pod in LIARS {
        space.exec(pod, &["sh", "-c", &format!("echo {behaviour} > /tmp/behaviour")]).await?;
    }
    Ok(())
}
