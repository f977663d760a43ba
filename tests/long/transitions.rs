//! Every field of the schema changed to what it may be and to what it may not, and back: refused with the path, or told in status, or reached;
//! and always the same again afterwards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::{LIVE_FIELDS, WorkerCluster, names};
use e2e::{
    Space,
    figures::figure,
    manifest,
    schema::{Change, changes},
    space::{brief, condition},
    until,
    watcher::is_active,
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// Spec transitions in all, there and back.
const TRANSITIONS: usize = 5000;
/// WorkerClusters that change side by side, each in a namespace of its own.
const LANES: usize = 12;
const DEADLINE: Duration = Duration::from_secs(30);
/// Of each lane's accepted changes, one in so many is compared with a fresh WorkerCluster and watched at rest.
const LOOK_CLOSER: usize = 6;

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The API server refused it and named the field.
    Refused,
    /// Status tells the field.
    Told,
    /// What was asked for is there.
    Reached,
    /// Accepted, and a pod waits for something that its condition names.
    Waiting,
}

#[derive(Default)]
struct Tally {
    ends: BTreeMap<End, usize>,
    wrong: Vec<String>,
    slowest: Duration,
    compared: usize,
    rested: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_can_be_changed_to_anything_and_back() -> Result<()> {
    let schema = crds::crd::definition()?;
    let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let all = changes(schema, &base("web"));
    figure("changes that the schema gives", all.len(), "changes");
    // Spread over the whole schema: every so many-th, and all of the fields that are our own.
    let own: Vec<&Change> = all.iter().filter(|change| !change.path.starts_with("spec.template.")).collect();
    let others: Vec<&Change> = all.iter().filter(|change| change.path.starts_with("spec.template.")).collect();
    let wanted = (TRANSITIONS / 2).saturating_sub(own.len()).min(others.len());
    let chosen: Vec<Change> =
        (0..wanted).map(|index| others[index * others.len() / wanted]).chain(own.iter().copied()).cloned().collect();
    let mut lanes: Vec<Vec<Change>> = vec![Vec::new(); LANES];
    for (index, change) in chosen.into_iter().enumerate() {
        lanes[index % LANES].push(change);
    }
    let tally = Arc::new(Mutex::new(Tally::default()));
    let started = Instant::now();
    let results: Vec<Result<()>> = stream::iter(lanes.into_iter().enumerate())
        .map(|(index, changes)| {
            let tally = tally.clone();
            Space::run("walk", move |space| async move { lane(&space, index, &changes, &tally, started).await })
        })
        .buffer_unordered(LANES)
        .collect()
        .await;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let transitions = 2 * tally.ends.values().sum::<usize>();
    figure("transitions, there and back", transitions, &format!("in {:.0} s", started.elapsed().as_secs_f32()));
    for (end, count) in &tally.ends {
        figure(&format!("changes that were {end:?}"), count, "changes");
    }
    figure("slowest to its end", format!("{:.1}", tally.slowest.as_secs_f32()), "s");
    figure("compared with a fresh WorkerCluster of the same spec", tally.compared, "");
    figure("watched after a second reconcile: nothing written", tally.rested, "");
    figure("wrong", tally.wrong.len(), "");
    for result in results {
        result?;
    }
    ensure!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    ensure!(transitions >= TRANSITIONS, "only {transitions} transitions");
    Ok(())
}

/// A WorkerCluster on simulated nodes with something in most places.
fn base(name: &str) -> Value {
    let mut cluster = manifest::idle(
        name,
        &json!({"replicas": 2, "http": {"port": 8000}, "disruption": {"maxUnavailable": 1}, "rollout": {"maxSurge": 1}}),
    );
    let pod = &mut cluster["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({"type": "kwok"});
    pod["tolerations"] = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
    cluster
}

async fn lane(space: &Space, index: usize, changes: &[Change], tally: &Mutex<Tally>, started: Instant) -> Result<()> {
    space.apply(&base("web")).await?;
    let first = space.ready("web", 2).await?.status.context("no status")?.current_revision;
    let mut accepted = 0;
    for (number, change) in changes.iter().enumerate() {
        let begun = Instant::now();
        let ended = there(space, change).await;
        let took = begun.elapsed();
        let closer = matches!(ended, Ok(End::Reached)) && {
            accepted += 1;
            accepted % LOOK_CLOSER == 0
        };
        let looked = if closer { look_closer(space, change).await } else { Ok(false) };
        let back = back(space, &first).await;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match ended {
            Ok(end) => *tally.ends.entry(end).or_default() += 1,
            Err(error) => tally.wrong.push(format!("{} ({}): {error:#}", change.path, change.what)),
        }
        match looked {
            Ok(true) => (tally.compared, tally.rested) = (tally.compared + 1, tally.rested + 1),
            Ok(false) => {}
            Err(error) => tally.wrong.push(format!("{} ({}), looked closer: {error:#}", change.path, change.what)),
        }
        if let Err(error) = back {
            tally.wrong.push(format!("{} ({}), back: {error:#}", change.path, change.what));
        }
        tally.slowest = tally.slowest.max(took);
        if index == 0 && number % 10 == 0 {
            let done = 2 * tally.ends.values().sum::<usize>();
            println!("[{:4.0} s] {done} transitions, {} wrong", started.elapsed().as_secs_f32(), tally.wrong.len());
            tally.wrong.iter().for_each(|wrong| println!("    {wrong}"));
        }
    }
    Ok(())
}

/// Applies a change and waits for its end.
async fn there(space: &Space, change: &Change) -> Result<End> {
    // The field, the one that it is in, or where all that is new begins: a field that is alone in a new object may be missed elsewhere in it.
    let last =
        |path: &str| path.rsplit('.').next().and_then(|step| step.split('[').next()).unwrap_or_default().to_owned();
    let parent = change.path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let fields = [last(&change.path), last(parent), last(&change.begins)];
    let names = |text: &str| fields.iter().any(|field| text.contains(field));
    if let Err(error) = space.apply(&change.object).await {
        let kube::Error::Api(status) = &error else { return Err(error.into()) };
        ensure!(
            matches!(status.code, 400 | 422 | 500) && names(&status.message),
            "refused without the field: {}",
            status.message
        );
        return Ok(End::Refused);
    }
    let api = space.api::<WorkerCluster>();
    until(&format!("{} to be reached or told", change.path), DEADLINE, async || {
        let cluster = api.get("web").await?;
        if cluster.metadata.generation != cluster.status.as_ref().map(|status| status.observed_generation) {
            return Ok(Err(brief(&cluster)));
        }
        let of = |kind: &str| condition(&cluster, kind).unwrap_or_default();
        let (ready, reason, message) = of("Ready");
        let (stalled, _, told) = of("Stalled");
        Ok(match (ready.as_str(), stalled.as_str()) {
            ("True", "False") => Ok(End::Reached),
            (_, "True") if names(&told) => Ok(End::Told),
            ("False", "False") if reason == "PodRejected" || message.contains("; pod ") => Ok(End::Waiting),
            _ => Err(brief(&cluster)),
        })
    })
    .await
}

/// Applies the first spec again: everything is as at first.
async fn back(space: &Space, first: &str) -> Result<()> {
    space.apply(&base("web")).await.context("the first spec is refused")?;
    until("the first state", DEADLINE, async || {
        let cluster = space.api::<WorkerCluster>().get("web").await?;
        let pods = space.pods("web").await?;
        let active: Vec<&Pod> = pods.iter().filter(|pod| is_active(pod)).collect();
        let current =
            active.iter().all(|pod| pod.labels().get(names::LABEL_REVISION).map(String::as_str) == Some(first));
        let ready = condition(&cluster, "Ready").is_some_and(|(status, ..)| status == "True");
        let seen = cluster.metadata.generation == cluster.status.as_ref().map(|status| status.observed_generation);
        Ok(if ready && seen && current && active.len() == 2 { Ok(()) } else { Err(brief(&cluster)) })
    })
    .await
}

/// The pods are those that a fresh WorkerCluster of this spec has, and a reconcile that finds nothing to do writes nothing.
async fn look_closer(space: &Space, change: &Change) -> Result<bool> {
    let cluster = space.api::<WorkerCluster>().get("web").await?;
    if cluster.spec.replicas == 0 || cluster.spec.rollout.paused {
        return Ok(false); // no pod to compare
    }
    let mut fresh = change.object.clone();
    fresh["metadata"]["name"] = json!("fresh");
    space.apply(&fresh).await?;
    let replicas = cluster.spec.replicas;
    space.ready("fresh", replicas).await?;
    space.ready("web", replicas).await?;
    let shapes = async |name: &str| -> Result<Vec<Value>> {
        let pods = space.pods(name).await?;
        let mut shapes: Vec<Value> =
            pods.iter().filter(|pod| is_active(pod)).map(|pod| shape(pod, name, is_live(change))).collect();
        shapes.sort_by_key(Value::to_string);
        shapes.dedup();
        Ok(shapes)
    };
    let (ours, theirs) = (shapes("web").await?, shapes("fresh").await?);
    space.kubectl(&["delete", "workercluster", "fresh", "--wait=false"]).await?;
    ensure!(ours == theirs, "pods differ from those of a fresh one:\n{ours:?}\n{theirs:?}");
    let before = rest(space).await?;
    let mark = json!({"metadata": {"annotations": {"touched": change.path}}});
    let touched = space.api::<WorkerCluster>().patch("web", &PatchParams::default(), &Patch::Merge(mark)).await?;
    let after = rest(space).await?;
    let only = |mut versions: e2e::look::Versions| {
        versions.retain(|name, _| name.contains("/web"));
        versions
    };
    let (mut before, after) = (only(before), only(after));
    before.insert("wc/web".into(), touched.resource_version().unwrap_or_default());
    ensure!(before == after, "a reconcile that has nothing to do wrote {:?}", e2e::look::changes(&before, &after));
    Ok(true)
}

async fn rest(space: &Space) -> Result<e2e::look::Versions> {
    space.settled(e2e::look::QUIET, DEADLINE).await
}

/// Whether pods that run are told of it instead of being replaced (docs/design/0013-remote-control.md): only new ones have it in their environment.
fn is_live(change: &Change) -> bool {
    let field = change.path.strip_prefix("spec.workers.").and_then(|path| path.split(['.', '[']).next());
    field.is_some_and(|field| LIVE_FIELDS.contains(&field))
}

/// What was asked of a pod, without what names, places and slots give it; nor, after a live change, the environment that tells new pods of it.
fn shape(pod: &Pod, cluster: &str, after_live: bool) -> Value {
    let mut spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    for field in ["nodeName", "hostname", "subdomain"] {
        spec.as_object_mut().map(|spec| spec.remove(field));
    }
    let tells = ["INSTANCES", "ADAPTIVE", "RESTART_", "RECYCLE_", "HANG_", "CONFIG_REVISION"];
    if after_live && let Some(environment) = spec["containers"][0]["env"].as_array_mut() {
        environment.retain(|variable| {
            let name = variable["name"].as_str().and_then(|name| name.strip_prefix("WORKERCLUSTER_"));
            !name.is_some_and(|name| tells.iter().any(|begin| name.starts_with(begin)))
        });
    }
    let mut labels = json!(pod.labels());
    labels.as_object_mut().map(|labels| labels.remove(names::LABEL_SLOT));
    let text = json!({"spec": spec, "labels": labels}).to_string();
    let text = text.replace(&format!("\"{cluster}\""), "\"NAME\"");
    serde_json::from_str(&text).unwrap_or_default()
}
