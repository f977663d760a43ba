//! Calls to the API server: each with a deadline, one attempt, a metric, and, where it writes, the fence.
//!
//! kube's own retries are off: they repeat any method for minutes. What failed is tried again by the next reconcile, which looks first.

mod calls;
mod error;

use std::{
    future::Future,
    time::{Duration, Instant},
};

pub use calls::{Child, Deleted};
pub use error::ApiError;
use kube::{Client, Config};
use tokio::time::timeout;

use crate::{leader::Fence, metrics::Metrics};

/// The API server as this operator uses it.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    fence: Fence,
    metrics: Metrics,
}

/// A call that takes longer is given up; the reconcile begins again.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A watch that the API server is silent on for so long is dead. Longer than the watch's own length, which ends it in good order.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

// === impl ApiServer ===

impl ApiServer {
    /// Connects by the pod's service account, or by a kubeconfig.
    ///
    /// # Errors
    /// Where neither is to be had.
    pub async fn connect(fence: Fence, metrics: Metrics) -> anyhow::Result<Self> {
        let mut config = Config::infer().await?;
        config.default_retry = false;
        config.read_timeout = Some(READ_TIMEOUT);
        config.connect_timeout = Some(CALL_DEADLINE);
        Ok(Self { client: Client::try_from(config)?, fence, metrics })
    }

    /// The client, for watches, events and the Lease.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        deadline: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let started = Instant::now();
        let result = match timeout(deadline, call).await {
            Err(_) => Err(ApiError::Deadline { verb, resource, deadline }),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(ApiError::Answered { verb, resource, status }),
            Ok(Err(error)) => Err(ApiError::Transport { verb, resource, message: error.to_string() }),
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
        let left = self.fence.permit(Instant::now())?;
        self.call(verb, resource, left.min(CALL_DEADLINE), call).await
    }
}
