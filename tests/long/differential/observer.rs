//! One watch over the pods of both sides: whatever it costs in time, it costs both alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use e2e::{
    Space,
    watcher::{is_active, is_ready},
};
use futures::TryStreamExt;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::task::JoinHandle;

use super::{LABEL, Side};

/// Follows the pods until it is stopped.
pub struct Observer {
    seen: Arc<Mutex<Vec<Sight>>>,
    task: JoinHandle<Result<()>>,
}

/// A pod as an event showed it.
#[derive(Clone, Debug)]
pub struct Sight {
    at: Instant,
    side: String,
    pub uid: String,
    pub name: String,
    created: Option<Timestamp>,
    active: bool,
    ready: bool,
    gone: bool,
}

/// How long after the victim was seen to end its replacement was seen.
pub struct Replacement {
    pub made: Duration,
    pub ready: Duration,
}

/// The extremes of a time.
pub struct Bounds {
    pub fewest_ready: usize,
    pub most_active: usize,
}

// === impl Sight ===

impl Sight {
    fn of(pod: &Pod, gone: bool) -> Self {
        Self {
            at: Instant::now(),
            side: pod.labels().get(LABEL).cloned().unwrap_or_default(),
            uid: pod.uid().unwrap_or_default(),
            name: pod.name_any(),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            active: is_active(pod) && !gone,
            ready: is_active(pod) && is_ready(pod) && !gone,
            gone,
        }
    }
}

// === impl Observer ===

impl Observer {
    pub fn start(space: &Space) -> Self {
        let events = watcher(space.api::<Pod>(), watcher::Config::default().labels(LABEL).timeout(290));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.try_next().await? {
                    let sight = match event {
                        Event::Init | Event::InitDone => continue,
                        Event::InitApply(pod) | Event::Apply(pod) => Sight::of(&pod, false),
                        Event::Delete(pod) => Sight::of(&pod, true),
                    };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
                }
                bail!("the watch ended")
            }
        });
        Self { seen, task }
    }

    fn of(&self, side: Side) -> Vec<Sight> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|sight| sight.side == side.name()).cloned().collect()
    }

    /// Pods that are there, ending ones included, and those that are ready.
    pub fn now(&self, side: Side) -> (usize, usize) {
        let pods = last(self.of(side).iter());
        (pods.len(), pods.values().filter(|sight| sight.ready).count())
    }

    /// The active pod that is the oldest.
    pub fn oldest(&self, side: Side) -> Option<Sight> {
        let pods = last(self.of(side).iter());
        pods.into_values().filter(|sight| sight.active).min_by_key(|sight| (sight.created, sight.name.clone()))
    }

    /// What took the victim's place, once it is ready. Counted from the event that showed the victim's end to begin.
    pub fn replacement(&self, side: Side, victim: &str, begun: Instant) -> Option<Replacement> {
        let all = self.of(side);
        let before: BTreeSet<&str> = all.iter().filter(|one| one.at < begun).map(|one| one.uid.as_str()).collect();
        let ending = all.iter().find(|one| one.uid == victim && !one.active)?.at;
        let new = all.iter().find(|one| !before.contains(one.uid.as_str()))?;
        let ready = all.iter().find(|one| one.uid == new.uid && one.ready)?;
        Some(Replacement {
            made: new.at.saturating_duration_since(ending),
            ready: ready.at.saturating_duration_since(ending),
        })
    }

    /// How long after `begun` every active pod was new and ready, if that is so now.
    pub fn rolled(&self, side: Side, begun: Instant) -> Option<Duration> {
        let all = self.of(side);
        let old: BTreeSet<&str> = all.iter().filter(|one| one.at < begun).map(|one| one.uid.as_str()).collect();
        let pods = last(all.iter());
        let active: Vec<&Sight> = pods.values().filter(|sight| sight.active).collect();
        let done = active.len() == super::REPLICAS
            && active.iter().all(|sight| sight.ready && !old.contains(sight.uid.as_str()));
        if !done {
            return None;
        }
        // Since the last event that made it so.
        let last_ready = active.iter().filter_map(|sight| first_ready(&all, &sight.uid)).max()?;
        let last_end =
            old.iter().filter_map(|uid| all.iter().find(|one| one.uid == *uid && !one.active)).map(|one| one.at);
        Some(last_ready.max(last_end.max()?).duration_since(begun))
    }

    /// The fewest ready and the most active pods since `begun`.
    pub fn bounds(&self, side: Side, begun: Instant) -> Bounds {
        let all = self.of(side);
        let from = all.iter().position(|sight| sight.at >= begun).unwrap_or(all.len());
        let looks = (from..=all.len()).map(|end| last(all[..end].iter()));
        let counts: Vec<(usize, usize)> = looks
            .map(|pods| {
                let ready = pods.values().filter(|sight| sight.ready).count();
                (ready, pods.values().filter(|sight| sight.active).count())
            })
            .collect();
        Bounds {
            fewest_ready: counts.iter().map(|(ready, _)| *ready).min().unwrap_or(0),
            most_active: counts.iter().map(|(_, active)| *active).max().unwrap_or(0),
        }
    }

    /// Stops.
    ///
    /// # Errors
    /// Where the watch broke: then something may have been missed.
    pub async fn stop(self) -> Result<()> {
        if self.task.is_finished() {
            return self.task.await?;
        }
        self.task.abort();
        Ok(())
    }
}

fn first_ready(all: &[Sight], uid: &str) -> Option<Instant> {
    all.iter().find(|one| one.uid == uid && one.ready).map(|one| one.at)
}

/// The last that was seen of each pod that is not gone.
fn last<'a>(sights: impl Iterator<Item = &'a Sight>) -> BTreeMap<String, Sight> {
    let mut pods = BTreeMap::new();
    for sight in sights {
        if sight.gone {
            pods.remove(&sight.uid);
        } else {
            pods.insert(sight.uid.clone(), sight.clone());
        }
    }
    pods
}
