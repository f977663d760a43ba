//! The chart upgraded and rolled back while fifty WorkerClusters are on their way up, and an operator beside primaries of the version before.

mod before;
mod release;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{
    Observer, Space,
    figures::figure,
    manifest,
    observer::{Rules, label, text, violations},
    until,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, Patch, PatchParams};
use release::{Release, init_image};
use serde_json::{Value, json};

const CLUSTERS: usize = 50;
/// So many have real pods, whose containers could be restarted; the others are on simulated nodes.
const REAL: usize = 3;
const FIRST: usize = 2;
/// One WorkerCluster after the other is asked for one replica more, at this pace, until the release is new and beyond.
const PACE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(300);

fn name(index: usize) -> String {
    format!("many-{index:02}")
}

fn cluster(index: usize) -> Value {
    let mut cluster = manifest::idle(&name(index), &json!({"replicas": FIRST}));
    let pod = &mut cluster["spec"]["template"]["spec"];
    if index >= REAL {
        pod["nodeSelector"] = json!({"type": "kwok"});
        pod["tolerations"] = json!([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]);
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_a_rollback_in_the_middle_of_a_scale_up_restart_nothing() -> Result<()> {
    Space::run("upgrade", |space| async move {
        let release = Release::now().await?;
        let observer = Observer::start(&space.client, &space.namespace).await?;
        stream::iter(0..CLUSTERS)
            .map(|index| {
                let space = space.clone();
                async move { space.apply(&cluster(index)).await.map(drop) }
            })
            .buffer_unordered(4)
            .try_collect::<Vec<()>>()
            .await?;
        let mut wanted = vec![FIRST; CLUSTERS];
        whole(&observer, &wanted).await?;
        let images = images(&observer);
        for what in ["upgrade", "rollback"] {
            let before = uids(&observer);
            let leader = release::leader(&space).await?;
            let begun = Instant::now();
            let changing = tokio::spawn(match what {
                "upgrade" => release.clone().upgrade("primary.image.tag=next").boxed(),
                _ => release.clone().rollback().boxed(),
            });
            let (mut steps, mut index) = (0, 0);
            // As long as the release changes, and one round more under whoever leads then.
            while !changing.is_finished() || index != 0 || steps < CLUSTERS * 2 {
                wanted[index] += 1;
                ask(&space, index, wanted[index]).await?;
                (steps, index) = (steps + 1, (index + 1) % CLUSTERS);
                tokio::time::sleep(PACE).await;
            }
            changing.await??;
            let changed = begun.elapsed();
            whole(&observer, &wanted).await?;
            let other = release::leader(&space).await?;
            ensure!(leader.holder != other.holder, "{what}: {} leads still", leader.holder);
            let after = uids(&observer);
            let made = |by_new: bool| {
                let new =
                    observer.objects("pods").into_iter().filter(|pod| !before.contains(text(pod, "/metadata/uid")));
                new.filter(|pod| (text(pod, "/metadata/creationTimestamp") >= other.since.as_str()) == by_new).count()
            };
            figure(
                &format!("{what}: the release is the other one after"),
                format!("{:.1}", changed.as_secs_f32()),
                "s",
            );
            figure(&format!("{what}: replicas asked for meanwhile, one by one"), steps, "");
            figure(
                &format!("{what}: pods made before and since the other operator leads"),
                format!("{} and {}", made(false), made(true)),
                "",
            );
            figure(
                &format!("{what}: pods of before that are gone"),
                before.difference(&after).count(),
                &format!("of {}", before.len()),
            );
            ensure!(before.is_subset(&after), "{what}: pods were replaced");
            ensure!(made(false) > 0 && made(true) > 0, "{what}: not in the middle of a scale-up");
        }
        let total: usize = wanted.iter().sum();
        let restarts = restarts(&space).await?;
        let found = violations(&observer.history()?, Rules { lag: Duration::from_secs(30), ..Rules::default() });
        found.iter().take(20).for_each(|violation| println!("{violation}"));
        let other: Vec<_> =
            images_of_pods(&observer).into_iter().filter(|(_, image)| images.get(&image.0) != Some(&image.1)).collect();
        figure("pods in the end", total, &format!("of {CLUSTERS} WorkerClusters"));
        figure("restarts of their containers", restarts, "");
        figure("pods too many, or a slot twice, at any moment", found.len(), "");
        figure("pods with another primary than their revision had at first", other.len(), "");
        ensure!(restarts == 0 && found.is_empty() && other.is_empty(), "{restarts} restarts, {found:?}, {other:?}");
        remove(&space).await
    })
    .await
}

async fn ask(space: &Arc<Space>, index: usize, replicas: usize) -> Result<()> {
    let scale = json!({"spec": {"replicas": replicas}});
    space.api::<WorkerCluster>().patch(&name(index), &PatchParams::default(), &Patch::Merge(scale)).await?;
    Ok(())
}

/// Waits until every WorkerCluster has as many ready pods as it should, and not one more.
async fn whole(observer: &Observer, wanted: &[usize]) -> Result<()> {
    observer
        .until("all replicas to be ready", PATIENCE, |observer| {
            let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
            for pod in observer.objects("pods") {
                let (all, ready) = counts.entry(label(&pod, crds::names::LABEL_NAME).to_owned()).or_default();
                *all += 1;
                *ready += usize::from(e2e::observer::is_ready(&pod));
            }
            let behind = wanted
                .iter()
                .enumerate()
                .filter(|(index, wanted)| counts.get(&name(*index)) != Some(&(**wanted, **wanted)));
            match behind.count() {
                0 => Ok(()),
                behind => Err(format!("{behind} WorkerClusters are not whole")),
            }
        })
        .await
}

fn uids(observer: &Observer) -> BTreeSet<String> {
    observer.objects("pods").iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
}

/// Each pod with its revision and the image of its primary.
fn images_of_pods(observer: &Observer) -> BTreeMap<String, (String, String)> {
    let pods = observer.objects("pods");
    let row = |pod: &Value| {
        let revision = format!("{}/{}", label(pod, crds::names::LABEL_NAME), label(pod, crds::names::LABEL_REVISION));
        (text(pod, "/metadata/name").to_owned(), (revision, init_image(pod).to_owned()))
    };
    pods.iter().map(|pod| row(pod)).collect()
}

/// The image of the primary by revision.
fn images(observer: &Observer) -> BTreeMap<String, String> {
    images_of_pods(observer).into_values().collect()
}

async fn restarts(space: &Space) -> Result<i32> {
    let mut restarts = 0;
    for index in 0..REAL {
        restarts += space.restarts(&name(index)).await?;
    }
    Ok(restarts)
}

/// While there is still somebody to end the pods of simulated nodes.
async fn remove(space: &Space) -> Result<()> {
    space.kubectl(&["delete", "workerclusters", "--all", "--wait=false"]).await?;
    until("nothing to be left", Duration::from_secs(180), async || {
        let revisions = space.api::<ControllerRevision>().list(&ListParams::default()).await?.items.len();
        let left = space.versions().await.context("what is left")?.len() + revisions;
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} objects")) })
    })
    .await
}
