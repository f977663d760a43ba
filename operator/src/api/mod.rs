//! Calls to the API server: each with a turn under the limits, a deadline, one attempt, a metric, and, where it writes, the fence.
//!
//! kube's own retries are off: they repeat any method for minutes. What failed is tried again by the next reconcile, which looks first.

mod answer;
mod calls;
mod error;
mod fenced;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod limit;
mod traffic;
mod upstream;
mod watched;

use std::{
    future::Future,
    time::{Duration, Instant},
};

pub use calls::{Child, Deleted};
pub use error::ApiError;
use kube::Client;
pub use limit::{Limit, Limits};
use tokio::time::timeout;
pub use traffic::Traffic;
pub use upstream::Upstream;

use crate::{leader::Pass, metrics::Metrics};

/// The API server as this operator uses it in one term of leadership.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    pass: Pass,
    limits: Limits,
    metrics: Metrics,
}

/// A call that takes longer is given up; the reconcile begins again.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A connection that the API server is silent on for so long is dead. Longer than a watch lasts, which ends it in good order.
pub const READ_TIMEOUT: Duration = Duration::from_secs(55);

// === impl ApiServer ===

impl ApiServer {
    /// For the term of `pass`.
    ///
    /// # Errors
    /// Where the certificates or credentials cannot be used.
    pub fn new(upstream: &Upstream, pass: Pass, limits: Limits, metrics: Metrics) -> anyhow::Result<Self> {
        Ok(Self { client: upstream.client(pass.clone())?, pass, limits, metrics })
    }

    /// The client, for watches and events. What it writes passes the fence too.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A call that writes nothing.
    async fn call<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        deadline: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.metrics.traffic.throttled("reads", self.limits.reads.turn().await);
        self.timed(verb, resource, deadline, false, call).await
    }

    async fn timed<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        deadline: Duration,
        writes: bool,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let started = Instant::now();
        let result = match timeout(deadline, call).await {
            Err(_) => Err(ApiError::Deadline { verb, resource, deadline, writes }),
            Ok(result) => result.map_err(|error| ApiError::of(verb, resource, writes, error)),
        };
        let outcome = match &result {
            Ok(_) => "ok".to_owned(),
            Err(ApiError::Answered { status, .. }) => status.code.to_string(),
            Err(error) => error.category().to_owned(),
        };
        self.metrics.api_call(verb, resource, &outcome, started.elapsed());
        result
    }

    async fn read<T>(
        &self,
        resource: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.call("get", resource, CALL_DEADLINE, call).await
    }

    async fn write<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.pass.permit()?;
        self.metrics.traffic.throttled("writes", self.limits.writes.turn().await);
        let left = self.pass.permit()?;
        self.timed(verb, resource, left.min(CALL_DEADLINE), true, call).await
    }
}
