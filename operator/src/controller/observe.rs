//! Everything that one decision reads, gathered at one moment: the only place that looks at the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant as StdInstant,
};

use crds::{QueueMetric, WorkerCluster};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use primary_protocol::Stats;
use tokio::time::{Duration, Instant};

use super::{
    adopt::{self, Orphans},
    context::Context,
    orders::{self, Orders},
    release,
    retire::{self, Withdrawn},
};
use crate::{
    api::ApiError,
    decide::{load::Load, nodes::Breaker},
    signal::{PodTarget, QueueSource, Readings, Targets, Trouble},
    view::{Key, Phase, PodView},
};

/// What was seen of one WorkerCluster.
pub struct Seen {
    pub key: Key,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub cluster: Arc<WorkerCluster>,
    /// Orphans are there that may still be taken: nothing is made in their place.
    pub orphaned: bool,
    /// What kept orphans from being taken, or strays from being let go; told at the end, so that one of them does not stop all else.
    pub adoption: Option<ApiError>,
    /// All pods that carry the label, also those of others.
    pub pods: Vec<Arc<PodView>>,
    /// Pods without the label that have a name of ours: UID by name.
    strangers: BTreeMap<String, String>,
    pub readings: Readings,
    /// What the primaries are to be told.
    pub orders: Orders,
    /// Those that are not ready by our own word.
    pub withdrawn: Withdrawn,
    /// Closed where nodes cannot be seen.
    pub nodes: Arc<Breaker>,
    /// The queue of each metric, in the order of the spec; an error where its password cannot be had.
    pub queues: Vec<Option<Result<QueueSource, String>>>,
    pub wall: Timestamp,
    pub now: Instant,
    /// Stats that are older say nothing about now.
    stats_max_age: Duration,
}

/// A pod that has begun so long ago and is not ready has a primary that should answer: it does before its workers are ready. Images that are
/// still to be fetched take longer, and the pod is not Running then.
const STARTED: SignedDuration = SignedDuration::from_secs(30);

/// How long a password is used before its Secret is read again.
const PASSWORD_MAX_AGE: Duration = Duration::from_secs(30);

// === impl Seen ===

impl Seen {
    /// The pods that this WorkerCluster controls.
    pub fn owned(&self) -> Vec<&PodView> {
        self.pods
            .iter()
            .map(AsRef::as_ref)
            .filter(|pod: &&PodView| pod.controller.as_deref() == Some(&self.uid))
            .collect()
    }

    /// UID of the pod that is known to have a name. The cache gives pods in the order of their names.
    pub fn holder(&self, name: &str) -> Option<String> {
        let found = self.pods.binary_search_by(|pod| pod.name.as_str().cmp(name)).ok();
        let ours = found.and_then(|at| self.pods.get(at)).map(|pod| pod.uid.to_string());
        ours.or_else(|| self.strangers.get(name).cloned())
    }

    /// What a pod's primary said a moment ago.
    pub fn stats(&self, pod_uid: &str) -> Option<&Stats> {
        self.readings.pods.get(pod_uid)?.recent(self.now, self.stats_max_age)
    }

    /// What is wrong with a primary's answers, where the pod should have one by now.
    pub fn trouble(&self, pod: &PodView) -> Option<&Trouble> {
        let age = pod.started.map(|started| self.wall.duration_since(started));
        let starts = pod.phase != Phase::Running || !pod.is_ready() && age.is_none_or(|age| age < STARTED);
        self.readings.pods.get(&pod.uid)?.trouble().filter(|_| !starts)
    }

    /// How much work the pod holds.
    pub fn load(&self, pod_uid: &str) -> Load {
        Load::of(self.stats(pod_uid))
    }
}

/// Looks.
pub async fn observe(context: &Context, key: &Key, cluster: Arc<WorkerCluster>) -> Result<Seen, ApiError> {
    let namespace = key.namespace.to_string();
    let uid = cluster.metadata.uid.clone().unwrap_or_default();
    let inherited = inherits(&context.cache.pods.of(key), &uid);
    let crossed = context.cache.pods.take_doubt(key);
    let doubt = context.memory(key, |memory| {
        memory.doubtful |= crossed;
        memory.doubtful || inherited && !memory.looked
    });
    if doubt {
        context.relook(key).await?;
        context.memory(key, |memory| (memory.doubtful, memory.looked) = (false, true));
    }
    let released = release::pods(context, key, &uid).await;
    let (orphaned, adoption) = match adopt::pods(context, key, &uid).await {
        Ok(Orphans::Taken) => (false, None),
        Ok(Orphans::Left) => (true, None),
        // One that can never be taken is no reason to do without it for ever.
        Err(error) => (!error.is_refusal(), Some(error)),
    };
    let adoption = adoption.or(released.err());
    let queues = queues(context, key, &cluster).await;
    let pods = context.cache.pods.of(key);
    let readings = context.signals.readings(key);
    let strangers = context.memory(key, |memory| memory.strangers.clone());
    let mut seen = Seen {
        name: key.name.to_string(),
        namespace,
        uid,
        cluster,
        orphaned,
        adoption,
        pods,
        strangers,
        readings,
        orders: Orders::default(),
        withdrawn: Withdrawn::default(),
        nodes: context.nodes.borrow().clone().unwrap_or_default(),
        queues,
        wall: Timestamp::now(),
        now: Instant::now(),
        stats_max_age: context.signals.sample_max_age(),
        key: key.clone(),
    };
    retire::recollect(context, &mut seen);
    publish(context, &mut seen);
    Ok(seen)
}

/// Looks again before a decision: writing what comes before it may have taken seconds.
pub fn again(context: &Context, seen: &mut Seen) {
    (seen.wall, seen.now) = (Timestamp::now(), Instant::now());
    seen.readings = context.signals.readings(&seen.key);
    let pods = context.cache.pods.of(&seen.key);
    let same =
        pods.len() == seen.pods.len() && pods.iter().zip(&seen.pods).all(|(now, before)| Arc::ptr_eq(now, before));
    if !same {
        // Those of before were asked about, and may be such as can never be taken.
        let known: BTreeSet<&str> = seen.pods.iter().filter(|pod| pod.is_orphan()).map(|pod| &*pod.uid).collect();
        seen.orphaned |= pods.iter().any(|pod| pod.is_orphan() && !known.contains(&*pod.uid));
        seen.pods = pods;
    }
    retire::recollect(context, seen);
    if !same {
        publish(context, seen);
    }
}

/// Says what is to be read, and what the primaries are to be told.
pub fn publish(context: &Context, seen: &mut Seen) {
    let owned = seen.owned();
    let orders = match context.public_key() {
        Some(key) => {
            let mut orders =
                orders::of(&seen.cluster, &owned, &seen.readings, &seen.withdrawn, |uid| seen.stats(uid).is_some());
            orders.public_key = Some(key);
            orders
        }
        None => Orders::default(),
    };
    context.signals.publish(&seen.key, targets(&owned, &seen.queues, &orders));
    seen.orders = orders;
}

/// Whether there are pods of this name that another controls: a `WorkerCluster` that was deleted without its pods and made anew finds them as
/// its predecessor's where the watch of pods is behind, and would make others in their place.
fn inherits(pods: &[Arc<PodView>], uid: &str) -> bool {
    let of_another = |pod: &PodView| pod.controller.as_deref().is_some_and(|controller| controller != uid);
    pods.iter().any(|pod| pod.is_active() && pod.revision.is_some() && of_another(pod))
}

/// Only pods of its own are ever dialled.
fn targets(owned: &[&PodView], queues: &[Option<Result<QueueSource, String>>], orders: &Orders) -> Targets {
    let pods = owned.iter().filter(|pod| !pod.is_finished());
    let pods = pods.filter_map(|pod| Some(PodTarget { uid: pod.uid.clone(), ip: pod.ip? }));
    Targets {
        pods: pods.collect(),
        queues: queues.iter().flatten().filter_map(|queue| queue.as_ref().ok().cloned()).collect(),
        orders: orders.by_pod.clone(),
    }
}

async fn queues(context: &Context, key: &Key, cluster: &WorkerCluster) -> Vec<Option<Result<QueueSource, String>>> {
    let metrics = cluster.spec.autoscaling.iter().flat_map(|autoscaling| &autoscaling.metrics);
    let mut queues = Vec::new();
    for metric in metrics {
        let Some(queue) = &metric.queue else {
            queues.push(None);
            continue;
        };
        let secret = queue.redis_list.as_ref().map_or_else(
            || queue.redis_stream.as_ref().and_then(|stream| stream.secret_ref.as_ref()),
            |list| list.secret_ref.as_ref(),
        );
        let password = match secret {
            None => Ok(None),
            Some(secret) => password(context, key, &secret.name, &secret.key).await.map(Some),
        };
        let queue = in_namespace(queue.clone(), &key.namespace);
        queues.push(match password {
            Ok(password) => QueueSource::from_spec(&queue, password).map(Ok),
            Err(error) => Some(Err(error)),
        });
    }
    queues
}

/// A host without a dot is a Service in the WorkerCluster's namespace, as it is for the workers; the operator runs in another.
fn in_namespace(mut queue: QueueMetric, namespace: &str) -> QueueMetric {
    let list = queue.redis_list.as_mut().map(|list| &mut list.address);
    let stream = queue.redis_stream.as_mut().map(|stream| &mut stream.address);
    for address in list.into_iter().chain(stream) {
        if let Some((host, port)) = address.rsplit_once(':')
            && !host.contains(['.', ':'])
            && host != "localhost"
        {
            *address = format!("{host}.{namespace}.svc:{port}");
        }
    }
    queue
}

/// The password under `key` of the Secret `name`, read again now and then.
async fn password(context: &Context, cluster: &Key, name: &str, key: &str) -> Result<Arc<str>, String> {
    let id = (name.to_owned(), key.to_owned());
    let now = StdInstant::now();
    let known = context.memory(cluster, |memory| memory.passwords.get(&id).cloned());
    let found = match known {
        Some((at, found)) if now.duration_since(at) < PASSWORD_MAX_AGE => found,
        _ => {
            let found = context.api.secret_key(&cluster.namespace, name, key).await;
            let found = found.map(|text| text.map(|text| Arc::from(text.trim_end_matches('\n')))).map_err(|error| match error.code() {
                Some(403) => format!("the operator may not read Secret {name}: add the namespace to the chart's secretAccess.namespaces"),
                _ => error.to_string(),
            });
            context.memory(cluster, |memory| memory.passwords.insert(id, (now, found.clone())));
            found
        }
    };
    found?.ok_or_else(|| format!("Secret {name} has no key {key}: create it, or change secretRef"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pod::tests::pod;

    #[test]
    fn only_pods_that_live_and_are_a_predecessors_are_inherited() {
        let stranger = PodView { revision: None, ..pod("x") };
        let orphan = PodView { controller: None, ..pod("b") };
        assert!(inherits(&[pod("a").into()], "successor"));
        assert!(!inherits(&[pod("a").into()], "owner"));
        assert!(!inherits(&[pod("a").deleting().into(), stranger.into(), orphan.into()], "successor"));
    }

    #[test]
    fn a_host_without_a_dot_is_looked_for_in_the_namespace_of_the_workercluster() {
        for (address, want) in [
            ("redis:6379", "redis.shop.svc:6379"),
            ("redis.other.svc:6379", "redis.other.svc:6379"),
            ("10.0.0.1:6379", "10.0.0.1:6379"),
            ("[::1]:6379", "[::1]:6379"),
        ] {
            let queue = serde_json::json!({"redisList": {"address": address, "key": "jobs"}, "targetPerReplica": 1});
            let queue = in_namespace(serde_json::from_value(queue).unwrap(), "shop");
            assert_eq!(queue.redis_list.unwrap().address, want);
        }
    }
}
