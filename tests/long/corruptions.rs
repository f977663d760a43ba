//! One field of an owned object changed by another hand, a thousand times: it is put right, and nothing that is another's is touched.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::names;
use e2e::{Space, figures::figure, manifest, until, watcher::is_active};
use futures::{StreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

const CORRUPTIONS: usize = 1000;
const LANES: usize = 8;
const DEADLINE: Duration = Duration::from_secs(30);

/// A kind of owned object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pod,
    Service,
    PodDisruptionBudget,
    ControllerRevision,
}

const KINDS: [Kind; 4] = [Kind::Pod, Kind::Service, Kind::PodDisruptionBudget, Kind::ControllerRevision];

// === impl Kind ===

impl Kind {
    fn api(self, space: &Space) -> Api<DynamicObject> {
        let group = match self {
            Self::Pod | Self::Service => "",
            Self::PodDisruptionBudget => "policy",
            Self::ControllerRevision => "apps",
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", &format!("{self:?}")));
        Api::namespaced_with(space.client.clone(), &space.namespace, &resource)
    }

    /// Merge patches, each of one field that we set. A pod's own spec is not among them: who edits the image of one pod looks for
    /// something, and a ReplicaSet leaves it as well.
    fn damages(self) -> Vec<Value> {
        let label = |key: &str, value: Value| json!({"metadata": {"labels": {(key): value}}});
        let mut damages = vec![json!({"metadata": {"ownerReferences": null}})];
        for key in [names::LABEL_NAME, names::LABEL_MANAGED_BY, names::LABEL_INSTANCE] {
            damages.extend([label(key, Value::Null), label(key, json!("forged"))]);
        }
        damages.extend(match self {
            Self::Pod => vec![
                label(names::LABEL_REVISION, Value::Null),
                label(names::LABEL_REVISION, json!("forged")),
                label(names::LABEL_SLOT, Value::Null),
                label(names::LABEL_SLOT, json!("many")),
            ],
            Self::Service => vec![
                json!({"spec": {"selector": {(names::LABEL_NAME): "other"}}}),
                json!({"spec": {"selector": {"more": "label"}}}),
                json!({"spec": {"selector": null}}),
                json!({"spec": {"ports": [{"port": 1, "name": "other"}]}}),
                json!({"spec": {"ports": [{"port": 8000, "name": "http", "targetPort": 1}]}}),
            ],
            Self::PodDisruptionBudget => vec![
                json!({"spec": {"maxUnavailable": 5}}),
                json!({"spec": {"maxUnavailable": null, "minAvailable": 1}}),
                json!({"spec": {"selector": {"matchLabels": {"more": "label"}}}}),
                json!({"spec": {"selector": {"matchLabels": {(names::LABEL_NAME): "other"}}}}),
                json!({"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}}),
                json!({"spec": {"unhealthyPodEvictionPolicy": null}}),
            ],
            Self::ControllerRevision => vec![
                label(names::LABEL_REVISION, json!("forged")),
                label(names::LABEL_REVISION, Value::Null),
                json!({"metadata": {"annotations": {(names::ANNOTATION_PRIMARY_IMAGE): null}}}),
            ],
        });
        damages.push(Value::Null); // deleted
        damages
    }
}

#[derive(Default)]
struct Tally {
    healed: BTreeMap<Kind, usize>,
    slowest: Duration,
    wrong: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_put_right_and_nothing_of_others_is_touched() -> Result<()> {
    let tally = Mutex::new(Tally::default());
    let started = Instant::now();
    let results: Vec<Result<()>> = stream::iter(0..LANES)
        .map(|lane| {
            let tally = &tally;
            async move { Space::run("damage", |space| async move { damage(&space, lane, tally, started).await }).await }
        })
        .buffer_unordered(LANES)
        .collect()
        .await;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let total: usize = tally.healed.values().sum();
    for (kind, count) in &tally.healed {
        figure(&format!("{kind:?}: damaged and put right"), count, "times");
    }
    figure("put right in all", total, &format!("times in {:.0} s", started.elapsed().as_secs_f32()));
    figure("slowest", format!("{:.1}", tally.slowest.as_secs_f32()), "s");
    figure("wrong", tally.wrong.len(), "");
    for result in results {
        result?;
    }
    ensure!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    ensure!(total >= CORRUPTIONS, "only {total}");
    Ok(())
}

async fn damage(space: &Space, lane: usize, tally: &Mutex<Tally>, started: Instant) -> Result<()> {
    let mut cluster =
        manifest::idle("web", &json!({"replicas": 2, "http": {"port": 8000}, "disruption": {"maxUnavailable": 1}}));
    let pod = &mut cluster["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({"type": "kwok"});
    pod["tolerations"] = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
    space.apply(&cluster).await?;
    space.ready("web", 2).await?;
    bystanders(space).await?;
    let others = versions_of_others(space).await?;
    let well = state(space).await?;
    let cases: Vec<(Kind, Value)> =
        KINDS.iter().flat_map(|kind| kind.damages().into_iter().map(|damage| (*kind, damage))).collect();
    for round in 0..CORRUPTIONS.div_ceil(LANES) {
        let (kind, damage) = &cases[(round * LANES + lane) % cases.len()];
        let begun = Instant::now();
        let result = one(space, *kind, damage, round, &well).await;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.slowest = tally.slowest.max(begun.elapsed());
        match result {
            Ok(()) => *tally.healed.entry(*kind).or_default() += 1,
            Err(error) => {
                println!("    {kind:?} {damage}: {error:#}");
                tally.wrong.push(format!("{kind:?} {damage}: {error:#}"));
            }
        }
        if lane == 0 && round % 10 == 0 {
            let total: usize = tally.healed.values().sum();
            println!("[{:4.0} s] {total} put right, {} wrong", started.elapsed().as_secs_f32(), tally.wrong.len());
        }
    }
    let after = versions_of_others(space).await?;
    ensure!(others == after, "objects of others were touched: {}", e2e::look::changes(&others, &after).join(", "));
    Ok(())
}

/// Damages one object and waits until all is as before.
async fn one(space: &Space, kind: Kind, damage: &Value, round: usize, well: &Value) -> Result<()> {
    let api = kind.api(space);
    let mut ours = owned(space, kind).await?;
    ours.sort_by_key(ResourceExt::name_any);
    ensure!(!ours.is_empty(), "there is none");
    let victim = ours[round % ours.len()].name_any();
    if damage.is_null() {
        api.delete(&victim, &DeleteParams::default()).await.context("deleting")?;
    } else {
        api.patch(&victim, &PatchParams::default(), &Patch::Merge(damage)).await.context("damaging")?;
    }
    until("all to be as before", DEADLINE, async || {
        let now = state(space).await?;
        Ok(if now == *well { Ok(()) } else { Err(now) })
    })
    .await?;
    // What was released belongs to nobody now.
    if kind == Kind::Pod
        && damage.pointer("/metadata/labels").is_some_and(|labels| labels.get(names::LABEL_NAME).is_some())
    {
        api.delete(&victim, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Objects of a kind that the WorkerCluster controls and that are not ending.
async fn owned(space: &Space, kind: Kind) -> Result<Vec<DynamicObject>> {
    let ours = |object: &DynamicObject| {
        let owner = object.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "WorkerCluster");
        owner && object.metadata.deletion_timestamp.is_none()
    };
    Ok(kind.api(space).list(&ListParams::default()).await?.items.into_iter().filter(ours).collect())
}

/// What we set in all owned objects. A ControllerRevision that was deleted has the next number when it is back, so numbers are left out.
async fn state(space: &Space) -> Result<Value> {
    let mut state = json!({});
    for kind in KINDS {
        let mut shapes = Vec::new();
        for object in owned(space, kind).await? {
            if kind == Kind::Pod && !serde_json::from_value(json!(object)).is_ok_and(|pod| is_active(&pod)) {
                continue;
            }
            let owners: Vec<_> = object
                .metadata
                .owner_references
                .iter()
                .flatten()
                .map(|owner| (owner.uid.clone(), owner.controller))
                .collect();
            let spec = match kind {
                Kind::Pod => Value::Null,
                Kind::ControllerRevision => object.data["data"].clone(),
                _ => object.data["spec"].clone(),
            };
            let image = object.annotations().get(names::ANNOTATION_PRIMARY_IMAGE);
            let mut spec = spec;
            if let Some(fields) = spec.as_object_mut() {
                // Given by the cluster, and other after a deletion.
                fields.retain(|name, _| !matches!(name.as_str(), "clusterIP" | "clusterIPs"));
            }
            let mut labels = object.labels().clone();
            if let Some(slot) = labels.get_mut(names::LABEL_SLOT) {
                // Another pod has another place; that it has one is what counts.
                *slot = slot.parse::<u32>().map_or(slot.clone(), |_| "N".into());
            }
            shapes.push(json!({"labels": labels, "owners": owners, "spec": spec, "image": image}));
        }
        shapes.sort_by_key(Value::to_string);
        state[format!("{kind:?}")] = json!(shapes);
    }
    Ok(state)
}

/// Objects with our label, or with names like ours, that are not ours.
async fn bystanders(space: &Space) -> Result<()> {
    let labels = json!({(names::LABEL_NAME): "web"});
    let kwok = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
    let mut pod = manifest::idle("x", &json!({}))["spec"]["template"]["spec"].take();
    pod["containers"][0]["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}
    });
    pod["nodeSelector"] = json!({"type": "kwok"});
    pod["tolerations"] = kwok;
    let configmap = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
    let uid = space.apply(&configmap).await?.uid();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true}]);
    for object in [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-stranger", "labels": labels, "ownerReferences": owner}, "spec": pod}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-stranger", "labels": labels, "ownerReferences": owner},
            "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web-stranger", "labels": labels, "ownerReferences": owner}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "minAvailable": 1}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": "web-stranger", "labels": labels, "ownerReferences": owner}, "data": {"spec": {}}, "revision": 99}),
    ] {
        space.apply(&object).await?;
    }
    until("the stranger to run", DEADLINE, async || {
        let pod = Kind::Pod.api(space).get("web-stranger").await?;
        Ok(if pod.data["status"]["phase"] == "Running" { Ok(()) } else { Err(pod.data["status"].clone()) })
    })
    .await
}

/// Specs, labels and owners of the strangers; their status is the cluster's.
async fn versions_of_others(space: &Space) -> Result<e2e::look::Versions> {
    let mut versions = e2e::look::Versions::new();
    for kind in KINDS {
        let stranger = kind.api(space).get("web-stranger").await?;
        let what = json!([
            stranger.metadata.uid,
            stranger.metadata.generation,
            stranger.labels(),
            stranger.metadata.owner_references
        ]);
        versions.insert(format!("{kind:?}"), what.to_string());
    }
    Ok(versions)
}
