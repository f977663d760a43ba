//! What goes wrong with workers is seen where people look: condition, event, metric, and `kubectl wc top`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, manifest, until};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::plugin::done;

const PATIENCE: Duration = Duration::from_secs(120);

/// A program with a fault, and where it is to be seen.
struct Fault {
    name: &'static str,
    program: &'static str,
    /// What is added to `spec.workers`.
    workers: &'static str,
    /// The reason of the condition and of the event.
    reason: &'static str,
    /// Words of the message: the cause, and the next step.
    words: [&'static str; 2],
    /// A line of the primary's metrics, up to its value, which must not be 0.
    metric: &'static str,
    /// What `kubectl wc top` shows.
    top: &'static str,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "leak",
        program: "const kept = []; setInterval(() => kept.push(Buffer.alloc(4 << 20, 1)), 100); require('http').createServer((q, s) => s.end()).listen(8000);",
        workers: r#"{"recycle": {"memory": "100Mi"}}"#,
        reason: "WorkersOverMemory",
        words: ["again and again", "workers.recycle.memory"],
        metric: "workercluster_primary_worker_replacements_total{reason=\"over_memory\"}",
        top: "OverMemory",
    },
    Fault {
        name: "hang",
        program: "require('http').createServer((q, s) => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }).listen(8000);",
        workers: r#"{"hang": {"timeoutSeconds": 3}}"#,
        reason: "WorkersHung",
        words: ["no progress for 3 s", "workers.hang.timeoutSeconds"],
        metric: "workercluster_primary_worker_replacements_total{reason=\"hung\"}",
        top: "Hung",
    },
    Fault {
        name: "crash",
        program: "setTimeout(() => process.exit(7), 50);",
        workers: "{}",
        reason: "CrashLoop",
        words: ["exit code 7", "log lines"],
        metric: "workercluster_primary_worker_deaths_total{verdict=\"never_ready\"}",
        top: "exit code 7",
    },
    Fault {
        name: "silent",
        program: "setInterval(() => {}, 1000);",
        workers: r#"{"ready": "Notify"}"#,
        reason: "NeverReady",
        words: ["READY=1", "ready: Auto"],
        metric: "workercluster_primary_warning{reason=\"NeverReady\"}",
        top: "NeverReady",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_workers_is_seen_where_people_look() -> Result<()> {
    Space::run("verdicts", |space| async move {
        for fault in &FAULTS {
            let files = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": fault.name}, "data": {"app.js": fault.program}
            });
            space.apply(&files).await?;
            let mut cluster = manifest::cluster(fault.name, "node:22", &["node", "/program/app.js"], 1, 2);
            cluster["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("768Mi");
            let workers: Value = serde_json::from_str(fault.workers)?;
            for (field, value) in workers.as_object().context("no object")? {
                cluster["spec"]["workers"][field] = value.clone();
            }
            space.apply(&cluster).await?;
        }
        // Work in flight, without which nothing hangs.
        let hung = until("a pod of hang", PATIENCE, async || {
            let pods = space.pods("hang").await?;
            let name = pods.first().map(ResourceExt::name_any);
            let ready = space.api::<WorkerCluster>().get("hang").await?.status.is_some_and(|status| status.workers.ready == 2);
            Ok(name.filter(|_| ready).ok_or("none is ready"))
        })
        .await?;
        // One for each worker, and more that wait to be accepted: a request that was read is not to be told from a connection that is kept.
        for _ in 0..6 {
            let (client, path) = (space.client.clone(), format!("/api/v1/namespaces/{}/pods/{hung}:8000/proxy/", space.namespace));
            // It has no answer; that is what it is for.
            tokio::spawn(async move { client.request_text(http::Request::get(path).body(Vec::new())?).await.map_err(anyhow::Error::from) });
        }
        for fault in &FAULTS {
            seen(&space, fault).await?;
        }
        Ok(())
    })
    .await
}

async fn seen(space: &Space, fault: &Fault) -> Result<()> {
    let begun = std::time::Instant::now();
    let message = space.condition(fault.name, "WorkersHealthy", "False", fault.reason).await?;
    println!("{}: {message}", fault.name);
    for word in fault.words {
        ensure!(message.contains(word), "the condition does not say {word:?}: {message}");
    }
    until(&format!("an event {} of {}", fault.reason, fault.name), PATIENCE, async || {
        let events = space.events(fault.name).await?;
        let told = events.iter().any(|(reason, _)| reason == fault.reason);
        Ok(if told { Ok(()) } else { Err(format!("{events:?}")) })
    })
    .await?;
    let pod = space.pods(fault.name).await?.first().map(ResourceExt::name_any).context("no pod")?;
    until(&format!("{} above 0", fault.metric), PATIENCE, async || {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:9180/proxy/metrics", space.namespace);
        let metrics = space.client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(fault.metric)).map(|value| value.trim().to_owned());
        Ok(if value.as_ref().is_some_and(|value| value != "0") { Ok(()) } else { Err(format!("{value:?}")) })
    })
    .await?;
    let top = done(space, &format!("top {} --once", fault.name)).await?;
    ensure!(top.contains(fault.top), "kubectl wc top does not show {:?}", fault.top);
    figure(&format!("{}: condition, event, metric and top after", fault.name), begun.elapsed().as_secs(), "s");
    Ok(())
}
