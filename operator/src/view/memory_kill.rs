//! Whether the kernel killed a pod's worker container for memory. With cgroup v2 it ends all processes of the container at once
//! (`memory.oom.group`), the primary too, which could have told; what is left of it is in the pod's status.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crds::names;
use k8s_openapi::{
    api::core::v1::{Container, ContainerState, Pod},
    jiff::Timestamp,
};

use super::PodView;

/// The last kill of a worker container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryKill {
    pub container: String,
    pub at: Timestamp,
}

/// Kills that have been counted, by the pod's UID.
pub type Counted = BTreeMap<Arc<str>, Timestamp>;

/// So long it is told, as a primary tells what happened to single workers (`machine/recent.rs`): the container is back within seconds, and whoever
/// looks some minutes later should still learn of it.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// The exit code of what SIGKILL ended.
const KILLED: i32 = 128 + 9;

// === impl MemoryKill ===

impl MemoryKill {
    /// Reads it from a pod; `None` where the last end of the worker container was another, or there was none.
    pub fn read(pod: &Pod) -> Option<Self> {
        let containers = &pod.spec.as_ref()?.containers;
        // A webhook may put others before it, and its name is the user's where it was the only one.
        let mounts = |container: &&Container| {
            container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == names::MOUNT)
        };
        let named = |container: &&Container| container.name == names::WORKER_CONTAINER;
        let name = &containers.iter().find(mounts).or(containers.iter().find(named))?.name;
        let mut statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
        let worker = statuses.find(|container| container.name == *name)?;
        let at = [&worker.state, &worker.last_state].into_iter().filter_map(|state| killed_at(state.as_ref())).max()?;
        Some(Self { container: worker.name.clone(), at })
    }

    /// For how long it is still to be told; `None` where that is over.
    pub fn told_for(&self, now: Timestamp) -> Option<Duration> {
        // A node's clock may be ahead of ours.
        let age = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        TOLD_FOR.checked_sub(age).filter(|left| !left.is_zero())
    }

    /// The cause and the next step, in words for the user.
    pub fn message(&self) -> String {
        format!(
            "The kernel killed container {} for memory at {}, the primary with all workers: it reached its limit, or the node had no more. Raise \
             resources.limits.memory, keep fewer workers (workers.count), or let workers give way before (workers.recycle.memory).",
            self.container, self.at
        )
    }
}

/// Runtimes give the reason for any kill in the container's life, also where it was of one worker and the primary ended of something else later:
/// the exit code tells that (kubernetes#104454).
fn killed_at(state: Option<&ContainerState>) -> Option<Timestamp> {
    let ended = state?.terminated.as_ref()?;
    (ended.reason.as_deref() == Some("OOMKilled") && ended.exit_code == KILLED).then_some(ended.finished_at.as_ref()?.0)
}

/// How many kills of these pods have not been counted yet. What was there at the first look was counted by an operator before.
pub fn uncounted(counted: &mut Option<Counted>, pods: &[&PodView]) -> u64 {
    let kills: Counted = pods.iter().filter_map(|pod| Some((pod.uid.clone(), pod.memory_kill.as_ref()?.at))).collect();
    let new = |before: &Counted| kills.iter().filter(|(uid, at)| before.get(*uid) != Some(*at)).count();
    let new = counted.as_ref().map_or(0, new);
    *counted = Some(kills);
    u64::try_from(new).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::pod::tests::pod;

    const AT: &str = "2026-11-29T12:00:00Z";

    fn ended(reason: &str, at: &str) -> Value {
        json!({"terminated": {"exitCode": 137, "reason": reason, "finishedAt": at}})
    }

    /// What a kubelet tells of a pod with two containers, by the states of each.
    fn read(worker: &Value, proxy: &Value) -> Option<MemoryKill> {
        let told = |name: &str, states: &Value| {
            let mut told = json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 1});
            told.as_object_mut().unwrap().extend(states.as_object().unwrap().clone());
            told
        };
        let pod = json!({
            "metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "proxy"}, {"name": "worker"}]},
            "status": {"containerStatuses": [told("proxy", proxy), told("worker", worker)]}
        });
        MemoryKill::read(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_kill_is_read_where_the_container_runs_again_and_where_it_waits() {
        let at = AT.parse::<Timestamp>().unwrap();
        for states in [
            json!({"state": {"running": {}}, "lastState": ended("OOMKilled", AT)}),
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended("OOMKilled", AT)}),
            json!({"state": ended("OOMKilled", AT), "lastState": ended("OOMKilled", "2026-11-29T11:00:00Z")}),
            json!({"state": ended("OOMKilled", AT)}),
        ] {
            assert_eq!(read(&states, &json!({})), Some(MemoryKill { container: "worker".into(), at }), "{states}");
        }
    }

    #[test]
    fn another_end_or_another_container_is_none_of_it() {
        let running = json!({"state": {"running": {}}});
        assert_eq!(read(&running, &json!({"lastState": ended("OOMKilled", AT)})), None);
        assert_eq!(read(&json!({"lastState": ended("Error", AT)}), &running), None);
        let later = json!({"lastState": {"terminated": {"exitCode": 143, "reason": "OOMKilled", "finishedAt": AT}}});
        assert_eq!(read(&later, &running), None, "a worker was killed once, and the primary ended by SIGTERM");
        assert_eq!(read(&json!({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}), &running), None);
    }

    #[test]
    fn it_is_told_for_ten_minutes_with_what_to_do() {
        let kill = MemoryKill { container: "worker".into(), at: AT.parse().unwrap() };
        let at = |second| kill.told_for(kill.at + Duration::from_secs(second));
        assert_eq!((at(0), at(599), at(600)), (Some(TOLD_FOR), Some(Duration::from_secs(1)), None));
        assert_eq!(kill.told_for(kill.at - Duration::from_secs(5)), Some(TOLD_FOR), "a clock that runs behind");
        let message = kill.message();
        for words in ["worker", AT, "limits.memory", "workers.recycle.memory"] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }

    #[test]
    fn each_kill_counts_once() {
        let killed = |name: &str, second| {
            let at = Timestamp::from_second(second).unwrap();
            PodView { memory_kill: Some(MemoryKill { container: "worker".into(), at }), ..pod(name) }
        };
        let mut counted = None;
        assert_eq!(uncounted(&mut counted, &[&killed("a", 1), &pod("b")]), 0, "an operator before has counted it");
        let pods = [killed("a", 1), killed("b", 2)];
        assert_eq!(uncounted(&mut counted, &[&pods[0], &pods[1]]), 1);
        assert_eq!(uncounted(&mut counted, &[&pods[0], &pods[1]]), 0);
        assert_eq!(uncounted(&mut counted, &[&killed("a", 9)]), 1);
    }
}
