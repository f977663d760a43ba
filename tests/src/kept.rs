//! Load over connections that are kept, so many requests a second, and an account of every one of them. Nothing is ever sent twice.

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
    time::{Instant as At, sleep_until, timeout},
};

use crate::load::HUNG;

/// Clients of one connection each, that ask again and again until they are told to stop.
pub struct Kept {
    stop: Arc<AtomicBool>,
    account: Arc<Mutex<Account>>,
    clients: Vec<JoinHandle<()>>,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// When each was answered with 200, after how long, and by whom: the answer's body.
    pub answers: Vec<(Instant, Duration, String)>,
    /// What failed, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Connections that the other side ended with an answer that said so.
    pub ended: u64,
}

impl Account {
    /// Requests without an answer of 200.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How many requests each of them answered after this moment.
    #[must_use]
    pub fn shares(&self, since: Instant) -> BTreeMap<&str, usize> {
        let mut shares = BTreeMap::new();
        for (_, _, who) in self.answers.iter().filter(|(when, ..)| *when >= since) {
            *shares.entry(who.as_str()).or_default() += 1;
        }
        shares
    }

    /// The time within which this share of all requests was answered.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut all: Vec<Duration> = self.answers.iter().map(|(_, took, _)| *took).collect();
        all.sort_unstable();
        all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl Kept {
    /// So many connections, with a request `every` so often on each.
    #[must_use]
    pub fn start(address: SocketAddr, path: &str, connections: u32, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let account = Arc::new(Mutex::new(Account::default()));
        let begun = At::now();
        let clients = (0..connections)
            .map(|index| {
                let (stop, account) = (stop.clone(), account.clone());
                let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
                tokio::spawn(async move {
                    let mut stream = None;
                    let mut due = begun + every * index / connections;
                    while !stop.load(Ordering::Relaxed) {
                        sleep_until(due).await;
                        due += every;
                        let asked = Instant::now();
                        let answered = timeout(HUNG, ask(address, &mut stream, &request)).await;
                        let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
                        match answered {
                            Ok(Ok(who)) => {
                                account.answers.push((Instant::now(), asked.elapsed(), who));
                                account.ended += u64::from(stream.is_none());
                                continue;
                            }
                            Ok(Err(error)) => *account.failed.entry(format!("{error:#}")).or_default() += 1,
                            Err(_) => *account.failed.entry("hung".to_owned()).or_default() += 1,
                        }
                        stream = None;
                    }
                })
            })
            .collect();
        Self { stop, account, clients }
    }

    /// What came of the requests until now.
    #[must_use]
    pub fn so_far(&self) -> Account {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every client finish its request, and accounts.
    ///
    /// # Errors
    /// Where a client ended badly.
    pub async fn stop(self) -> Result<Account> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        Ok(self.account.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// One request on the connection that there is, or on a new one; nothing is left in its place where the answer ends it.
async fn ask(address: SocketAddr, kept: &mut Option<TcpStream>, request: &str) -> Result<String> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(address).await.context("connect")?,
    };
    stream.write_all(request.as_bytes()).await.context("send")?;
    let mut answer = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut answer).await.context("receive")? == 0 {
            bail!("the connection ended after {} bytes of an answer", answer.len());
        }
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(answer.get(..at).unwrap_or_default()).to_ascii_lowercase();
            break (head, at + 4);
        }
    };
    let field =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
    let length: usize = field("content-length").context("an answer without a length")?.parse()?;
    while answer.len() < body + length {
        if stream.read_buf(&mut answer).await.context("receive")? == 0 {
            bail!("the connection ended in the middle of an answer");
        }
    }
    if !head.starts_with("http/1.1 200") {
        bail!("answered {}", head.lines().next().unwrap_or_default());
    }
    if field("connection").is_none_or(|connection| connection != "close") {
        *kept = Some(stream);
    }
    Ok(String::from_utf8_lossy(answer.get(body..body + length).unwrap_or_default()).into_owned())
}
