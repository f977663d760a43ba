//! Holds the Lease: asks `lease::step` what to do, does it, and opens or closes the fence.

use std::time::{Duration, Instant};

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
    Fence,
    lease::{DURATION, Next, RENEW_DEADLINE, RETRY, Seen, State, step},
};

/// Keeps trying to hold the Lease until the shutdown trigger fires; then gives it back.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
    leading: watch::Sender<bool>,
}

// A call may take no longer than the pause between two, so that a slow one cannot eat the renew deadline alone.
const CALL_DEADLINE: Duration = Duration::from_secs(3);

// === impl Elector ===

impl Elector {
    /// An elector for the Lease `name` in `namespace`, known to others as `identity`. `leading` follows the outcome.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: String,
        fence: Fence,
        leading: watch::Sender<bool>,
    ) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), identity, fence, leading }
    }

    /// Runs until `shutdown` is true, then releases the Lease.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut state = State::default();
        let mut held_until: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            match timeout(CALL_DEADLINE, self.attempt(&mut state)).await {
                Ok(Ok(true)) => {
                    // Counted from before the call: the record's own time cannot be earlier.
                    held_until = Some(asked + RENEW_DEADLINE);
                    self.fence.open_until(asked + RENEW_DEADLINE);
                    self.announce(true);
                }
                Ok(Ok(false)) => {
                    held_until = None;
                    self.fence.close();
                    self.announce(false);
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.name, "the lease could not be read or written; trying again");
                }
                Err(_) => tracing::warn!(
                    lease = self.name,
                    "the API server did not answer about the lease in time; trying again"
                ),
            }
            if held_until.is_some_and(|until| Instant::now() >= until) {
                held_until = None;
                self.fence.close();
                self.announce(false);
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        self.fence.close();
        if held_until.is_some() {
            self.release().await;
        }
    }

    fn announce(&self, leading: bool) {
        self.leading.send_if_modified(|was| {
            let changed = *was != leading;
            if changed {
                tracing::info!(lease = self.name, identity = self.identity, leading, "leadership changed");
            }
            *was = leading;
            changed
        });
    }

    /// Looks and, where due, writes; says whether we hold the Lease now. A conflict may come from a write of our own whose answer came
    /// too late: one more look tells.
    async fn attempt(&self, state: &mut State) -> Result<bool, kube::Error> {
        match self.look_and_write(state).await {
            Err(kube::Error::Api(status)) if status.code == 409 => match self.look_and_write(state).await {
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(false), // another was quicker
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    async fn look_and_write(&self, state: &mut State) -> Result<bool, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let seen = found.as_ref().map_or(Seen::Absent, |lease| Seen::Record {
            holder: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()),
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
        });
        let (next_state, next) = step(std::mem::take(state), &seen, &self.identity, Instant::now());
        *state = next_state;
        let written = match next {
            Next::Wait => return Ok(false),
            Next::Create => self.api.create(&PostParams::default(), &self.record(None, true)).await,
            Next::Claim { takeover, .. } => {
                self.api.replace(&self.name, &PostParams::default(), &self.record(found.as_ref(), takeover)).await
            }
        };
        written.map(|_| true)
    }

    async fn release(&self) {
        let give_back = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = Some(String::new());
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match timeout(CALL_DEADLINE, give_back).await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "lease released"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be released; it runs out by itself"),
            Err(_) => tracing::warn!("the lease could not be released in time; it runs out by itself"),
        }
    }

    fn record(&self, old: Option<&Lease>, takeover: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = old.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or(0).saturating_add(i32::from(takeover && old.is_some()));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: old.and_then(|lease| lease.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if takeover { Some(now.clone()) } else { before.acquire_time.or(Some(now.clone())) },
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}
