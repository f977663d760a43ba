//! Two nodes of three lost: nothing is taken away because they are silent, and what is made is made slowly.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Nodes, Space, figures::figure, timeline::Moment, until};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use super::{in_time, spread_idle, watch};

/// How long it is watched: three creates under a limit of one in 20 s.
const WATCHED: Duration = Duration::from_secs(70);

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_holds_while_two_nodes_of_three_are_lost() -> Result<()> {
    Nodes::run("breaker", |space, nodes| async move {
        // One is asked for fewer, one gets another revision, one loses its pods to Kubernetes' own eviction after ten seconds.
        for (name, spec) in [
            ("fewer", json!({"replicas": 6})),
            ("rolled", json!({"replicas": 3})),
            ("evicted", json!({"replicas": 6, "nodeLoss": "Fast"})),
            ("settled", json!({"replicas": 1, "template": on(&nodes.control_plane)})),
        ] {
            space.apply(&spread_idle(name, &spec)).await?;
        }
        for (name, replicas) in [("fewer", 6), ("rolled", 3), ("evicted", 6), ("settled", 1)] {
            space.ready(name, replicas).await?;
        }
        ensure!(open(&space).await? == 0, "the breaker is open before anything is lost");
        let [fewer, rolled, evicted] = ["fewer", "rolled", "evicted"].map(|name| watch(&space, name));
        let lost: Vec<&str> = nodes.workers.iter().map(String::as_str).collect();
        let when = Instant::now();
        for node in &lost {
            nodes.machine(node, "kill").await?;
        }
        for node in &lost {
            nodes.silent(node).await?;
        }
        until("the breaker to open", Duration::from_secs(10), async || {
            let open = open(&space).await?;
            Ok(if open == 1 { Ok(()) } else { Err(open) })
        })
        .await?;
        figure("breaker: open after the loss of 2 of 3", format!("{:.1}", when.elapsed().as_secs_f32()), "s");
        let message = space.condition("fewer", "Ready", "False", "NodesLost").await?;
        println!("breaker: {message}");
        ensure!(message.contains("2 of 3 nodes do not answer") && message.contains(lost[0]), "{message}");
        space.condition("settled", "Ready", "True", "").await?;

        let begun = Instant::now();
        space.patch("fewer", json!({"spec": {"replicas": 2}})).await?;
        let env = json!([{"name": "worker", "image": "redis:7", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"],
            "env": [{"name": "VERSION", "value": "2"}], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]);
        space.patch("rolled", json!({"spec": {"template": {"spec": {"containers": env}}}})).await?;
        until("the time of watching", WATCHED + Duration::from_secs(30), async || {
            Ok(if begun.elapsed() >= WATCHED { Ok(()) } else { Err("not over yet") })
        })
        .await?;
        // Whatever goes in this time goes because somebody counted silence as absence.
        for (name, moments, pods) in [("fewer", fewer.since(begun), 6), ("rolled", rolled.since(begun), 3)] {
            let fewest = moments.iter().map(|moment| surviving(&moments[0], moment)).min().unwrap_or(0);
            figure(&format!("breaker: pods of {name} kept"), fewest, &format!("of {pods}"));
            ensure!(fewest == pods, "{name}: {} pods were taken away", pods - fewest);
        }
        let made = creations(&evicted.since(when));
        figure("breaker: pods made for those that were evicted", made.len(), &format!("in {:?} s", gaps(&made)));
        ensure!(made.len() >= 2, "nothing is made up for: {made:?}");
        ensure!(gaps(&made).iter().all(|gap| *gap >= 19), "made faster than one in 20 s: {:?}", gaps(&made));

        let back = Instant::now();
        for node in &lost {
            nodes.machine(node, "start").await?;
        }
        for node in &lost {
            nodes.ready(node).await?;
        }
        for (name, replicas) in [("fewer", 2), ("rolled", 3), ("evicted", 6), ("settled", 1)] {
            space.ready(name, replicas).await?;
        }
        in_time("breaker: nodes started, everything done that was held back", back.elapsed(), 180)?;
        ensure!(open(&space).await? == 0, "the breaker is open still");
        let reasons: BTreeSet<String> = space.events("fewer").await?.into_iter().map(|(reason, _)| reason).collect();
        ensure!(reasons.contains("NodesLost") && reasons.contains("NodesBack"), "events: {reasons:?}");
        for timeline in [fewer, rolled, evicted] {
            timeline.stop().await?;
        }
        Ok(())
    })
    .await
}

/// The template of an idle WorkerCluster whose pod is where nothing happens.
fn on(node: &str) -> serde_json::Value {
    let mut cluster = e2e::manifest::idle("x", &json!({}));
    cluster["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    cluster["spec"]["template"].take()
}

/// Active pods of `before` that are still active.
fn surviving(before: &Moment, now: &Moment) -> usize {
    let active = |moment: &Moment, uid: &str| moment.pods.get(uid).is_some_and(|row| row.active);
    before.pods.keys().filter(|uid| active(before, uid) && active(now, uid)).count()
}

/// When each pod was first seen that was not there at first.
fn creations(moments: &[Moment]) -> Vec<Instant> {
    let mut known: BTreeSet<&String> = moments[0].pods.keys().collect();
    let mut made = Vec::new();
    for moment in moments {
        for uid in moment.pods.keys() {
            if known.insert(uid) {
                made.push(moment.at);
            }
        }
    }
    made
}

/// Whole seconds between each and the next.
fn gaps(made: &[Instant]) -> Vec<u64> {
    made.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect()
}

/// `workercluster_breaker_open` of the operator that leads.
async fn open(space: &Space) -> Result<u64> {
    let params = ListParams::default().labels("app.kubernetes.io/name=workercluster-operator");
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::all(space.client.clone()).list(&params).await?;
    let mut open = None;
    for pod in pods {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics");
        let Ok(text) = space.client.request_text(http::Request::get(path).body(Vec::new())?).await else { continue };
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0);
        if value("workercluster_leading ") == 1 {
            open = Some(value("workercluster_breaker_open "));
        }
    }
    open.context("no operator leads")
}
