//! What the primaries of one WorkerCluster are to be told, and what came of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crds::{ReloadStatus, WorkerCluster, names};
use primary_protocol::{Stats, remote::WantedReload};

use super::retire::Retiring;
use crate::{
    build::live::wanted,
    decide::reload::{self, Plan, Replica},
    signal::{Order, OrderError, Readings},
    status::Settings,
    text::short_hash,
    view::PodView,
};

/// The name of a reload is not longer in a primary.
const ID_MAX: usize = 64;

/// What primaries are to be told.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// By the pod's UID.
    pub by_pod: HashMap<Arc<str>, Arc<Order>>,
    /// What new pods check orders with; `None` where none are given.
    pub public_key: Option<Arc<str>>,
    /// What a pod that begins is made with: the name of its settings.
    pub fresh: Arc<str>,
    /// The reload that was ordered, if one was.
    pub reload: Option<WantedReload>,
    plan: Option<Plan>,
}

/// The orders for these pods, which are all of this WorkerCluster's.
pub fn of(cluster: &WorkerCluster, pods: &[&PodView], readings: &Readings, retiring: &Retiring) -> Orders {
    let workers = &cluster.spec.workers;
    let reload = ordered(cluster);
    let mut active: Vec<&&PodView> = pods.iter().filter(|pod| pod.is_active()).collect();
    active.sort_by_key(|pod| (pod.slot, &pod.name));
    let plan = reload.as_ref().map(|reload| {
        // Who goes needs no fresh workers, and its not being ready keeps nobody waiting.
        let staying = active.iter().filter(|pod| !retiring.contains_key(&pod.uid));
        let replicas: Vec<Replica<'_>> = staying.map(|pod| replica(readings, pod)).collect();
        reload::plan(&reload.id, &replicas)
    });
    let fresh = wanted(workers, false, reload.clone()).revision.into();
    let chosen: HashSet<&str> = plan.iter().flat_map(|plan| &plan.ordered).map(String::as_str).collect();
    // Four at the most: most pods are told the same.
    let mut made: HashMap<(bool, bool), Arc<Order>> = HashMap::new();
    let mut order = |drained: bool, reloads: bool| {
        let reload = reload.clone().filter(|_| reloads);
        made.entry((drained, reloads)).or_insert_with(|| Order::new(&wanted(workers, drained, reload)).into()).clone()
    };
    let drained = |pod: &PodView| pod.drain || retiring.contains_key(&pod.uid);
    let by_pod = active.iter().map(|pod| (pod.uid.clone(), order(drained(pod), chosen.contains(&*pod.uid)))).collect();
    Orders { by_pod, public_key: None, fresh, reload, plan }
}

fn replica<'a>(readings: &'a Readings, pod: &'a PodView) -> Replica<'a> {
    let stats = stats(readings, pod);
    Replica {
        name: &pod.name,
        uid: &pod.uid,
        ready: pod.is_ready() || pod.drain,
        heard: pod.ip.is_none() || readings.pods.contains_key(&pod.uid),
        told: stats.and_then(|stats| stats.told.as_ref()),
        reload: stats.and_then(|stats| stats.reload.as_ref()),
    }
}

/// What a pod's primary said last.
fn stats<'a>(readings: &'a Readings, pod: &PodView) -> Option<&'a Stats> {
    let (stats, _) = readings.pods.get(&pod.uid)?.stats.as_ref()?;
    Some(stats)
}

/// The reload that the WorkerCluster's annotations order.
fn ordered(cluster: &WorkerCluster) -> Option<WantedReload> {
    let annotation = |name: &str| cluster.metadata.annotations.as_ref()?.get(name);
    let id = annotation(names::ANNOTATION_RELOAD).filter(|id| !id.is_empty())?;
    let id = if id.len() > ID_MAX { short_hash(&[id]) } else { id.clone() };
    let at_once = annotation(names::ANNOTATION_RELOAD_AT_ONCE).and_then(|count| count.parse().ok());
    Some(WantedReload { id, at_once: at_once.filter(|count| *count > 0).unwrap_or(1) })
}

impl Orders {
    /// How far the settings have reached the pods.
    pub fn settings<'a>(&self, active: &[&'a PodView], readings: &'a Readings) -> Settings<'a> {
        if self.by_pod.is_empty() {
            return if active.is_empty() { Settings::NoReplicas } else { Settings::NoKey };
        }
        let mut told = 0;
        let mut deaf = 0;
        let mut all = 0;
        for pod in active {
            let Some(reading) = readings.pods.get(&pod.uid) else { continue };
            let (Some((stats, _)), Some(order)) = (&reading.stats, self.by_pod.get(&pod.uid)) else { continue };
            all += 1;
            // A refusal of what is not wanted any more, or was done after all, is none.
            match (&stats.told, &reading.order, order.is_news_to(stats)) {
                (None, ..) => deaf += 1,
                (Some(_), _, false) => told += 1,
                (Some(_), Some(OrderError::Refused(message) | OrderError::Distrusted(message)), true) => {
                    return Settings::Refused { pod: &pod.name, message };
                }
                (Some(_), _, true) => {}
            }
        }
        if all == 0 && !active.is_empty() { Settings::Unheard } else { Settings::Told { told, deaf, all } }
    }

    /// How far the reload is, as status tells it.
    pub fn reload_status(&self) -> Option<ReloadStatus> {
        let (reload, plan) = self.reload.as_ref().zip(self.plan.as_ref())?;
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        Some(ReloadStatus {
            id: reload.id.clone(),
            replicas: count(plan.all),
            done_replicas: count(plan.done),
            failure: plan.failure.as_ref().map(|(pod, why)| format!("pod {pod}: {why}")),
            waiting_for: plan.waits_for.as_ref().map(|pod| format!("pod {pod} is not ready")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pod::tests::pod;

    fn cluster(annotations: &[(&str, &str)]) -> WorkerCluster {
        let mut cluster = WorkerCluster::new("web", crate::build::validate::tests::spec());
        cluster.metadata.annotations =
            Some(annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        cluster
    }

    #[test]
    fn a_drained_pod_is_told_so_and_the_others_what_a_fresh_one_begins_with() {
        let drained = PodView { drain: true, ..pod("a") };
        let retiring = Retiring::from([(pod("c").uid, tokio::time::Instant::now())]);
        let orders = of(&cluster(&[]), &[&drained, &pod("b"), &pod("c")], &Readings::default(), &retiring);
        assert_eq!(orders.by_pod[&pod("b").uid].revision, orders.fresh);
        assert_ne!(orders.by_pod[&drained.uid].revision, orders.fresh);
        assert_eq!(orders.by_pod[&pod("c").uid], orders.by_pod[&drained.uid]);
    }

    #[test]
    fn an_order_to_reload_has_a_short_name_and_a_number() {
        let long = "x".repeat(100);
        for (at_once, expected) in [("3", 3), ("0", 1), ("many", 1)] {
            let annotations = [(names::ANNOTATION_RELOAD, &*long), (names::ANNOTATION_RELOAD_AT_ONCE, at_once)];
            let reload = ordered(&cluster(&annotations)).unwrap();
            assert!(reload.id.len() <= ID_MAX && reload.at_once == expected, "{reload:?}");
        }
        assert_eq!(ordered(&cluster(&[(names::ANNOTATION_RELOAD, "")])), None);
    }
}
