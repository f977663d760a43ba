//! The invariants of replica management, checked on a history: what must hold at every moment, whatever failed meanwhile.

mod clusters;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use clusters::Cluster;
use serde_json::Value;

use super::{
    History, Record,
    pods::{controller, is_active, is_ready, label},
};

/// How the rules are applied.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How old the view may be on which a status, or the order of deletions, rests.
    pub lag: Duration,
    /// Others than the operator delete pods too: what is said of deletions is not checked.
    pub others_delete: bool,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, since the observer began.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Active pods <= the most that was wanted, and maxSurge while revisions change.
    TooMany,
    /// Two active pods never have the same slot.
    SlotTwice,
    /// Only pods that the `WorkerCluster` controls are deleted.
    ForeignDeleted,
    /// A ready pod goes only where enough ready ones stay; another only where enough stay.
    TooFew,
    /// What is not ready goes before what is.
    Ranking,
    /// `observedGeneration` never goes back and is never ahead.
    Generation,
    /// Ready is True only where enough pods are.
    Ready,
}

// === impl Rules ===

impl Default for Rules {
    fn default() -> Self {
        Self { lag: Duration::from_secs(3), others_delete: false }
    }
}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s: {}", self.rule, self.at.as_secs_f32(), self.what)
    }
}

/// What was broken, in order.
#[must_use]
pub fn violations(history: &History, rules: Rules) -> Vec<Violation> {
    let mut replay = Replay::new(rules);
    for record in &history.first {
        match &*record.plural {
            "workerclusters" => drop(replay.clusters.insert(record.uid().to_owned(), Cluster::new(&record.object))),
            "pods" => drop(replay.pods.insert(record.uid().to_owned(), Pod::new(record))),
            _ => {}
        }
    }
    let uids: Vec<String> = replay.clusters.keys().cloned().collect();
    for uid in uids {
        replay.count(&uid, Duration::ZERO);
    }
    for record in &history.records {
        replay.overdue(Some(record.at));
        match &*record.plural {
            "workerclusters" => replay.cluster(record),
            "pods" => replay.pod(record),
            _ => {}
        }
    }
    replay.overdue(None);
    replay.found
}

/// A pod as it was last seen.
struct Pod {
    object: Arc<Value>,
    /// Since when it has been ready, or not.
    since: Duration,
}

/// A ready pod was deleted while another was not ready: that one has to go soon too.
struct Owed {
    at: Duration,
    gone: String,
    stays: String,
}

struct Replay {
    rules: Rules,
    clusters: BTreeMap<String, Cluster>,
    pods: BTreeMap<String, Pod>,
    owed: Vec<Owed>,
    found: Vec<Violation>,
}

// === impl Pod ===

impl Pod {
    fn new(record: &Record) -> Self {
        Self { object: record.object.clone(), since: record.at }
    }
}

// === impl Replay ===

impl Replay {
    fn new(rules: Rules) -> Self {
        Self { rules, clusters: BTreeMap::new(), pods: BTreeMap::new(), owed: Vec::new(), found: Vec::new() }
    }

    fn tell(&mut self, rule: Rule, at: Duration, what: String) {
        self.found.push(Violation { rule, at, what });
    }

    fn cluster(&mut self, record: &Record) {
        let uid = record.uid().to_owned();
        if record.gone {
            self.clusters.remove(&uid);
            return;
        }
        let new = Cluster::new(&record.object);
        let Some(cluster) = self.clusters.get_mut(&uid) else {
            self.clusters.insert(uid.clone(), new);
            self.count(&uid, record.at);
            return;
        };
        let (before, name) = (cluster.observed, cluster.name.clone());
        cluster.follow(new);
        let (observed, generation) = (cluster.observed, cluster.generation);
        let claims = cluster.claims_ready.then_some((cluster.wanted, cluster.most_ready(record.at, self.rules.lag)));
        if observed < before || observed > generation {
            let what = format!("{name}: observedGeneration {before} -> {observed}, generation {generation}");
            self.tell(Rule::Generation, record.at, what);
        }
        if let Some((wanted, ready)) = claims.filter(|(wanted, ready)| ready < wanted) {
            self.tell(Rule::Ready, record.at, format!("{name} says Ready with {ready} of {wanted} pods ready"));
        }
        self.rest(&uid);
    }

    /// Where the operator has seen what is wanted, and it is there, what was wanted before does not count any more.
    fn rest(&mut self, uid: &str) {
        let Some(cluster) = self.clusters.get(uid).filter(|cluster| cluster.is_done) else { return };
        let (wanted, name) = (cluster.wanted, cluster.name.clone());
        let active: Vec<&str> =
            self.active(uid, &name).map(|(_, pod)| label(&pod.object, crds::names::LABEL_REVISION)).collect();
        let done = active.len() == wanted && active.windows(2).all(|pair| pair[0] == pair[1]);
        if let Some(cluster) = self.clusters.get_mut(uid).filter(|_| done) {
            cluster.rest();
        }
    }

    fn pod(&mut self, record: &Record) {
        let uid = record.uid().to_owned();
        let before = self.pods.get(&uid).map(|pod| (pod.object.clone(), pod.since));
        let ends = record.gone || !is_active(&record.object);
        if record.gone {
            self.pods.remove(&uid);
        } else {
            let unmoved = before.as_ref().filter(|(object, _)| is_ready(object) == is_ready(&record.object));
            let since = unmoved.map_or(record.at, |(_, since)| *since);
            self.pods.insert(uid.clone(), Pod { object: record.object.clone(), since });
        }
        self.count(controller(&record.object), record.at);
        match before {
            None if !ends => self.created(record),
            Some((before, _)) if is_active(&before) && ends => {
                self.owed.retain(|owed| owed.stays != uid);
                // One that failed by itself was deleted by nobody.
                if record.gone || !record.object["metadata"]["deletionTimestamp"].is_null() {
                    self.deleted(record, &before);
                }
            }
            _ => {}
        }
    }

    /// The active pods of a `WorkerCluster`: those it controls, and those of its name that nobody does.
    fn active<'a>(&'a self, cluster_uid: &'a str, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Pod)> {
        self.pods.iter().filter(move |(_, pod)| is_active(&pod.object) && belongs(&pod.object, cluster_uid, name))
    }

    fn created(&mut self, record: &Record) {
        let Some((uid, cluster)) = self.clusters.iter().find(|(uid, _)| controller(&record.object) == **uid) else {
            return;
        };
        let (most, name, mut told) = (cluster.most(), cluster.name.clone(), Vec::new());
        let active: Vec<_> = self.active(uid, &name).collect();
        if active.len() > most {
            let names: Vec<_> = active.iter().map(|(_, pod)| pod.object["metadata"]["name"].to_string()).collect();
            told.push((
                Rule::TooMany,
                format!("{name}: {} active pods, {most} allowed: {}", active.len(), names.join(" ")),
            ));
        }
        let slot = label(&record.object, crds::names::LABEL_SLOT);
        let twin = active.iter().find(|(other, pod)| {
            **other != record.uid() && label(&pod.object, crds::names::LABEL_SLOT) == slot && !slot.is_empty()
        });
        if let Some((_, twin)) = twin {
            told.push((
                Rule::SlotTwice,
                format!("{} and {} have slot {slot}", record.name(), twin.object["metadata"]["name"]),
            ));
        }
        for (rule, what) in told {
            self.tell(rule, record.at, what);
        }
    }

    fn deleted(&mut self, record: &Record, before: &Value) {
        let owner = controller(before).to_owned();
        let name = record.name().to_owned();
        if self.rules.others_delete {
            return;
        }
        let Some(cluster) = self.clusters.get(&owner) else {
            // Garbage collection after its WorkerCluster, or nobody's business of ours.
            let orphaned = owner.is_empty() || !label(before, crds::names::LABEL_REVISION).is_empty();
            if owner.is_empty() || !orphaned {
                self.tell(Rule::ForeignDeleted, record.at, format!("{name}, controlled by \"{owner}\", was deleted"));
            }
            return;
        };
        if cluster.ending {
            return;
        }
        let (least, same) = (cluster.least(), !cluster.changed);
        let left: Vec<_> = self.active(&owner, &cluster.name).collect();
        let ready = left.iter().filter(|(_, pod)| is_ready(&pod.object)).count();
        let mut owed = Vec::new();
        let few = if is_ready(before) {
            let revision = label(before, crds::names::LABEL_REVISION);
            let stay = left.iter().filter(|(_, pod)| {
                !is_ready(&pod.object)
                    && label(&pod.object, crds::names::LABEL_REVISION) == revision
                    && record.at.saturating_sub(pod.since) >= self.rules.lag
            });
            owed.extend(stay.map(|(uid, _)| Owed { at: record.at, gone: name.clone(), stays: (*uid).clone() }));
            ready < least
        } else {
            same && left.len() < least
        };
        if few {
            let what = format!(
                "{name} (ready: {}) was deleted: {ready} ready of {} stay, {least} are wanted",
                is_ready(before),
                left.len()
            );
            self.tell(Rule::TooFew, record.at, what);
        }
        self.owed.extend(owed);
    }

    /// Those that had to go soon and have not.
    fn overdue(&mut self, now: Option<Duration>) {
        let late = |owed: &Owed| now.is_none_or(|now| now.saturating_sub(owed.at) > self.rules.lag);
        let (late, owed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.owed).into_iter().partition(late);
        self.owed = owed;
        for owed in late {
            let Some(stays) = self.pods.get(&owed.stays).filter(|pod| !is_ready(&pod.object)) else { continue };
            let what = format!(
                "{} was ready and was deleted, {} is not and stays",
                owed.gone, stays.object["metadata"]["name"]
            );
            self.tell(Rule::Ranking, owed.at, what);
        }
    }

    /// Notes how many are ready.
    fn count(&mut self, uid: &str, at: Duration) {
        let Some(cluster) = self.clusters.get_mut(uid) else { return };
        let pods = self.pods.values().filter(|pod| is_active(&pod.object) && controller(&pod.object) == uid);
        cluster.note(at, pods.filter(|pod| is_ready(&pod.object)).count());
    }
}

fn belongs(pod: &Value, cluster_uid: &str, name: &str) -> bool {
    let controller = controller(pod);
    let orphan = || {
        controller.is_empty()
            && label(pod, crds::names::LABEL_NAME) == name
            && !label(pod, crds::names::LABEL_REVISION).is_empty()
    };
    controller == cluster_uid || orphan()
}
