//! What becomes of replicas when nodes are lost, closed, drained and tainted: three nodes in three zones (`WORKERS=2 make cluster`).

mod breaker;
mod lost;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Space, Timeline, figures::figure, manifest, nodes::spread, space::brief, until};
use serde_json::{Value, json};

/// Pods of each WorkerCluster, over three nodes.
const REPLICAS: i32 = 4;
const FOUR: usize = 4;

/// A WorkerCluster of four idle pods, spread over the zones; `spec` adds to its spec.
fn spread_idle(name: &str, spec: &Value) -> Value {
    let mut all = json!({"replicas": REPLICAS});
    for (key, value) in spec.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    let mut cluster = manifest::idle(name, &all);
    spread(&mut cluster);
    cluster
}

fn watch(space: &Space, name: &str) -> Timeline {
    Timeline::start(space, &format!("{}={name}", crds::names::LABEL_NAME))
}

/// Waits until `wanted` pods serve elsewhere than on the `lost` nodes; how long after `when` that was.
async fn made_up(
    timeline: &Timeline,
    when: Instant,
    lost: &[&str],
    wanted: usize,
    patience: Duration,
) -> Result<Duration> {
    until(&format!("{wanted} pods ready elsewhere"), patience, async || {
        let found = timeline.first(when, |moment| moment.serving(lost) >= wanted);
        let now = timeline.moments().pop();
        Ok(found.ok_or_else(|| format!("{:?}", now.map(|now| now.pods))))
    })
    .await
}

/// Says how long something took, and that it was no longer than it may be.
fn in_time(name: &str, took: Duration, most: u64) -> Result<()> {
    figure(name, format!("{:.1}", took.as_secs_f32()), &format!("s (at the most {most})"));
    ensure!(took <= Duration::from_secs(most), "{name}: {:.1} s", took.as_secs_f32());
    Ok(())
}

/// Waits until the message of a condition of the WorkerCluster holds `text`.
async fn says(space: &Space, name: &str, kind: &str, text: &str) -> Result<()> {
    until(&format!("{kind} of {name} to say {text:?}"), e2e::space::PATIENCE, async || {
        let cluster = space.api::<crds::WorkerCluster>().get(name).await?;
        let found = e2e::space::condition(&cluster, kind).is_some_and(|(_, _, message)| message.contains(text));
        Ok(if found { Ok(()) } else { Err(brief(&cluster)) })
    })
    .await
}
