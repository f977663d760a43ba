//! A Redis on this machine, for the workload that follows a queue.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

/// A running Redis; it ends when it is dropped.
pub struct Redis {
    child: Child,
    port: u16,
    connection: MultiplexedConnection,
}

// === impl Redis ===

impl Redis {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// Where there is no redis-server.
    pub async fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", &std::env::temp_dir().to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server is missing: install it")?;
        let client = redis::Client::open(("127.0.0.1", port))?;
        let connection = e2e::until("Redis", Duration::from_secs(10), async || {
            // Its own half second is little on a machine that compiles beside.
            let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
            let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
            Ok(connection.map_err(|error| error.to_string()))
        })
        .await;
        Ok(Self { child, port, connection: connection? })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Appends so many items to a list.
    ///
    /// # Errors
    /// What Redis says.
    pub async fn push(&self, key: &str, items: usize) -> Result<()> {
        let mut push = redis::cmd("RPUSH");
        push.arg(key);
        for item in 0..items {
            push.arg(item);
        }
        push.query_async::<()>(&mut self.connection.clone()).await?;
        Ok(())
    }

    /// Empties a list.
    ///
    /// # Errors
    /// What Redis says.
    pub async fn empty(&self, key: &str) -> Result<()> {
        redis::cmd("DEL").arg(key).query_async::<()>(&mut self.connection.clone()).await?;
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
