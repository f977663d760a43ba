//! Holds the Lease: asks `lease::step` what to do, does it, and opens or closes the fence.

use std::{pin::pin, time::Instant};

use futures::StreamExt;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::timeout};

use super::{
    Fence, Timing,
    fence::Moment,
    lease::{Next, Seen, State, step},
    news,
};
use crate::{api::Traffic, chance::chance, text::causes};

/// What an elector is told.
pub struct Settings {
    /// Where the Lease is.
    pub namespace: String,
    pub name: String,
    /// Under which name this operator holds it: two that shared one would both lead.
    pub identity: String,
    pub timing: Timing,
}

/// Keeps trying to hold the Lease until the shutdown trigger fires; then gives it back.
pub struct Elector {
    api: Api<Lease>,
    settings: Settings,
    fence: Fence,
    standing: watch::Sender<Standing>,
    traffic: Traffic,
    state: State,
    held: Option<Held>,
    /// Counts the terms of this process.
    terms: u64,
}

/// How this operator stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The number of the term, while it leads.
    pub term: Option<u64>,
    /// The API server has answered about the Lease.
    pub known: bool,
}

/// The Lease as our own last write left it.
struct Held {
    lease: Lease,
    /// Counted from before the call: nobody can have seen the record earlier.
    until: Moment,
}

/// What an attempt came to.
enum Outcome {
    Held(Box<Lease>),
    /// Another holds it; when the record runs out.
    Waiting(Option<Instant>),
}

// === impl Elector ===

impl Elector {
    /// An elector whose `client` is its own, so that a renewal waits behind nothing. `standing` follows the outcome.
    pub fn new(
        client: Client,
        settings: Settings,
        fence: Fence,
        standing: watch::Sender<Standing>,
        traffic: Traffic,
    ) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings, fence, standing, traffic, state: State::default(), held: None, terms: 0 }
    }

    /// Runs until `shutdown` is true, then releases the Lease.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let timing = self.settings.timing;
        let mut news = pin!(news::of(self.api.clone(), self.settings.name.clone()));
        loop {
            let (asked, from) = (Moment::now(), tokio::time::Instant::now());
            // What holds the Lease knows at the moment at which it does not any more, also while a call hangs.
            let left = self.held.as_ref().map(|held| held.until.left(asked)).filter(|left| !left.is_zero());
            let deadline = left.unwrap_or(timing.call_deadline()).min(timing.call_deadline());
            let outcome = tokio::select! {
                outcome = timeout(deadline, self.attempt()) => outcome,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let mut runs_out = None;
            match outcome {
                Ok(Ok(Outcome::Held(lease))) => self.hold(*lease, asked),
                Ok(Ok(Outcome::Waiting(until))) => {
                    runs_out = until;
                    self.lose("waiting");
                }
                Ok(Err(error)) => {
                    self.traffic.lease_attempt("error");
                    let name = &self.settings.name;
                    tracing::warn!(
                        error = causes(&error),
                        lease = name,
                        "the lease could not be read or written; trying again"
                    );
                }
                Err(_) => {
                    self.traffic.lease_attempt("timeout");
                    let name = &self.settings.name;
                    tracing::warn!(lease = name, "the API server did not answer about the lease in time; trying again");
                }
            }
            let next = if self.held.is_some() {
                from + timing.retry
            } else {
                timing.follow(from.into_std(), runs_out, chance()).into()
            };
            let next = next.max(tokio::time::Instant::now());
            loop {
                let expired = self.held.as_ref().map(|held| held.until.left(Moment::now()));
                let expiry = tokio::time::sleep(expired.unwrap_or_default());
                tokio::select! {
                    biased;
                    () = expiry, if expired.is_some() => {
                        self.lose("expired");
                        break;
                    }
                    _ = shutdown.wait_for(|stop| *stop) => break,
                    () = tokio::time::sleep_until(next) => break,
                    Some(seen) = news.next() => if self.hear(&seen) { break },
                }
            }
            if *shutdown.borrow() {
                break;
            }
        }
        self.fence.close();
        self.release().await;
    }

    /// Takes in what the watch showed; says whether it is a reason to look at once.
    fn hear(&mut self, seen: &Seen) -> bool {
        self.state.observe(seen, Instant::now());
        match seen {
            Seen::Absent => true,
            Seen::Record { holder, .. } => {
                let mine = holder.as_deref() == Some(&self.settings.identity);
                let free = holder.as_deref().is_none_or(str::is_empty);
                free || mine != self.held.is_some()
            }
        }
    }

    fn hold(&mut self, lease: Lease, asked: Moment) {
        let until = asked.after(self.settings.timing.renew_deadline);
        // Only a Lease that was ours all the time is the same term: otherwise another may have led in between.
        let same = self.held.as_ref().is_some_and(|held| tenure(&held.lease) == tenure(&lease));
        if !same {
            self.terms += 1;
        }
        self.held = Some(Held { lease, until });
        self.fence.open(self.terms, until);
        self.traffic.lease_attempt("held");
        self.announce(Some(self.terms));
    }

    fn lose(&mut self, why: &str) {
        self.fence.close();
        self.held = None;
        self.traffic.lease_attempt(why);
        self.announce(None);
    }

    fn announce(&self, term: Option<u64>) {
        self.standing.send_if_modified(|was| {
            let now = Standing { term, known: true };
            let changed = *was != now;
            if was.term != term {
                let Settings { name, identity, .. } = &self.settings;
                tracing::info!(lease = name, identity, leading = term.is_some(), term, "leadership changed");
            }
            *was = now;
            changed
        });
    }

    /// Renews what we hold, or looks and, where due, writes. A conflict may come from a write of our own whose answer came too late: one
    /// more look tells.
    async fn attempt(&mut self) -> Result<Outcome, kube::Error> {
        if let Some(held) = &self.held {
            let renewed = self.record(Some(&held.lease), false);
            match self.api.replace(&self.settings.name, &PostParams::default(), &renewed).await {
                Ok(lease) => return Ok(Outcome::Held(Box::new(lease))),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
        }
        match self.look_and_write().await {
            Err(kube::Error::Api(status)) if status.code == 409 => match self.look_and_write().await {
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Waiting(None)), // another was quicker
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    async fn look_and_write(&mut self) -> Result<Outcome, kube::Error> {
        let found = self.api.get_opt(&self.settings.name).await?;
        let Settings { name, identity, timing, .. } = &self.settings;
        let written = match step(&mut self.state, &news::seen(found.as_ref()), identity, timing, Instant::now()) {
            Next::Wait { until } => return Ok(Outcome::Waiting(Some(until))),
            Next::Create => self.api.create(&PostParams::default(), &self.record(None, true)).await,
            Next::Claim { takeover, .. } => {
                self.api.replace(name, &PostParams::default(), &self.record(found.as_ref(), takeover)).await
            }
        };
        written.map(|lease| Outcome::Held(Box::new(lease)))
    }

    async fn release(&self) {
        let name = &self.settings.name;
        let give_back = async {
            if let Some(held) = &self.held {
                match self.api.replace(name, &PostParams::default(), &freed(held.lease.clone())).await {
                    // An attempt that was under way may have written: one look tells.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    outcome => return outcome.map(|_| true),
                }
            }
            let Some(lease) = self.api.get_opt(name).await? else { return Ok(false) };
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
            if holder != Some(&self.settings.identity) {
                return Ok(false);
            }
            self.api.replace(name, &PostParams::default(), &freed(lease)).await.map(|_| true)
        };
        match timeout(self.settings.timing.call_deadline(), give_back).await {
            Ok(Ok(true)) => tracing::info!(lease = name, "lease released"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = causes(&error), "the lease could not be released; it runs out by itself");
            }
            Err(_) => tracing::warn!("the lease could not be released in time; it runs out by itself"),
        }
    }

    fn record(&self, old: Option<&Lease>, takeover: bool) -> Lease {
        let Settings { name, identity, timing, .. } = &self.settings;
        let now = MicroTime(Timestamp::now());
        let before = old.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or(0).saturating_add(i32::from(takeover && old.is_some()));
        Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                resource_version: old.and_then(|lease| lease.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(identity.clone()),
                lease_duration_seconds: i32::try_from(timing.duration.as_secs()).ok(),
                acquire_time: if takeover { Some(now.clone()) } else { before.acquire_time.or(Some(now.clone())) },
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// What stays the same for as long as one holds the Lease.
fn tenure(lease: &Lease) -> (Option<String>, Option<i32>, Option<MicroTime>) {
    let spec = lease.spec.clone().unwrap_or_default();
    (lease.metadata.uid.clone(), spec.lease_transitions, spec.acquire_time)
}

/// The Lease without a holder.
fn freed(mut lease: Lease) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}
