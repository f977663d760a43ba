//! The lines of a watch of pods, and what is decided on the pods that they leave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crds::PodReplacementPolicy;
use futures::StreamExt;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};

use super::{Left, owner_key, stray};
use crate::{
    api::fuzzing::client,
    decide::{
        load::Load,
        nodes::Breaker,
        replicas::{Decision, Input, RemovalReason, Strategy, decide},
        retire::Standing,
    },
    fuzzing::{Knobs, run},
    view::{Cache, Key, PodView},
};

/// How many are wanted, then the lines.
pub fn pods(data: &[u8]) {
    let mut knobs = Knobs::new(data);
    let (wanted, knob) = (usize::from(knobs.byte() % 8), knobs.byte());
    let (cache, mut keys) = (Cache::default(), BTreeSet::new());
    run(async {
        let api = Api::<Pod>::all(client(200, None, true, knobs.rest()));
        let Ok(events) = api.watch(&WatchParams::default(), "0").await else { return };
        let mut events = events.take(64).boxed();
        while let Some(Ok(event)) = events.next().await {
            keys.extend(event_taken(&cache, event));
        }
    });
    for key in &keys {
        let pods = cache.pods.of(key);
        let uids: BTreeSet<&str> = pods.iter().map(|pod| &*pod.uid).collect();
        assert_eq!(uids.len(), pods.len(), "a pod is there twice");
        assert!(pods.iter().all(|pod| *pod.cluster == *key.name));
        let owned: Vec<&PodView> = pods.iter().map(Arc::as_ref).filter(|pod| pod.controller.is_some()).collect();
        check(&decided(&owned, wanted, knob), &owned, wanted);
    }
}

fn event_taken(cache: &Cache, event: WatchEvent<Pod>) -> Vec<Key> {
    match event {
        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
            let _ = stray(&pod, Left::No);
            let Some((key, view)) = owner_key(&pod).zip(PodView::read(&pod)) else { return Vec::new() };
            cache.pods.put(&key, view).into_iter().chain([key]).collect()
        }
        WatchEvent::Deleted(pod) => {
            let _ = stray(&pod, Left::Yes);
            let Some(view) = PodView::read(&pod) else { return Vec::new() };
            cache.pods.remove(&view.uid, view.version).into_iter().collect()
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => Vec::new(),
    }
}

fn decided(pods: &[&PodView], wanted: usize, knob: u8) -> Decision {
    let bit = |bit: u8| knob >> bit & 1 == 1;
    let replacement =
        if bit(0) { PodReplacementPolicy::TerminationComplete } else { PodReplacementPolicy::TerminationStarted };
    let strategy = Strategy {
        surge: usize::from(knob & 6),
        unavailable: usize::from(knob & 6 == 0),
        min_ready: Duration::from_secs(u64::from(knob)),
        replacement,
        failed_history: usize::from(knob >> 6),
        retirement: Duration::from_secs(30),
    };
    decide(&Input {
        cluster: "web",
        cluster_uid: "uid",
        wanted,
        revision: "r1",
        strategy,
        paused: bit(3),
        pods,
        holder: &|_| None,
        load: &|uid| match uid.len() % 3 {
            0 if bit(4) => Load::Idle,
            held if bit(4) => Load::Requests(u64::try_from(held).unwrap_or(1)),
            _ => Load::Unknown,
        },
        asked: &|uid| bit(6) && uid.len() % 3 == 0,
        standing: &|pod| match pod.uid.len() % 3 {
            0 if bit(5) => Standing::Serving,
            1 if bit(5) => Standing::Retiring { since: Duration::from_secs(10), left: true, idle: bit(2) },
            _ => Standing::Out,
        },
        hold: None,
        nodes: &Breaker::default(),
        since_create: None,
        now: Timestamp::from_second(1_800_000_000).unwrap_or_default(),
    })
}

fn check(decision: &Decision, pods: &[&PodView], wanted: usize) {
    let gone: BTreeSet<&str> = decision.delete.iter().map(|removal| &*removal.uid).collect();
    assert_eq!(gone.len(), decision.delete.len(), "one is deleted twice");
    assert!(gone.iter().all(|uid| pods.iter().any(|pod| *pod.uid == **uid)), "another's pod is deleted");
    let active = pods.iter().filter(|pod| pod.is_active()).count();
    let scaled_down = decision.delete.iter().filter(|removal| removal.why == RemovalReason::ScaledDown).count();
    let retire = decision.retire.iter().filter(|uid| !gone.contains(&***uid)).count();
    let scaled_down = scaled_down + retire;
    assert!(active >= wanted + scaled_down || scaled_down == 0, "{active} of {wanted}: {decision:?}");
    assert!(decision.create.len() <= wanted);
    let names: BTreeSet<&str> = decision.create.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names.len(), decision.create.len(), "one is created twice");
    assert!(pods.iter().filter(|pod| pod.is_active()).all(|pod| !names.contains(pod.name.as_str())));
}
