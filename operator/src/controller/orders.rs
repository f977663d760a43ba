//! What the primaries of one WorkerCluster are to be told, and what came of it.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use crds::{ReloadStatus, WorkerCluster, names};
use primary_protocol::{
    Stats,
    remote::{Peer, Wanted, WantedReload},
};

use super::retire::Withdrawn;
use crate::{
    build::live::wanted,
    decide::{
        peers::Circle,
        reload::{self, Plan, Replica},
    },
    signal::{Order, OrderError, Readings, may_be_dialled},
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
/// `heard` is whether a primary said something a moment ago.
pub fn of(
    cluster: &WorkerCluster,
    pods: &[&PodView],
    readings: &Readings,
    withdrawn: &Withdrawn,
    heard: impl Fn(&str) -> bool,
) -> Orders {
    let workers = &cluster.spec.workers;
    let reload = ordered(cluster);
    let Withdrawn { retiring, returning } = withdrawn;
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
    let drained = |pod: &PodView| pod.drain || retiring.contains_key(&pod.uid);
    // Who is to leave is on the list as such: it still has clients, whose workers may be others', as its own may be those of clients that come elsewhere.
    // So is one that is not ready again yet.
    let leaves = |pod: &PodView| drained(pod) || !pod.is_ready() && returning.contains_key(&pod.uid);
    let known = active.iter().filter(|pod| pod.is_ready() || leaves(pod));
    let circle = Circle::of(known.filter_map(|pod| Some(Peer { leaving: leaves(pod), ..peer(pod)? })).collect());
    let leaving_words: Arc<[String]> = leaving_words(cluster).into();
    // Eight for each part of the circle at the most: most pods are told the same.
    let mut made: HashMap<(bool, bool, bool, Option<usize>), Arc<Order>> = HashMap::new();
    let mut order = |pod: &PodView| {
        let (drained, reloads) = (drained(pod), chosen.contains(&*pod.uid));
        // What an operator before this one has told it is to be known before it is told otherwise.
        let heard = drained || heard(&pod.uid);
        // Who does not serve yet is told as well: when it serves it knows the others already.
        let part = pod.queue_port.and_then(|_| circle.part(&pod.uid));
        let write = || {
            let reload = reload.clone().filter(|_| reloads);
            let peers = part.map(|(_, peers)| peers.clone());
            let order = Order::new(&Wanted { peers, ..wanted(workers, drained, reload) });
            if heard { order } else { order.sparing(leaving_words.clone()) }.into()
        };
        made.entry((drained, reloads, heard, part.map(|(number, _)| number))).or_insert_with(write).clone()
    };
    let by_pod = active.iter().map(|pod| (pod.uid.clone(), order(pod))).collect();
    Orders { by_pod, public_key: None, fresh, reload, plan }
}

/// The names of the settings that tell a replica of this WorkerCluster, as it is now, to serve out.
pub fn leaving_words(cluster: &WorkerCluster) -> Vec<String> {
    let name = |reload| wanted(&cluster.spec.workers, true, reload).revision;
    let reload = ordered(cluster);
    reload.is_some().then(|| name(reload)).into_iter().chain([name(None)]).collect()
}

/// A pod as the others know it; `None` where its primary takes no requests itself, or where it cannot be. It goes by how the pod was made: while
/// `http` changes there are pods of both kinds.
fn peer(pod: &PodView) -> Option<Peer> {
    // What operators do not dial for the API server's word primaries are not sent to either.
    let ip = pod.ip.filter(|ip| may_be_dialled(*ip))?;
    Some(Peer { id: pod.uid.to_string(), address: SocketAddr::new(ip, pod.queue_port?), leaving: false })
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
            // A refusal of what is not wanted any more, or was done after all, is none. Who does not trust this operator knows of no peers either.
            let distrusts = matches!(reading.order, Some(OrderError::Distrusted(_)));
            let is_new = if distrusts { order.is_news_to(stats) } else { order.has_settings_new_to(stats) };
            match (&stats.told, &reading.order, is_new) {
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
    use primary_protocol::remote::Peers;

    use super::*;
    use crate::signal::PodReading;
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
        let retiring = retiring(&pod("c"));
        let orders = of(&cluster(&[]), &[&drained, &pod("b"), &pod("c")], &Readings::default(), &retiring, |_| true);
        assert_eq!(orders.by_pod[&pod("b").uid].revision, orders.fresh);
        assert_ne!(orders.by_pod[&drained.uid].revision, orders.fresh);
        assert_eq!(orders.by_pod[&pod("c").uid], orders.by_pod[&drained.uid]);
    }

    /// What a pod's primary is told of others.
    fn peers(orders: &Orders, pod: &PodView) -> Option<Peers> {
        serde_json::from_slice::<Wanted>(&orders.by_pod[&pod.uid].body).unwrap().peers
    }

    fn retiring(pod: &PodView) -> Withdrawn {
        let retiring = [(pod.uid.clone(), tokio::time::Instant::now())].into();
        Withdrawn { retiring, ..Withdrawn::default() }
    }

    fn queue(name: &str) -> PodView {
        PodView { queue_port: Some(8000), ..pod(name) }
    }

    #[test]
    fn primaries_that_take_requests_know_who_of_them_serves() {
        let drained = PodView { drain: true, ..queue("d") };
        let loopback = PodView { ip: "127.0.0.1".parse().ok(), ..queue("l") };
        let shared = pod("s");
        let others = [drained, queue("n").not_ready(), PodView { ip: None, ..queue("i") }, loopback, queue("r")];
        let (a, b) = (queue("a"), PodView { queue_port: Some(9000), ..queue("b") });
        let ending = queue("e").deleting();
        let all: Vec<&PodView> = [&b, &a, &shared, &ending].into_iter().chain(&others).collect();
        let retiring = retiring(&queue("r"));
        let orders = of(&cluster(&[]), &all, &Readings::default(), &retiring, |_| true);
        let told = peers(&orders, &a).unwrap();
        let members: Vec<_> =
            told.members.iter().map(|peer| (&*peer.id, peer.address.to_string(), peer.leaving)).collect();
        let one = |uid, port, leaving| (uid, format!("198.18.0.9:{port}"), leaving);
        let expected = [("uid-a", 8000, false), ("uid-b", 9000, false), ("uid-d", 8000, true), ("uid-r", 8000, true)];
        assert_eq!(members, expected.map(|(uid, port, leaving)| one(uid, port, leaving)));
        assert_eq!(told.all, 2);
        for other in &others {
            assert_eq!(peers(&orders, other).as_ref(), Some(&told), "{}", other.name);
        }
        assert_eq!(peers(&orders, &shared), None, "it takes no requests");
        assert!(Arc::ptr_eq(&orders.by_pod[&a.uid], &orders.by_pod[&b.uid]));
    }

    #[test]
    fn one_that_was_called_back_stays_known_until_it_is_ready_again() {
        let (a, back) = (queue("a"), queue("b").not_ready());
        let returning = [(back.uid.clone(), tokio::time::Instant::now())].into();
        let withdrawn = Withdrawn { returning, ..Withdrawn::default() };
        for (pod, leaving) in [(&back, true), (&queue("b"), false)] {
            let orders = of(&cluster(&[]), &[&a, pod], &Readings::default(), &withdrawn, |_| true);
            let told = peers(&orders, &a).unwrap();
            assert!(told.members.iter().any(|peer| *peer.id == *pod.uid && peer.leaving == leaving), "{told:?}");
            assert_eq!(orders.by_pod[&pod.uid].revision, orders.fresh, "it is told that it is in service");
        }
    }

    #[test]
    fn what_the_operator_before_told_a_primary_is_known_before_it_is_told_otherwise() {
        let a = pod("a");
        let leaving =
            of(&cluster(&[]), &[&a], &Readings::default(), &retiring(&a), |_| true).by_pod[&a.uid].revision.clone();
        for annotations in [&[][..], &[(names::ANNOTATION_RELOAD, "now")]] {
            let cluster = cluster(annotations);
            assert!(leaving_words(&cluster).contains(&leaving.to_string()), "{annotations:?}");
            let of = |heard| {
                of(&cluster, &[&a], &Readings::default(), &Withdrawn::default(), |_| heard).by_pod[&a.uid].clone()
            };
            let first = of(false);
            let is_for = |told: &str| first.is_for(&stats(told));
            assert!(!is_for(&leaving) && is_for("other"), "{annotations:?}");
            assert!(of(true).is_for(&stats(&leaving)), "the decision has heard of it, and wants it in service");
        }
    }

    fn stats(told: &str) -> Stats {
        let stats = serde_json::json!({
            "version": 1, "primaryVersion": "x", "uptimeMilliseconds": 1000, "state": "Serving",
            "workers": {"desired": 1, "ready": 1, "running": 1, "restarts": 0},
            "deaths": {"exited": 0, "crashed": 0, "neverReady": 0, "outOfMemory": 0}, "told": {"revision": told}
        });
        serde_json::from_value(stats).unwrap()
    }

    #[test]
    fn who_serves_is_no_setting_and_is_told_also_where_nobody_does() {
        let (a, b) = (queue("a"), queue("b").not_ready());
        let of = |pods: &[&PodView]| of(&cluster(&[]), pods, &Readings::default(), &Withdrawn::default(), |_| true);
        let (one, both, none) = (of(&[&a, &b]), of(&[&a, &queue("b")]), of(&[&b]));
        for orders in [&one, &both, &none] {
            assert_eq!(orders.by_pod[&b.uid].revision, orders.fresh, "a fresh one has these settings, and no list yet");
        }
        let names = [&one, &both, &none].map(|orders| orders.by_pod[&b.uid].peers.clone().unwrap());
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
        assert_eq!(peers(&none, &b).unwrap().members, []);
    }

    #[test]
    fn settings_have_reached_a_primary_whomever_it_knows() {
        let a = queue("a");
        let orders = of(&cluster(&[]), &[&a], &Readings::default(), &Withdrawn::default(), |_| true);
        let readings = |told: &str, order: Option<OrderError>| {
            let mut reading = PodReading::default();
            reading.stats = Some((Arc::new(stats(told)), tokio::time::Instant::now()));
            reading.order = order;
            Readings { pods: Arc::new([(a.uid.clone(), reading)].into()), ..Readings::default() }
        };
        let refused = || Some(OrderError::Refused("peers: not known".into()));
        for (told, order, reached) in [
            (&*orders.fresh, None, Some(1)),
            (&*orders.fresh, refused(), Some(1)),
            ("other", None, Some(0)),
            ("other", refused(), None),
        ] {
            let readings = readings(told, order);
            let found = match orders.settings(&[&a], &readings) {
                Settings::Told { told, deaf: 0, all: 1 } => Some(told),
                _ => None,
            };
            assert_eq!(found, reached, "{told}");
        }
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
