//! Load with a connection per request, and an account of every one of them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};

/// A request without an answer for so long counts as hung.
pub const HUNG: Duration = Duration::from_secs(20);

/// Clients that ask again and again until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
    clients: Vec<JoinHandle<()>>,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests with a whole answer of status 200.
    pub ok: u64,
    /// Requests without an answer for [`HUNG`].
    pub hung: u64,
    /// Requests that failed otherwise, by cause.
    pub failed: BTreeMap<String, u64>,
    /// When each request was answered, and how long it took.
    pub answers: Vec<(Instant, Duration)>,
}

// === impl Report ===

impl Report {
    /// Requests that failed or hung.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.hung + self.failed.values().sum::<u64>()
    }

    fn count(&mut self, result: Result<Result<String>, Elapsed>, started: Instant) {
        match result {
            Ok(Ok(_)) => {
                self.ok += 1;
                self.answers.push((Instant::now(), started.elapsed()));
            }
            Ok(Err(error)) => *self.failed.entry(format!("{error:#}")).or_default() += 1,
            Err(_) => self.hung += 1,
        }
    }
}

// === impl Load ===

impl Load {
    /// Starts `clients` clients, each with `pause` between two requests.
    #[must_use]
    pub fn start(address: SocketAddr, path: &str, clients: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(Report::default()));
        let clients = (0..clients)
            .map(|_| {
                let (stop, report, path) = (stop.clone(), report.clone(), path.to_owned());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let started = Instant::now();
                        let result = timeout(HUNG, get(address, &path)).await;
                        report.lock().unwrap_or_else(PoisonError::into_inner).count(result, started);
                        tokio::time::sleep(pause).await;
                    }
                })
            })
            .collect();
        Self { stop, report, clients }
    }

    /// What came of the requests until now.
    #[must_use]
    pub fn so_far(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every client finish its request, and reports.
    ///
    /// # Errors
    /// Where a client ended badly.
    pub async fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        Ok(self.report.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// One request on a connection of its own; the body of a 200.
///
/// # Errors
/// Where there is no whole answer, or another than 200.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("send")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("receive")?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the answer broke off after {} bytes", answer.len())
    };
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") && !status.ends_with(" 200") {
        bail!("answered {status}");
    }
    Ok(if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() })
}

/// The text of a chunked body.
fn unchunk(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || tail.len() < size {
            break;
        }
        text.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
    }
}
