//! What the pods of a WorkerCluster write, from the first to the last, also those that come and go meanwhile.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    task::JoinHandle,
};

use crate::Space;

/// How often it is looked whether there are other pods.
const LOOK: Duration = Duration::from_millis(500);

/// Follows until it is dropped.
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    looking: JoinHandle<()>,
}

impl Logs {
    /// Follows all pods of a WorkerCluster.
    #[must_use]
    pub fn follow(space: Arc<Space>, name: &str) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (all, name) = (lines.clone(), name.to_owned());
        let looking = tokio::spawn(async move {
            let mut followed = BTreeSet::new();
            loop {
                // A look that fails is made again.
                for pod in space.pods(&name).await.unwrap_or_default().iter().filter(|pod| runs(pod)) {
                    // By its UID: one that takes a free slot may have the name of one that was there before.
                    if followed.insert(pod.uid()) {
                        tokio::spawn(follow(space.namespace.clone(), pod.name_any(), all.clone()));
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { lines, looking }
    }

    /// The lines until now that have these words.
    #[must_use]
    pub fn with(&self, words: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(words)).cloned().collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Whether its container has begun: before that there is nothing to follow.
fn runs(pod: &Pod) -> bool {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.any(|one| one.name == "worker" && one.state.as_ref().is_some_and(|state| state.running.is_some()))
}

async fn follow(namespace: String, pod: String, lines: Arc<Mutex<Vec<String>>>) {
    let words = ["-n", &namespace, "logs", "-f", &pod, "-c", "worker"];
    let child =
        Command::new("kubectl").args(words).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let Ok(mut child) = child else { return };
    let Some(out) = child.stdout.take() else { return };
    let mut out = BufReader::new(out).lines();
    while let Ok(Some(line)) = out.next_line().await {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{pod}: {line}"));
    }
}
