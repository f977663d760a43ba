//! An unmodified program serves from every worker of every replica.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{Load, Space, figures::figure, load, manifest, until, watcher::is_active};
use kube::ResourceExt;
use primary_protocol::ReadyEvidence;
use serde_json::{Value, json};

/// So many answers show that no other worker answers.
const ANSWERS: usize = 20;

const HELLO: &str = include_str!("../../examples/hello/hello.yaml");
const PYTHON: &str = include_str!("../../examples/python/python.yaml");
const OWN_PORT: &str = include_str!("../../examples/python/own-port.yaml");
const CPU: &str = include_str!("../../examples/cpu/cpu.yaml");
const REQUESTS: &str = include_str!("../../examples/requests/requests.yaml");
const QUEUE: &str = include_str!("../../examples/queue/queue.yaml");
const REDIS: &str = include_str!("../../examples/queue/redis.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_node_cluster_program_answers_from_every_worker() -> Result<()> {
    Space::run("node", |space| async move {
        space.apply(&manifest::program("web", "server.js", manifest::NODE_CLUSTER)).await?;
        let started = std::time::Instant::now();
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 2, 2)).await?;
        space.ready("web", 2).await?;
        figure("apply to Ready", format!("{:.1}", started.elapsed().as_secs_f32()), "s");
        let address = space.address("web", 8000).await?;
        let mut answered = BTreeSet::new();
        until("answers from 4 workers", Duration::from_secs(20), async || {
            answered.insert(load::get(address, "/").await?);
            Ok(if answered.len() == 4 { Ok(()) } else { Err(format!("{answered:?}")) })
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_serves_from_the_socket_that_it_inherits() -> Result<()> {
    Space::run("python", |space| async move {
        space.apply_yaml(PYTHON).await?;
        space.ready("python", 2).await?;
        let address = space.address("python", 8000).await?;
        let answered = answers(&space, "python", address, 2).await?;
        figure("python: pods that answered", answered.len(), "pods");
        figure("python: workers that answered", answered.values().map(BTreeSet::len).sum::<usize>(), "workers");
        for (pod, pids) in &answered {
            let stats = space.stats(pod).await?;
            let known: BTreeSet<u64> = stats.slots.iter().filter_map(|slot| slot.pid.map(u64::from)).collect();
            ensure!(*pids == known, "{pod}: {pids:?} answered, its primary tells of {known:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_binds_its_port_serves_with_one_worker_and_says_why_with_three() -> Result<()> {
    Space::run("own-port", |space| async move {
        space.apply_yaml(OWN_PORT).await?;
        space.ready("own-port", 2).await?;
        let address = space.address("own-port", 8000).await?;
        until("a program in each pod that has bound the port", Duration::from_secs(60), async || {
            let mut evidence = Vec::new();
            for pod in space.pods("own-port").await? {
                evidence.extend(space.stats(&pod.name_any()).await?.slots.iter().map(|slot| slot.evidence));
            }
            let bound = evidence.iter().all(|evidence| *evidence == Some(ReadyEvidence::OwnSocket));
            Ok(if bound { Ok(()) } else { Err(format!("{evidence:?}")) })
        })
        .await?;
        figure("own port, count 1: pods that answered", answers(&space, "own-port", address, 1).await?.len(), "pods");

        let load = Load::start(address, "/", 2, Duration::from_millis(50));
        space.patch("own-port", json!({"spec": {"workers": {"count": 3}}})).await?;
        let message = space.condition("own-port", "WorkersHealthy", "False", "PortBoundByWorker").await?;
        println!("own port, count 3: {message}");
        for word in ["binds port 8000 itself", "LISTEN_FDS", "workers.count: 1"] {
            ensure!(message.contains(word), "the condition does not say {word:?}: {message}");
        }
        until("an event that says it", Duration::from_secs(10), async || {
            let events = space.events("own-port").await?;
            let told = events.iter().any(|(reason, note)| reason == "PortBoundByWorker" && note.contains("LISTEN_FDS"));
            Ok(if told { Ok(()) } else { Err(format!("{events:?}")) })
        })
        .await?;
        // The pods stay, with three workers each, of which one serves.
        let serving = until("two pods with one of three workers ready", Duration::from_secs(60), async || {
            let cluster = space.api::<crds::WorkerCluster>().get("own-port").await?;
            let status = cluster.status.unwrap_or_default();
            let counts = (status.ready_replicas, status.updated_replicas, status.workers.ready, status.workers.total);
            Ok(if counts == (2, 2, 2, 6) { Ok(counts) } else { Err(format!("{counts:?}")) })
        })
        .await?;
        figure("own port, count 3: workers ready", format!("{} of {}", serving.2, serving.3), "workers");
        for pod in answers(&space, "own-port", address, 1).await?.keys() {
            let deaths = space.stats(pod).await?.deaths;
            // Each of them failed to bind. One that needs longer than a second to find the port taken, on a busy machine, was thought to be
            // ready for a moment.
            ensure!(deaths.crashed + deaths.never_ready >= 2 && deaths.exited == 0, "{pod}: {deaths:?}");
        }
        let report = load.stop().await?;
        figure("own port, count 1 to 3 under load: answered", report.ok, "requests");
        figure("own port, count 1 to 3 under load: failed", report.bad(), "requests");
        ensure!(report.ok > 0 && report.bad() == 0, "it did not keep serving: {:?}", report.failed);

        space.patch("own-port", json!({"spec": {"workers": {"count": 1}}})).await?;
        space.ready("own-port", 2).await?;
        space.condition("own-port", "WorkersHealthy", "True", "AllWell").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_examples_become_ready_as_they_are() -> Result<()> {
    Space::run("examples", |space| async move {
        for (name, replicas, texts) in [
            ("hello", 2, vec![HELLO.to_owned()]),
            ("cpu", 1, vec![CPU.to_owned()]),
            ("requests", 1, vec![REQUESTS.to_owned()]),
            ("queue", 1, vec![REDIS.to_owned(), QUEUE.replace("redis.default.svc", &in_namespace("redis", &space))]),
        ] {
            let started = std::time::Instant::now();
            for text in &texts {
                space.apply_yaml(text).await?;
            }
            space.ready(name, replicas).await?;
            figure(&format!("examples/{name}: apply to Ready"), format!("{:.1}", started.elapsed().as_secs_f32()), "s");
            if name == "queue" {
                space.condition(name, "ScalingActive", "True", "").await?;
            } else {
                let answered = answers(&space, name, space.address(name, 8000).await?, 2).await?;
                figure(&format!("examples/{name}: pods that answered"), answered.len(), "pods");
            }
            // Room for the next: the examples ask for processor time as real ones do.
            space.kubectl(&["delete", "workercluster", name, "--wait=true", "--timeout=60s"]).await?;
        }
        Ok(())
    })
    .await
}

fn in_namespace(service: &str, space: &Space) -> String {
    format!("{service}.{}.svc", space.namespace)
}

/// Asks until every pod that stays has answered from `workers` workers, and from no more; which those were.
async fn answers(
    space: &Space,
    name: &str,
    address: SocketAddr,
    workers: usize,
) -> Result<BTreeMap<String, BTreeSet<u64>>> {
    let pods = space.pods(name).await?;
    let mut answered: BTreeMap<String, BTreeSet<u64>> =
        pods.iter().filter(|pod| is_active(pod)).map(|pod| (pod.name_any(), BTreeSet::new())).collect();
    let mut asked = 0;
    until(&format!("answers from {workers} workers in each pod of {name}"), Duration::from_secs(30), async || {
        asked += 1;
        let answer: Value = serde_json::from_str(&load::get(address, "/").await?)?;
        let pod = answer["pod"].as_str().context("an answer without a pod")?;
        // Pods that are on their way out still answer.
        if let Some(pids) = answered.get_mut(pod) {
            pids.insert(answer["pid"].as_u64().context("an answer without a pid")?);
        }
        let whole = asked >= ANSWERS && answered.values().all(|pids| pids.len() == workers);
        Ok(if whole { Ok(()) } else { Err(format!("{answered:?}")) })
    })
    .await?;
    Ok(answered)
}
