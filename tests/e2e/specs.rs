//! Bad specs are rejected with the field's path, or shown in status with it; reverting recovers.

use std::{fmt::Write, time::Instant};

use anyhow::{Result, bail, ensure};
use crds::WorkerCluster;
use e2e::{
    Space,
    figures::figure,
    manifest,
    space::{PATIENCE, brief, condition},
    until,
};
use serde_json::{Value, json};

/// A mistake: what a user writes where, and the path that has to be named to them.
struct Mistake {
    what: &'static str,
    /// JSON pointer and value, each put into the good spec.
    changes: &'static [(&'static str, &'static str)],
    path: &'static str,
}

const fn mistake(what: &'static str, changes: &'static [(&'static str, &'static str)], path: &'static str) -> Mistake {
    Mistake { what, changes, path }
}

const CPU: &str = r#"[{"cpu": {"targetUtilization": 50}}]"#;
const BOTH: &str = r#"[{"cpu": {"targetUtilization": 50}, "queue": {"targetPerReplica": 1, "redisList": {"address": "redis:6379", "key": "x"}}}]"#;

/// What the API server refuses: the spec is as before.
const REFUSED: &[Mistake] = &[
    mistake("workers.count: 0", &[("/spec/workers/count", "0")], "spec.workers.count"),
    mistake("workers.count: Autos", &[("/spec/workers/count", r#""Autos""#)], "spec.workers.count"),
    mistake("workers.ipc: Nod", &[("/spec/workers/ipc", r#""Nod""#)], "spec.workers.ipc"),
    mistake("workers.drainSecond (typo)", &[("/spec/workers/drainSecond", "5")], "spec.workers.drainSecond"),
    mistake("workers.startupSeconds: -1", &[("/spec/workers/startupSeconds", "-1")], "spec.workers.startupSeconds"),
    mistake(
        "a message without the channel that it goes over",
        &[("/spec/workers/ipc", r#""None""#), ("/spec/workers/shutdownMessage", "true")],
        "spec.workers.shutdownMessage",
    ),
    mistake(
        "metrics without the channel that they are asked for on",
        &[("/spec/workers/ipc", r#""None""#), ("/spec/workers/metrics", r#""PromClient""#)],
        "spec.workers.metrics",
    ),
    mistake("workers.metrics: prom-client", &[("/spec/workers/metrics", r#""prom-client""#)], "spec.workers.metrics"),
    mistake(
        "a first delay above the longest",
        &[("/spec/workers/restart", r#"{"initialMilliseconds": 20000}"#)],
        "spec.workers.restart",
    ),
    mistake("http.port: 0", &[("/spec/http/port", "0")], "spec.http.port"),
    mistake("http.port: 9180", &[("/spec/http/port", "9180")], "spec.http.port"),
    mistake(
        "balancing: Passing without the channel that it hands connections over",
        &[("/spec/http/balancing", r#""Passing""#), ("/spec/workers/ipc", r#""None""#)],
        "spec.http.balancing",
    ),
    mistake(
        "a slow start without balancing: Steered",
        &[("/spec/http/slowStartSeconds", "30")],
        "spec.http.slowStartSeconds",
    ),
    mistake(
        "slowStartSeconds: 3601",
        &[("/spec/http/balancing", r#""Steered""#), ("/spec/http/slowStartSeconds", "3601")],
        "spec.http.slowStartSeconds",
    ),
    mistake(
        "maxInFlightPerWorker without balancing: Queue",
        &[("/spec/http/maxInFlightPerWorker", "4")],
        "spec.http.balancing",
    ),
    mistake(
        "singleFlight without balancing: Queue",
        &[("/spec/http/singleFlight", r#"{"paths": ["/check"]}"#)],
        "spec.http.balancing",
    ),
    mistake(
        "a path of singleFlight with a comma",
        &[("/spec/http/balancing", r#""Queue""#), ("/spec/http/singleFlight", r#"{"paths": ["/a,b"]}"#)],
        "spec.http.singleFlight.paths[0]",
    ),
    mistake(
        "a cookie's name with a space",
        &[("/spec/http/balancing", r#""Queue""#), ("/spec/http/affinity", r#"{"cookie": "to me"}"#)],
        "spec.http.affinity.cookie",
    ),
    mistake("ready: Http without balancing: Queue", &[("/spec/workers/ready", r#""Http""#)], "spec.workers.ready"),
    mistake(
        "scaling on requests without balancing: Queue",
        &[
            ("/spec/autoscaling/maxReplicas", "2"),
            ("/spec/autoscaling/metrics", r#"[{"requests": {"targetInFlightPercent": 70}}]"#),
        ],
        "spec.autoscaling.metrics",
    ),
    mistake("replicas: -1", &[("/spec/replicas", "-1")], "spec.replicas"),
    mistake(
        "minReplicas > maxReplicas",
        &[
            ("/spec/autoscaling/minReplicas", "5"),
            ("/spec/autoscaling/maxReplicas", "2"),
            ("/spec/autoscaling/metrics", CPU),
        ],
        "spec.autoscaling",
    ),
    mistake(
        "minReplicas: 0 with cpu only",
        &[
            ("/spec/autoscaling/minReplicas", "0"),
            ("/spec/autoscaling/maxReplicas", "2"),
            ("/spec/autoscaling/metrics", CPU),
        ],
        "spec.autoscaling",
    ),
    mistake(
        "cpu and queue in one metric",
        &[("/spec/autoscaling/maxReplicas", "2"), ("/spec/autoscaling/metrics", BOTH)],
        "spec.autoscaling.metrics[0]",
    ),
    mistake(
        "no metric",
        &[("/spec/autoscaling/maxReplicas", "2"), ("/spec/autoscaling/metrics", "[]")],
        "spec.autoscaling.metrics",
    ),
    mistake(
        "containerPort: a word",
        &[("/spec/template/spec/containers/0/ports", r#"[{"containerPort": "http"}]"#)],
        "spec.template.spec.containers[0].ports[0].containerPort",
    ),
    mistake(
        "limits.memory: 256MB",
        &[("/spec/template/spec/containers/0/resources/limits/memory", r#""256MB""#)],
        "spec.template.spec.containers[0].resources.limits.memory",
    ),
    mistake("a name that begins with a digit", &[("/metadata/name", r#""9x""#)], "metadata.name"),
    mistake("a name in capitals", &[("/metadata/name", r#""Web""#)], "metadata.name"),
    mistake(
        "a name of 53 characters",
        &[("/metadata/name", r#""a2345678901234567890123456789012345678901234567890123""#)],
        "metadata.name",
    ),
];

/// What is taken and then told in status.
const STALLED: &[Mistake] = &[
    mistake(
        "livenesProbe (typo)",
        &[("/spec/template/spec/containers/0/livenesProbe", r#"{"periodSeconds": 3}"#)],
        "spec.template.spec.containers[0].livenesProbe",
    ),
    mistake(
        "resources.limts (typo)",
        &[("/spec/template/spec/containers/0/resources/limts", r#"{"memory": "1Gi"}"#)],
        "spec.template.spec.containers[0].resources.limts",
    ),
    mistake(
        "a typo in an init container",
        &[("/spec/template/spec/initContainers", r#"[{"name": "first", "image": "redis:7", "comand": ["true"]}]"#)],
        "spec.template.spec.initContainers[0].comand",
    ),
    mistake(
        "no command",
        &[("/spec/template/spec/containers/0/command", "[]")],
        "spec.template.spec.containers[0].command",
    ),
    mistake(
        "restartPolicy: Never",
        &[("/spec/template/spec/restartPolicy", r#""Never""#)],
        "spec.template.spec.restartPolicy",
    ),
    mistake("hostNetwork: true", &[("/spec/template/spec/hostNetwork", "true")], "spec.template.spec.hostNetwork"),
    mistake(
        "a reserved volume name",
        &[("/spec/template/spec/volumes", r#"[{"name": "workercluster", "emptyDir": {}}]"#)],
        "spec.template.spec.volumes[0].name",
    ),
    mistake(
        "a mount of no volume",
        &[("/spec/template/spec/containers/0/volumeMounts", r#"[{"name": "nothing", "mountPath": "/x"}]"#)],
        "spec.template.spec.containers[0].volumeMounts[0].name",
    ),
    mistake(
        "containerPort: 70000",
        &[("/spec/template/spec/containers/0/ports", r#"[{"containerPort": 70000}]"#)],
        "spec.template.spec.containers[0].ports[0].containerPort",
    ),
    mistake(
        "an environment variable without a source",
        &[("/spec/template/spec/containers/0/env", r#"[{"name": "A", "value": "a"}, {"name": "B", "valueFrom": {}}]"#)],
        "spec.template.spec.containers[0].env[1].valueFrom",
    ),
    mistake(
        "a request above the limit",
        &[("/spec/template/spec/containers/0/resources/requests/memory", r#""2Gi""#)],
        "spec.template.spec.containers[0].resources.requests",
    ),
    mistake(
        "an image with a space in it",
        &[("/spec/template/spec/containers/0/image", r#"" redis:7""#)],
        "spec.template.spec.containers[0].image",
    ),
    // The API server takes any other text; the node says what is wrong with it.
    mistake(
        "an image in capitals",
        &[("/spec/template/spec/containers/0/image", r#""Redis:7""#)],
        "container worker: InvalidImageName",
    ),
    // Nobody says anything of such a pod.
    mistake(
        "a scheduler that there is not",
        &[("/spec/template/spec/schedulerName", r#""nobody""#)],
        "spec.template.spec.schedulerName",
    ),
];

fn good() -> Value {
    manifest::idle("x", &json!({"replicas": 2, "http": {"port": 8000}}))
}

fn with(mistake: &Mistake) -> Result<Value> {
    let mut spec = good();
    for (pointer, value) in mistake.changes {
        let mut at = &mut spec;
        for key in pointer.trim_start_matches('/').split('/') {
            at = match key.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[key],
            };
        }
        *at = serde_json::from_str(value)?;
    }
    Ok(spec)
}

async fn ready_as_before(space: &Space, before: &std::collections::BTreeMap<String, String>) -> Result<()> {
    space.ready("x", 2).await?;
    let now = space.uids("x").await?;
    ensure!(now == *before, "other pods: {before:?} became {now:?}");
    ensure!(space.restarts("x").await? == 0, "a container restarted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_specs_are_refused_with_the_path_of_the_field() -> Result<()> {
    Space::run("refused", |space| async move {
        space.kubectl_with(&["apply", "-f", "-"], &good().to_string()).await?;
        space.ready("x", 2).await?;
        let before = space.uids("x").await?;
        let mut table = String::new();
        for mistake in REFUSED {
            let Err(refusal) = space.kubectl_with(&["apply", "-f", "-"], &with(mistake)?.to_string()).await else {
                bail!("{} was taken", mistake.what);
            };
            let refusal = format!("{refusal:#}");
            ensure!(refusal.contains(mistake.path), "{}: {} is not named in: {refusal}", mistake.what, mistake.path);
            row(&mut table, mistake, "API server")?;
        }
        ready_as_before(&space, &before).await?;
        figure("bad specs that the API server refuses", REFUSED.len(), &format!("\n{table}"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_templates_are_told_in_status_with_the_path_and_reverting_recovers() -> Result<()> {
    Space::run("stalled", |space| async move {
        space.kubectl_with(&["apply", "-f", "-"], &good().to_string()).await?;
        space.ready("x", 2).await?;
        let before = space.uids("x").await?;
        let mut table = String::new();
        for (index, mistake) in STALLED.iter().enumerate() {
            space.kubectl_with(&["apply", "-f", "-"], &with(mistake)?.to_string()).await?;
            let told = told(&space, mistake).await?;
            ensure!(
                space.uids("x").await?.iter().filter(|pod| before.get(pod.0) == Some(pod.1)).count() == 2,
                "{}: a pod went",
                mistake.what
            );
            row(&mut table, mistake, &told)?;
            if index == 0 {
                continue; // from one mistake right to the next
            }
            let reverted = Instant::now();
            space.kubectl_with(&["apply", "-f", "-"], &good().to_string()).await?;
            ready_as_before(&space, &before).await?;
            figure(
                &format!("{}: reverted to Ready", mistake.what),
                format!("{:.1}", reverted.elapsed().as_secs_f32()),
                "s",
            );
        }
        figure("bad specs that are told in status", STALLED.len(), &format!("\n{table}"));
        Ok(())
    })
    .await
}

/// Waits until a condition names the path; returns which.
async fn told(space: &Space, mistake: &Mistake) -> Result<String> {
    let api = space.api::<WorkerCluster>();
    let told = until(&format!("{}: {} in a condition", mistake.what, mistake.path), PATIENCE, async || {
        let cluster = api.get("x").await?;
        let current = cluster.status.as_ref().map(|status| status.observed_generation) == cluster.metadata.generation;
        let ready = condition(&cluster, "Ready").filter(|(status, ..)| current && status == "False");
        Ok(match ready {
            Some((_, reason, message)) if message.contains(mistake.path) => Ok((reason, message)),
            _ => Err(brief(&cluster)),
        })
    })
    .await?;
    let (reason, message) = told;
    ensure!(
        !message.contains("initContainers[0]") || mistake.path.contains("initContainers[0]"),
        "names what the user has not: {message}"
    );
    if reason != "RollingOut" {
        until(&format!("{}: an event with the path", mistake.what), PATIENCE, async || {
            let events = space.events("x").await?;
            let found = events.iter().any(|(why, note)| *why == reason && note.contains(mistake.path));
            Ok(if found { Ok(()) } else { Err(format!("{events:?}")) })
        })
        .await?;
    }
    Ok(format!("status, Ready=False ({reason}): {message}"))
}

fn row(table: &mut String, mistake: &Mistake, told: &str) -> Result<()> {
    Ok(writeln!(table, "  | {} | {} | {} |", mistake.what, mistake.path, told)?)
}
