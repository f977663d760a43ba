//! `logs -f NAME`: lines as they are written, also of pods that come later and of containers that begin anew.

use std::{collections::HashMap, pin::pin, time::Duration};

use futures::{StreamExt, TryStreamExt, stream, stream::LocalBoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    ResourceExt,
    api::LogParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::{
    logs::{Lines, next, open, params},
    print,
    status::refused,
};
use crate::{args::Logs, cluster::Cluster, error::Error, logs::Line, session::Session, style::Style};

/// A log that ended while its container runs, as when the API server is restarted, is asked for again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of a pod.
struct Followed {
    index: usize,
    pod: Pod,
    /// Restarts of the container whose log is being read, or was last.
    life: i32,
    reading: bool,
    /// The last line that was printed.
    last: Option<Timestamp>,
    /// What is read again begins after this line. Only then is it compared: the kubelet may write lines of standard output and standard
    /// error a little out of order.
    after: Option<Timestamp>,
}

/// What comes from a log.
enum Step {
    Line(Line),
    /// It is over, and why if that was no end in good order.
    End(Option<Error>),
}

/// The pods that are followed, and their logs.
struct Follower<'a> {
    session: &'a Session,
    cluster: &'a Cluster,
    arguments: &'a Logs,
    style: Style,
    pods: HashMap<String, Followed>,
    logs: stream::SelectAll<LocalBoxStream<'a, (String, Step)>>,
    /// Pods that have come until now.
    count: usize,
    /// Pods that come now were there before we looked.
    first: bool,
    /// That there are too many has been told.
    told: bool,
}

/// Prints until the WorkerCluster is gone, or nobody listens.
///
/// # Errors
/// Where the pods cannot be watched.
pub async fn run(session: &Session, cluster: &Cluster, arguments: &Logs, style: Style) -> Result<(), Error> {
    let only = watcher::Config::default().labels(&format!("{}={}", crds::names::LABEL_NAME, cluster.name));
    let mut news = pin!(watcher(session.pods_api(), only).default_backoff());
    let mut follower = Follower {
        session,
        cluster,
        arguments,
        style,
        pods: HashMap::new(),
        logs: stream::SelectAll::new(),
        count: 0,
        first: true,
        told: false,
    };
    loop {
        tokio::select! {
            event = news.try_next() => match event {
                Ok(Some(event)) => if follower.hear(event)? { gone(session, cluster).await? },
                Ok(None) => return Ok(()),
                Err(error) => if let Some(told) = refused(session, "pods", &error) { return Err(told) },
            },
            Some((uid, step)) = follower.logs.next(), if !follower.logs.is_empty() => follower.step(&uid, step)?,
        }
    }
}

/// No pod is left: whether any will come.
async fn gone(session: &Session, cluster: &Cluster) -> Result<(), Error> {
    match session.cluster(&cluster.name).await {
        Err(Error::NoSuchCluster { .. }) => Err(Error::NotDone(format!("{} was deleted", cluster.name))),
        _ => Ok(()),
    }
}

// === impl Follower ===

impl Follower<'_> {
    /// Takes in what the watch shows; says whether the last pod has gone.
    fn hear(&mut self, event: Event<Pod>) -> Result<bool, Error> {
        match event {
            Event::Init => {}
            Event::InitApply(pod) | Event::Apply(pod) => self.see(pod)?,
            Event::InitDone => {
                if let Some(pod) = self.arguments.pod.as_ref().filter(|_| self.first && self.pods.is_empty()) {
                    return Err(Error::Refused(format!(
                        "{0} has no pod \"{pod}\"; those that there are: kubectl wc status {0}",
                        self.cluster.name
                    )));
                }
                self.first = false;
            }
            Event::Delete(pod) => {
                self.pods.remove(&pod.uid().unwrap_or_default());
                return Ok(self.pods.is_empty());
            }
        }
        Ok(false)
    }

    fn see(&mut self, pod: Pod) -> Result<(), Error> {
        let (uid, name) = (pod.uid().unwrap_or_default(), pod.name_any());
        let ours =
            pod.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == self.cluster.uid);
        if !ours || self.arguments.pod.as_ref().is_some_and(|wanted| *wanted != name) {
            return Ok(());
        }
        if let Some(known) = self.pods.get_mut(&uid) {
            known.pod = pod;
        } else if self.pods.len() >= self.arguments.max_log_requests {
            if !std::mem::replace(&mut self.told, true) {
                super::aside(format_args!(
                    "{name}, and more, are not followed: {} are; raise --max-log-requests",
                    self.pods.len()
                ));
            }
            return Ok(());
        } else {
            let followed = Followed { index: self.count, pod, life: -1, reading: false, last: None, after: None };
            self.count += 1;
            self.pods.insert(uid.clone(), followed);
        }
        self.read(&uid, Duration::ZERO)
    }

    /// Begins to read the log of a pod whose container has a life that was not read yet.
    fn read(&mut self, uid: &str, after: Duration) -> Result<(), Error> {
        let Some(followed) = self.pods.get_mut(uid) else { return Ok(()) };
        let mut params = params(&followed.pod, self.arguments)?;
        let Some(life) = life(&followed.pod, &params).filter(|life| !followed.reading && *life > followed.life) else {
            return Ok(());
        };
        if !self.first || followed.life >= 0 {
            // All of what came after we began to look.
            (params.tail_lines, params.since_seconds) = (None, None);
        }
        (params.since_time, followed.after) = (followed.last, followed.last);
        (followed.life, followed.reading) = (life, true);
        let (session, pod, uid) = (self.session, followed.pod.clone(), uid.to_owned());
        let lines = stream::unfold(Reading::Closed(after), move |reading| {
            let (pod, params) = (pod.clone(), params.clone());
            async move { step(session, &pod, &params, reading).await }
        });
        self.logs.push(lines.map(move |step| (uid.clone(), step)).boxed_local());
        Ok(())
    }

    fn step(&mut self, uid: &str, step: Step) -> Result<(), Error> {
        // A pod that is gone may still have lines on their way.
        let Some(followed) = self.pods.get_mut(uid) else { return Ok(()) };
        match step {
            Step::Line(line) => {
                // The time from which it is read again has whole seconds only.
                if line.at.is_some() && line.at <= followed.after {
                    return Ok(());
                }
                followed.last = line.at.max(followed.last);
                let (name, index) = (followed.pod.name_any(), followed.index);
                // As of several: others may come.
                let all = self.count.max(2);
                let prefix = self.arguments.prefix.of(&self.cluster.name, &name, index, all, self.style);
                print(&line.print(&prefix, self.arguments.timestamps))
            }
            Step::End(Some(Error::Missing)) => {
                self.pods.remove(uid);
                Ok(())
            }
            Step::End(Some(error @ (Error::Forbidden { .. } | Error::Unauthorized))) => Err(error),
            Step::End(_) => {
                followed.reading = false;
                if is_running(&followed.pod, &params(&followed.pod, self.arguments)?) {
                    // As far as we know it goes on: the same life once more, from where it was.
                    followed.life -= 1;
                }
                self.read(uid, AGAIN)
            }
        }
    }
}

/// How far the reading of a log is.
enum Reading {
    Closed(Duration),
    Open(Lines),
    Over,
}

async fn step(session: &Session, pod: &Pod, params: &LogParams, reading: Reading) -> Option<(Step, Reading)> {
    let mut lines = match reading {
        Reading::Over => return None,
        Reading::Open(lines) => lines,
        Reading::Closed(after) => {
            tokio::time::sleep(after).await;
            match open(session, pod, params).await {
                Ok(lines) => lines,
                Err(error) => return Some((Step::End(Some(error)), Reading::Over)),
            }
        }
    };
    Some(match next(&mut lines).await {
        Ok(Some(line)) => (Step::Line(line), Reading::Open(lines)),
        Ok(None) => (Step::End(None), Reading::Over),
        Err(error) => (Step::End(Some(error)), Reading::Over),
    })
}

fn container<'a>(pod: &'a Pod, params: &LogParams) -> Option<&'a ContainerStatus> {
    let mut all = pod.status.as_ref()?.container_statuses.iter().flatten();
    all.find(|status| Some(&status.name) == params.container.as_ref())
}

/// Which life of its container a pod has a log of; none before it has begun.
fn life(pod: &Pod, params: &LogParams) -> Option<i32> {
    let status = container(pod, params)?;
    let state = status.state.as_ref()?;
    (state.running.is_some() || state.terminated.is_some()).then_some(status.restart_count)
}

fn is_running(pod: &Pod, params: &LogParams) -> bool {
    let state = container(pod, params).and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}
