//! Revisions are kept and gone back to, a rollout keeps to its rules, and what is lost meanwhile is replaced as it was.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use crds::{WorkerCluster, names};
use e2e::{Space, Watcher, figures::figure, manifest, space::PATIENCE, until, watcher::is_active};
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// A merge patch that makes another revision, and nothing else.
fn another(mark: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"mark": mark}}}}})
}

async fn start(space: &Space, spec: Value) -> Result<()> {
    let replicas = i32::try_from(spec["replicas"].as_i64().context("no replicas")?)?;
    space.apply(&manifest::idle("web", &spec)).await?;
    space.ready("web", replicas).await.map(drop)
}

/// Numbers and hashes of the stored revisions, in order.
async fn revisions(space: &Space) -> Result<Vec<(i64, String)>> {
    let list = space.api::<ControllerRevision>().list(&ListParams::default()).await?;
    let label =
        |revision: &ControllerRevision| revision.labels().get(names::LABEL_REVISION).cloned().unwrap_or_default();
    let mut all: Vec<_> = list.items.iter().map(|revision| (revision.revision, label(revision))).collect();
    all.sort();
    Ok(all)
}

async fn active(space: &Space) -> Result<Vec<Pod>> {
    Ok(space.pods("web").await?.into_iter().filter(is_active).collect())
}

fn revision_of(pod: &Pod) -> String {
    pod.labels().get(names::LABEL_REVISION).cloned().unwrap_or_default()
}

/// Waits until `replicas` pods are there, all ready and of one revision, which is returned.
async fn rolled(space: &Space, replicas: i32) -> Result<String> {
    let cluster = space.ready("web", replicas).await?;
    let current = cluster.status.context("no status")?.current_revision;
    let found: BTreeSet<String> = active(space).await?.iter().map(revision_of).collect();
    ensure!(found == BTreeSet::from([current.clone()]), "revisions {found:?}, wanted only {current}");
    Ok(current)
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_numbered_kept_to_the_limit_and_raised_on_the_way_back() -> Result<()> {
    Space::run("history", |space| async move {
        start(&space, json!({"replicas": 1, "rollout": {"revisionHistoryLimit": 2}})).await?;
        let mut seen = vec![rolled(&space, 1).await?];
        for mark in ["2", "3", "4"] {
            space.patch("web", another(mark)).await?;
            seen.push(rolled(&space, 1).await?);
        }
        until("only two old revisions", PATIENCE, async || {
            let kept = revisions(&space).await?;
            let wanted: Vec<(i64, String)> = (2..=4).zip(seen[1..].iter().cloned()).collect();
            Ok(if kept == wanted { Ok(()) } else { Err(format!("{kept:?}")) })
        })
        .await?;
        space.patch("web", another("2")).await?;
        ensure!(rolled(&space, 1).await? == seen[1], "the way back is not the old revision");
        ensure!(revisions(&space).await?.last() == Some(&(5, seen[1].clone())), "{:?}", revisions(&space).await?);
        let number =
            space.ready("web", 1).await?.status.and_then(|status| status.rollout).map(|rollout| rollout.revision);
        ensure!(number == Some(5), "status says revision {number:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_paused_a_change_waits_and_lost_pods_come_back_as_they_were() -> Result<()> {
    Space::run("paused", |space| async move {
        // The very first revision waits, too.
        space.apply(&manifest::idle("web", &json!({"replicas": 2, "rollout": {"paused": true}}))).await?;
        space.condition("web", "Progressing", "False", "Paused").await?;
        space.patch("web", json!({"spec": {"rollout": {"paused": false}}})).await?;
        let first = rolled(&space, 2).await?;
        space.patch("web", json!({"spec": {"rollout": {"paused": true}}})).await?;
        space.patch("web", another("2")).await?;
        space.condition("web", "Progressing", "False", "Paused").await?;
        let lost = active(&space).await?.remove(0);
        space.api::<Pod>().delete(&lost.name_any(), &DeleteParams::default()).await?;
        space.patch("web", json!({"spec": {"replicas": 3}})).await?;
        ensure!(rolled(&space, 3).await? == first, "pods of the changed template in spite of the pause");
        space.patch("web", json!({"spec": {"rollout": {"paused": false}}})).await?;
        until("the revision that waited", PATIENCE, async || {
            let current = rolled(&space, 3).await?;
            Ok(if current == first { Err(current) } else { Ok(()) })
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_lost_while_the_spec_is_broken_is_replaced_as_it_was() -> Result<()> {
    Space::run("lost", |space| async move {
        start(&space, json!({"replicas": 2})).await?;
        let first = rolled(&space, 2).await?;
        let broken = json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
        space.patch("web", broken).await?;
        space.condition("web", "Stalled", "True", "InvalidTemplate").await?;
        let lost = active(&space).await?.remove(0);
        space.api::<Pod>().delete(&lost.name_any(), &DeleteParams::default()).await?;
        until("two ready pods of the revision before", PATIENCE, async || {
            let pods = active(&space).await?;
            let well = pods.iter().filter(|pod| e2e::watcher::is_ready(pod) && revision_of(pod) == first).count();
            let new = pods.iter().all(|pod| pod.uid() != lost.uid());
            Ok(if well == 2 && new { Ok(()) } else { Err(format!("{well} of {}", pods.len())) })
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_does_not_come_on_says_so_and_the_way_back_replaces_it_at_once() -> Result<()> {
    Space::run("deadline", |space| async move {
        start(&space, json!({"replicas": 4, "rollout": {"progressDeadlineSeconds": 5, "maxSurge": 2}})).await?;
        let first = rolled(&space, 4).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let mut broken = manifest::idle("web", &json!({}));
        let mut containers = broken["spec"]["template"]["spec"]["containers"].take();
        containers[0]["image"] = json!("registry.invalid/none:1");
        containers[0]["imagePullPolicy"] = json!("Never"); // else the kubelet's queue of pulls waits for a registry that is none
        let changed = std::time::Instant::now();
        space.patch("web", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await?;
        let message = space.condition("web", "Stalled", "True", "ProgressDeadlineExceeded").await?;
        figure("broken rollout: deadline of 5 s told after", format!("{:.1}", changed.elapsed().as_secs_f32()), "s");
        ensure!(message.contains("undo"), "the condition does not say how to go back: {message}");
        space.condition("web", "Progressing", "False", "ProgressDeadlineExceeded").await?;
        let back = std::time::Instant::now();
        space.patch("web", json!({"spec": {"template": {"spec": {"containers": manifest::idle("web", &json!({}))["spec"]["template"]["spec"]["containers"]}}}})).await?;
        ensure!(rolled(&space, 4).await? == first, "not back at the first revision");
        figure("broken rollout: back after", format!("{:.1}", back.elapsed().as_secs_f32()), "s");
        let seen = watcher.stop().await?;
        ensure!(seen.most_active() == 6 && seen.fewest_ready() == 4, "most {}, fewest ready {}", seen.most_active(), seen.fewest_ready());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn surge_unavailability_and_time_of_readiness_are_kept_to() -> Result<()> {
    Space::run("rules", |space| async move {
        let rules = json!({"maxSurge": 0, "maxUnavailable": 2, "minReadySeconds": 2});
        start(&space, json!({"replicas": 4, "rollout": rules})).await?;
        let watcher = Watcher::start(&space, "web").await?;
        let begun = std::time::Instant::now();
        space.patch("web", another("2")).await?;
        rolled(&space, 4).await?;
        let took = begun.elapsed();
        let seen = watcher.stop().await?;
        figure("rollout of 4 with maxUnavailable 2, minReadySeconds 2", format!("{:.1}", took.as_secs_f32()), "s");
        ensure!(
            seen.most_active() == 4 && seen.fewest_ready() >= 2,
            "most {}, fewest ready {}",
            seen.most_active(),
            seen.fewest_ready()
        );
        ensure!(took >= Duration::from_secs(4), "two steps of 2 s each cannot take {took:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_termination_complete_there_are_never_more_pods_than_wanted() -> Result<()> {
    Space::run("complete", |space| async move {
        let workers = json!({"count": 1, "drainSeconds": 3, "ready": "Immediate"});
        let rollout = json!({"maxSurge": 0, "maxUnavailable": 1});
        start(&space, json!({"replicas": 2, "podReplacementPolicy": "TerminationComplete", "workers": workers, "rollout": rollout})).await?;
        let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counting = {
            let (space, most) = (space.clone(), most.clone());
            tokio::spawn(async move {
                while let Ok(pods) = space.pods("web").await {
                    let ended = |pod: &&Pod| {
                        pod.status.as_ref().is_some_and(|status| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")))
                    };
                    let running = pods.len() - pods.iter().filter(ended).count();
                    most.fetch_max(running, std::sync::atomic::Ordering::Relaxed);
                }
            })
        };
        space.patch("web", another("2")).await?;
        rolled(&space, 2).await?;
        counting.abort();
        let most = most.load(std::sync::atomic::Ordering::Relaxed);
        figure("TerminationComplete: most pods at a time, those that end among them", most, "pods");
        ensure!(most == 2, "{most} pods at a time");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_label_is_taken_off_is_released_and_replaced() -> Result<()> {
    Space::run("release", |space| async move {
        start(&space, json!({"replicas": 2})).await?;
        let pods = active(&space).await?;
        let api = space.api::<Pod>();
        for (pod, label) in [(&pods[0], Value::Null), (&pods[1], json!("quarantine"))] {
            let patch = json!({"metadata": {"labels": {(names::LABEL_NAME): label}}});
            api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        let released = std::time::Instant::now();
        for pod in &pods {
            until("a pod without owner", PATIENCE, async || {
                let owners = api.get(&pod.name_any()).await?.metadata.owner_references;
                Ok(if owners.iter().flatten().next().is_none() { Ok(()) } else { Err(format!("{owners:?}")) })
            })
            .await?;
        }
        figure("label off or changed to released", format!("{:.2}", released.elapsed().as_secs_f32()), "s");
        space.ready("web", 2).await?;
        for pod in pods {
            let still = api.get(&pod.name_any()).await?;
            ensure!(
                still.uid() == pod.uid() && still.metadata.deletion_timestamp.is_none(),
                "a released pod was deleted"
            );
            let patch = json!({"metadata": {"labels": {(names::LABEL_NAME): "web"}}});
            api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        space.ready("web", 2).await?; // adopted again, and two are too many
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disruption_budget_follows_the_spec_and_bounds_evictions() -> Result<()> {
    Space::run("budget", |space| async move {
        start(&space, json!({"replicas": 2, "disruption": {"minAvailable": 2}})).await?;
        let budgets = space.api::<PodDisruptionBudget>();
        let allowed = async |wanted: i32| {
            until(&format!("{wanted} disruptions allowed"), PATIENCE, async || {
                let budget = budgets.get("web").await?;
                let allowed =
                    budget.status.filter(|status| status.current_healthy == 2).map(|status| status.disruptions_allowed);
                Ok(if allowed == Some(wanted) { Ok(()) } else { Err(format!("{allowed:?}")) })
            })
            .await
        };
        allowed(0).await?;
        let pod = active(&space).await?.remove(0).name_any();
        let refused = space.api::<Pod>().evict(&pod, &kube::api::EvictParams::default()).await;
        ensure!(
            matches!(&refused, Err(kube::Error::Api(status)) if status.code == 429),
            "an eviction past the budget: {refused:?}"
        );
        space.patch("web", json!({"spec": {"disruption": {"minAvailable": null, "maxUnavailable": "50%"}}})).await?;
        allowed(1).await?;
        space.api::<Pod>().evict(&pod, &kube::api::EvictParams::default()).await?;
        space.ready("web", 2).await?;
        space.patch("web", json!({"spec": {"disruption": null}})).await?;
        until("no budget", PATIENCE, async || {
            Ok(if budgets.get_opt("web").await?.is_none() { Ok(()) } else { Err("it is still there") })
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_that_a_user_marks_goes_first() -> Result<()> {
    Space::run("first", |space| async move {
        start(&space, json!({"replicas": 3})).await?;
        // The oldest: without the mark it would be the last to go.
        let mut pods = active(&space).await?;
        pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        let marked = pods.remove(0);
        let patch = json!({"metadata": {"annotations": {(names::ANNOTATION_DELETE_FIRST): "true"}}});
        space.api::<Pod>().patch(&marked.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        space.patch("web", json!({"spec": {"replicas": 2}})).await?;
        space.ready("web", 2).await?;
        ensure!(active(&space).await?.iter().all(|pod| pod.uid() != marked.uid()), "another pod went");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_damaged_or_deleted_is_made_well_and_no_pod_is_touched() -> Result<()> {
    Space::run("damage", |space| async move {
        start(&space, json!({"replicas": 2})).await?;
        let uids = space.uids("web").await?;
        let before = revisions(&space).await?;
        let api = space.api::<ControllerRevision>();
        let name = api.list(&ListParams::default()).await?.items.first().context("no revision")?.name_any();
        let damages = [
            json!({"metadata": {"labels": {(names::LABEL_REVISION): "forged"}}}),
            json!({"metadata": {"labels": {(names::LABEL_NAME): null}}}),
            json!({"metadata": {"ownerReferences": null}}),
            json!({"metadata": {"annotations": {(names::ANNOTATION_PRIMARY_IMAGE): null}}}),
        ];
        for damage in damages {
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&damage)).await?;
            until(&format!("a revision as before, after {damage}"), PATIENCE, async || {
                let revision = api.get(&name).await?;
                let owned = revision.metadata.owner_references.iter().flatten().count() == 1;
                let image = revision.annotations().contains_key(names::ANNOTATION_PRIMARY_IMAGE);
                let labelled = revision.labels().get(names::LABEL_NAME).map(String::as_str) == Some("web");
                let whole = owned && image && labelled && revisions(&space).await? == before;
                Ok(if whole { Ok(()) } else { Err(format!("{:?}", revision.metadata)) })
            })
            .await?;
        }
        api.delete(&name, &DeleteParams::default()).await?;
        until("the revision again", PATIENCE, async || {
            let now = revisions(&space).await?;
            Ok(if now.len() == 1 && now[0].1 == before[0].1 { Ok(()) } else { Err(format!("{now:?}")) })
        })
        .await?;
        ensure!(space.uids("web").await? == uids, "pods were replaced");
        let cluster: WorkerCluster = space.ready("web", 2).await?;
        ensure!(cluster.status.context("no status")?.current_revision == before[0].1, "another current revision");
        Ok(())
    })
    .await
}
