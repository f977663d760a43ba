//! Asks one worker whether it is ready, as a probe does.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::desk::Desk;
use super::stream::Stream;
use super::table::WorkerId;

/// A worker that takes longer is not ready yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// `HTTP/1.1 200`
const STATUS_LINE: usize = 12;

/// Notes at the desk that a worker gave a good answer.
pub async fn check(desk: &Desk, worker: WorkerId, path: &str) {
    let answered = timeout(PATIENCE, ask(desk, worker, path)).await.ok().and_then(Result::ok).flatten();
    desk.checked(worker, answered.as_ref().is_some_and(|(good, _)| *good));
    // Read to its end, so that the worker is not told that somebody broke it off.
    if let Some((_, mut stream)) = answered {
        let _ = timeout(PATIENCE, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    }
}

async fn ask(desk: &Desk, worker: WorkerId, path: &str) -> io::Result<Option<(bool, Stream)>> {
    let Some(address) = desk.address(worker) else { return Ok(None) };
    let mut stream = Stream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: workercluster\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await?;
    let good = line.starts_with(b"HTTP/1.") && line[8] == b' ' && matches!(line[9], b'2' | b'3');
    Ok(Some((good, stream)))
}
