//! Questions to one Redis database: all at once over one connection, each answered for itself.

mod budget;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod reply;

use std::{future::Future, pin::Pin};

use budget::{Budget, Budgeted};
use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    error::QueueError,
    reading::QueueLength,
    target::{Endpoint, Query},
};

/// Most bytes of answers to all questions of a tick. A stream with ten thousand groups stays below it.
const MOST_BYTES: usize = 4 << 20;

type Lengths = Vec<Result<QueueLength, QueueError>>;

/// A connection that has answered and can be asked again.
pub(super) struct Connection {
    commands: MultiplexedConnection,
    /// What moves the bytes; it runs only while a question is under way, and ends with this value.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    budget: Budget,
}

/// Asks a server. A kept connection that turns out to be closed is replaced by a new one, once. Without a deadline of its own:
/// the caller has one for all of it.
pub(super) async fn ask(
    endpoint: &Endpoint,
    kept: Option<Connection>,
    queries: &[Query],
) -> Result<(Lengths, Connection), QueueError> {
    if let Some(mut connection) = kept
        && let Ok(values) = connection.ask(queries).await
    {
        return Ok((reply::lengths(endpoint, queries, values), connection));
    }
    let mut connection = Connection::open(endpoint).await?;
    let values = connection.ask(queries).await.map_err(|error| failure(endpoint, &error))?;
    Ok((reply::lengths(endpoint, queries, values), connection))
}

// === impl Connection ===

impl Connection {
    async fn open(endpoint: &Endpoint) -> Result<Self, QueueError> {
        let unreachable = |cause: String| QueueError::Unreachable { address: endpoint.address.to_string(), cause };
        let stream = TcpStream::connect(&*endpoint.address).await.map_err(|error| unreachable(error.to_string()))?;
        Self::over(stream, endpoint).await
    }

    /// Over a stream that is open.
    async fn over<S>(stream: S, endpoint: &Endpoint) -> Result<Self, QueueError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let budget = Budget::new(MOST_BYTES);
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(endpoint.database))
            .set_protocol(ProtocolVersion::RESP2)
            .set_lib_name("workercluster-operator", env!("CARGO_PKG_VERSION"));
        if let Some(password) = &endpoint.password {
            info = info.set_password(password);
        }
        // The caller's deadline is the only one.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let stream = Budgeted::new(stream, budget.clone());
        let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (commands, driver) = opened.map_err(|error| failure(endpoint, &error))?;
        Ok(Self { commands, driver: Some(Box::pin(driver)), budget })
    }

    async fn ask(&mut self, queries: &[Query]) -> RedisResult<Vec<RedisResult<Value>>> {
        self.budget.refill(MOST_BYTES);
        let mut pipeline = Pipeline::with_capacity(2 * queries.len());
        for query in queries {
            match query {
                Query::List { key } => pipeline.cmd("LLEN").arg(&**key),
                // In this order: a group that had got the last entry before the stream was looked at has got all.
                Query::Stream { key, .. } => {
                    pipeline.cmd("XINFO").arg("GROUPS").arg(&**key).cmd("XINFO").arg("STREAM").arg(&**key)
                }
            };
        }
        pipeline.ignore_errors();
        let answer = pipeline.query_async(&mut self.commands);
        tokio::pin!(answer);
        loop {
            let Some(running) = self.driver.as_mut() else { return answer.await };
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = running => self.driver = None,
            }
        }
    }
}

/// A failure of the whole connection.
fn failure(endpoint: &Endpoint, error: &RedisError) -> QueueError {
    let address = endpoint.address.to_string();
    let cause = reply::bounded(&error.to_string());
    match error.kind() {
        ErrorKind::AuthenticationFailed => QueueError::Denied { address, cause },
        ErrorKind::Io => QueueError::Unreachable { address, cause },
        ErrorKind::Server(_) | ErrorKind::Extension => reply::refused(endpoint, error),
        _ => QueueError::Malformed { address },
    }
}
