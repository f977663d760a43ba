//! The number of replicas follows processor time and a queue, and holds where a metric is silent.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{Load, Space, figures::figure, manifest, meter::Meter, space::brief, until};
use serde_json::json;

/// From a figure that can be seen to the replicas that it asks for: a second, and what a machine may stand still. Who reads a metrics server needs 15 s.
const SOON: Duration = Duration::from_secs(8);
/// The operator under test keeps the highest recommendation for so long (tests/install's value in tests/run).
const WINDOW: Duration = Duration::from_secs(20);
/// The window, the rate of 15 s, and time for a busy machine.
const BACK: Duration = Duration::from_secs(75);

fn desired(cluster: &WorkerCluster) -> i32 {
    let autoscaling = cluster.status.as_ref().and_then(|status| status.autoscaling.as_ref());
    autoscaling.map_or(-1, |autoscaling| autoscaling.desired_replicas)
}

/// Waits until decision, spec and pods are all within `wanted`.
async fn scaled(
    space: &Space,
    name: &str,
    wanted: std::ops::RangeInclusive<i32>,
    deadline: Duration,
) -> Result<WorkerCluster> {
    let api = space.api::<WorkerCluster>();
    until(&format!("{name} with {wanted:?} replicas"), deadline, async || {
        let cluster = api.get(name).await?;
        let replicas = cluster.status.as_ref().map_or(-1, |status| status.replicas);
        let done = [desired(&cluster), cluster.spec.replicas, replicas].iter().all(|number| wanted.contains(number));
        Ok(if done { Ok(cluster) } else { Err(brief(&cluster)) })
    })
    .await
}

/// The note of an event with this reason, which has to come soon.
async fn told(space: &Space, name: &str, reason: &str) -> Result<String> {
    until(&format!("an event {reason}"), Duration::from_secs(10), async || {
        let events = space.events(name).await?;
        let note = events.iter().find(|(why, _)| why == reason).map(|(_, note)| note.clone());
        Ok(note.ok_or_else(|| format!("{events:?}")))
    })
    .await
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f32())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_processor_time() -> Result<()> {
    Space::run("cpu", |space| async move {
        space.cpu_example(3).await?;
        space.ready("cpu", 1).await?;
        let address = space.address("cpu", 8000).await?;
        let pod = space.uids("cpu").await?.into_keys().next().context("no pod")?;
        let mut meter = Meter::default();
        until("a pod at rest", Duration::from_secs(30), async || {
            let rate = meter.millicores(&space.stats(&pod).await?);
            Ok(if rate.is_some_and(|rate| rate < 20) { Ok(()) } else { Err(format!("{rate:?} millicores")) })
        })
        .await?;
        ensure!(desired(&scaled(&space, "cpu", 1..=1, SOON).await?) == 1, "scaled before there was load");

        let load = Load::start(address, "/?milliseconds=20", 4, Duration::ZERO);
        let started = Instant::now();
        let rate = until("load in /v1/stats", Duration::from_secs(10), async || {
            let rate = meter.millicores(&space.stats(&pod).await?).unwrap_or(0);
            Ok(if rate > 70 { Ok(rate) } else { Err(format!("{rate} millicores")) })
        })
        .await?;
        let visible = Instant::now();
        figure(
            "cpu: load to visible in /v1/stats",
            seconds(started.elapsed()),
            &format!("s ({rate} of 70 millicores)"),
        );
        scaled(&space, "cpu", 2..=3, SOON).await?;
        figure("cpu: visible to more replicas", seconds(visible.elapsed()), "s");
        let most = scaled(&space, "cpu", 3..=3, Duration::from_secs(15)).await?;
        figure("cpu: visible to 3 replicas", seconds(visible.elapsed()), "s");
        let why = most.status.and_then(|status| status.autoscaling).unwrap_or_default();
        figure("cpu: reason in status", format!("{}: {}", why.reason, why.message), "");
        ensure!(["CpuUtilization", "AtMaxReplicas"].contains(&why.reason.as_str()), "reason {}", why.reason);
        ensure!(why.message.contains("cpu: ") && why.last_scale_time.is_some(), "{}", why.message);
        figure("cpu: event", told(&space, "cpu", "ScaledUp").await?, "");
        let report = load.stop().await?;
        figure("cpu: requests meanwhile", format!("{} ok, {} failed", report.ok, report.bad()), "");

        let stopped = Instant::now();
        scaled(&space, "cpu", 1..=1, BACK).await?;
        figure("cpu: end of load to 1 replica", seconds(stopped.elapsed()), "s");
        ensure!(stopped.elapsed() + Duration::from_secs(2) > WINDOW, "went down before the window was over");
        figure("cpu: event", told(&space, "cpu", "ScaledDown").await?, "");
        Ok(())
    })
    .await
}

/// A Redis in the space, and the queue example with these bounds.
async fn queue(space: &Space, min: i32, max: i32) -> Result<()> {
    for mut object in manifest::documents(&space.example("queue")?)? {
        if object["kind"] == "WorkerCluster" {
            object["spec"]["workers"] = json!({"count": 1, "drainSeconds": 5});
            object["spec"]["autoscaling"]["minReplicas"] = json!(min);
            object["spec"]["autoscaling"]["maxReplicas"] = json!(max);
        }
        space.apply(&object).await?;
    }
    space.ready("queue", min).await?;
    active(space, "queue").await
}

async fn active(space: &Space, name: &str) -> Result<()> {
    space.condition(name, "ScalingActive", "True", "MetricsKnown").await.map(drop)
}

/// `count` jobs of `milliseconds` each on the list; returns when Redis has them all.
async fn push(space: &Space, count: u32, milliseconds: u32) -> Result<()> {
    redis(space, &format!("yes 'LPUSH jobs {milliseconds}' | head -n {count} | redis-cli")).await.map(drop)
}

async fn redis(space: &Space, script: &str) -> Result<String> {
    space.kubectl(&["exec", "deployment/redis", "--", "sh", "-c", script]).await
}

async fn empty(space: &Space) -> Result<()> {
    until("an empty list", Duration::from_secs(60), async || {
        let length = redis(space, "redis-cli llen jobs").await?;
        Ok(if length.trim() == "0" { Ok(()) } else { Err(length) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_a_redis_list_and_go_to_zero_and_back() -> Result<()> {
    Space::run("list", |space| async move {
        queue(&space, 1, 5).await?;
        push(&space, 1000, 20).await?;
        let pushed = Instant::now();
        let most = scaled(&space, "queue", 2..=5, SOON).await?;
        figure(
            "redisList: 1000 items to more replicas",
            seconds(pushed.elapsed()),
            &format!("s ({} replicas)", desired(&most)),
        );
        let why = most.status.and_then(|status| status.autoscaling).unwrap_or_default();
        figure("redisList: reason in status", format!("{}: {}", why.reason, why.message), "");
        ensure!(["QueueLength", "AtMaxReplicas"].contains(&why.reason.as_str()), "reason {}", why.reason);
        figure("redisList: event", told(&space, "queue", "ScaledUp").await?, "");
        empty(&space).await?;
        let emptied = Instant::now();
        scaled(&space, "queue", 1..=1, BACK).await?;
        figure("redisList: empty to the minimum, 1", seconds(emptied.elapsed()), "s");
        figure("redisList: event", told(&space, "queue", "ScaledDown").await?, "");

        space.patch("queue", json!({"spec": {"autoscaling": {"minReplicas": 0}}})).await?;
        scaled(&space, "queue", 0..=0, BACK).await?;
        let message = space.condition("queue", "Ready", "True", "ScaledToZero").await?;
        figure("redisList: Ready at zero", message, "");
        push(&space, 300, 20).await?;
        let pushed = Instant::now();
        scaled(&space, "queue", 1..=5, SOON).await?;
        figure("redisList: 300 items to replicas from zero", seconds(pushed.elapsed()), "s");
        empty(&space).await?;
        figure("redisList: from zero to an empty list", seconds(pushed.elapsed()), "s");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_redis_scales_nothing_down() -> Result<()> {
    Space::run("silent", |space| async move {
        queue(&space, 1, 3).await?;
        push(&space, 300, 600_000).await?;
        scaled(&space, "queue", 3..=3, SOON).await?;
        let space = &space;
        let redis = async |replicas: &str| space.kubectl(&["scale", "deployment/redis", "--replicas", replicas]).await;
        redis("0").await?;
        let stopped = Instant::now();
        let message = space.condition("queue", "ScalingActive", "False", "QueueUnknown").await?;
        figure("Redis stopped to ScalingActive=False", seconds(stopped.elapsed()), "s");
        figure("Redis stopped: message", &message, "");
        ensure!(message.contains("redisList jobs") && message.contains("Nothing scales down"), "{message}");
        let held = WINDOW + Duration::from_secs(10);
        until("the window and 10 s without a scale-down", held + Duration::from_secs(5), async || {
            let cluster = space.api::<WorkerCluster>().get("queue").await?;
            let replicas = cluster.status.as_ref().map_or(0, |status| status.replicas);
            ensure!(replicas == 3 && cluster.spec.replicas == 3, "scaled down: {}", brief(&cluster));
            Ok(if stopped.elapsed() >= held { Ok(()) } else { Err("too early to tell") })
        })
        .await?;
        figure("Redis stopped: replicas held", seconds(stopped.elapsed()), "s at 3");
        redis("1").await?;
        space.kubectl(&["rollout", "status", "deployment/redis", "--timeout=60s"]).await?;
        let started = Instant::now();
        active(space, "queue").await?;
        figure("Redis back to ScalingActive=True", seconds(started.elapsed()), "s");
        // Its list is gone, as it keeps nothing on disk.
        scaled(space, "queue", 1..=1, BACK).await?;
        figure("Redis back to the minimum, 1", seconds(started.elapsed()), "s");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_lag_and_the_pending_entries_of_a_redis_stream() -> Result<()> {
    Space::run("stream", |space| async move {
        for object in manifest::documents(&space.example("queue")?)?.iter().filter(|object| object["metadata"]["name"] == "redis") {
            space.apply(object).await?;
        }
        space.kubectl(&["rollout", "status", "deployment/redis", "--timeout=60s"]).await?;
        redis(&space, "redis-cli xgroup create events workers 0 mkstream").await?;
        let source = json!({"address": format!("redis.{}.svc:6379", space.namespace), "key": "events", "group": "workers"});
        let metric = json!({"queue": {"redisStream": source, "targetPerReplica": 100}});
        space.apply(&manifest::idle("stream", &json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 5, "metrics": [metric]}}))).await?;
        space.ready("stream", 1).await?;
        active(&space, "stream").await?;

        redis(&space, "yes 'XADD events * a b' | head -n 300 | redis-cli").await?;
        let added = Instant::now();
        scaled(&space, "stream", 3..=3, SOON).await?;
        figure("redisStream: 300 entries of lag to 3 replicas", seconds(added.elapsed()), "s");
        // All taken and none acknowledged: only with the 100 that wait are they more than 3 replicas' worth.
        redis(&space, "redis-cli xreadgroup group workers me count 300 streams events '>' | wc -l; yes 'XADD events * a b' | head -n 100 | redis-cli").await?;
        let added = Instant::now();
        scaled(&space, "stream", 4..=4, SOON).await?;
        figure("redisStream: 300 pending and 100 of lag to 4 replicas", seconds(added.elapsed()), "s");
        redis(&space, "redis-cli xgroup setid events workers '$'; redis-cli xgroup delconsumer events workers me").await?;
        let empty = Instant::now();
        scaled(&space, "stream", 1..=1, BACK).await?;
        figure("redisStream: nothing to do to the minimum, 1", seconds(empty.elapsed()), "s");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_change_the_replicas_under_autoscaling() -> Result<()> {
    Space::run("foreign", |space| async move {
        let metric = json!({"cpu": {"targetUtilization": 90}});
        let mut cluster =
            manifest::idle("held", &json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "metrics": [metric]}}));
        cluster["spec"]["replicas"] = json!(2);
        space.kubectl_with(&["apply", "-f", "-"], &cluster.to_string()).await?;
        space.ready("held", 2).await?;
        let before = space.uids("held").await?;
        for (what, replicas) in [("more", Some(4)), ("none", Some(0)), ("a removed line", None)] {
            if let Some(replicas) = replicas {
                space.patch("held", json!({"spec": {"replicas": replicas}})).await.map(drop)?;
            } else {
                cluster["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
                space.kubectl_with(&["apply", "-f", "-"], &cluster.to_string()).await.map(drop)?;
            }
            let changed = Instant::now();
            let right = put_right(&space, &before).await.with_context(|| what.to_owned())?;
            figure(&format!("foreign change of spec.replicas ({what}) put right"), seconds(right - changed), "s");
        }
        Ok(())
    })
    .await
}

/// Waits until the spec has said 2 for two seconds, and says since when; the pods must be those of before at every moment.
async fn put_right(space: &Arc<Space>, before: &BTreeMap<String, String>) -> Result<Instant> {
    let api = space.api::<WorkerCluster>();
    let mut right: Option<Instant> = None;
    until("2 replicas in the spec for 2 s", Duration::from_secs(15), async || {
        ensure!(space.uids("held").await? == *before, "pods came or went: {:?}", space.uids("held").await?);
        let cluster = api.get("held").await?;
        if cluster.spec.replicas != 2 {
            right = None;
            return Ok(Err(brief(&cluster)));
        }
        let since = *right.get_or_insert_with(Instant::now);
        Ok(if since.elapsed() >= Duration::from_secs(2) { Ok(since) } else { Err("just now".to_owned()) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_may_not_be_read_is_told_with_what_to_do() -> Result<()> {
    Space::run("secret", |space| async move {
        let source = json!({"address": format!("redis.{}.svc:6379", space.namespace), "key": "jobs", "secretRef": {"name": "redis", "key": "password"}});
        let metric = json!({"queue": {"redisList": source, "targetPerReplica": 100}});
        space.apply(&manifest::idle("locked", &json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 5, "metrics": [metric]}}))).await?;
        let message = space.condition("locked", "ScalingActive", "False", "QueueUnknown").await?;
        figure("secretRef without rights: message", &message, "");
        ensure!(message.contains("secretAccess.namespaces"), "{message}");
        space.ready("locked", 1).await.map(drop)
    })
    .await
}
