//! Two operators as processes of this machine, and WorkerClusters that never come to rest.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Space, manifest, until};
use serde_json::json;
use tokio::task::JoinHandle;

use super::recorder::Ledger;

/// How the Lease is held: seconds, and milliseconds for the others.
#[derive(Clone, Copy)]
pub struct Times {
    pub duration: u32,
    pub renew_deadline: u32,
    pub retry: u32,
}

/// Two operators that share a Lease.
pub struct Pair {
    ledger: Ledger,
    operators: Vec<Operator>,
    unrest: JoinHandle<()>,
}

struct Operator {
    child: Child,
    start: Box<dyn Fn() -> Result<Child> + Send + Sync>,
    port: u16,
}

/// WorkerClusters that change without end.
const BUSY: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

impl Pair {
    /// Starts both, and the unrest.
    pub async fn start(space: &Arc<Space>, times: Times) -> Result<Self> {
        let ledger = Ledger::default();
        let folder = std::env::temp_dir().join(&space.namespace);
        std::fs::create_dir_all(&folder)?;
        let mut operators = Vec::new();
        for who in 0..2 {
            let address = ledger.record(who, space.client.clone()).await?;
            let kubeconfig = folder.join(format!("kubeconfig-{who}"));
            let cluster = json!({"name": "recorder", "cluster": {"server": format!("http://{address}")}});
            let config = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "recorder", "clusters": [cluster],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "recorder", "context": {"cluster": "recorder", "user": "nobody"}}]
            });
            std::fs::write(&kubeconfig, config.to_string())?;
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let (namespace, log) = (space.namespace.clone(), folder.join(format!("operator-{who}.log")));
            let start = Box::new(move || {
                let log = File::options().create(true).append(true).open(&log)?;
                let command = Command::new(binary()?)
                    .env("KUBECONFIG", &kubeconfig)
                    .env("POD_NAME", format!("operator-{who}"))
                    .env("POD_NAMESPACE", &namespace)
                    .args(["--primary-image", "workercluster/primary:test", "--namespaces", &namespace])
                    .args(["--listen", &format!("127.0.0.1:{port}")])
                    .args(["--lease-duration-seconds", &times.duration.to_string()])
                    .args(["--lease-renew-deadline-milliseconds", &times.renew_deadline.to_string()])
                    .args(["--lease-retry-milliseconds", &times.retry.to_string()])
                    .stderr(Stdio::from(log))
                    .spawn();
                command.context("the operator does not start")
            });
            operators.push(Operator { child: start()?, start, port });
        }
        println!("logs of the operators: {}", folder.display());
        for index in 0..BUSY {
            // No node takes them: pods come and go as quickly as they are asked for.
            let mut cluster = manifest::idle(&format!("busy-{index}"), &json!({"replicas": 1}));
            cluster["spec"]["template"]["spec"]["nodeSelector"] = json!({"nowhere": "at-all"});
            space.apply(&cluster).await?;
        }
        let busy = space.clone();
        let unrest = tokio::spawn(async move {
            for turn in 0_usize.. {
                let patch = json!({"spec": {"replicas": 1 + turn % 5}});
                // Refused or not, the next comes.
                let _ = busy.patch(&format!("busy-{}", turn % BUSY), patch).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        Ok(Self { ledger, operators, unrest })
    }

    /// Waits until one leads and writes and the other is ready to follow.
    pub async fn settled(&self) -> Result<usize> {
        let leader = until("one to lead", PATIENCE, async || Ok(self.ledger.entries().holder.ok_or("nobody"))).await?;
        self.writes(leader, Instant::now(), PATIENCE).await?;
        for who in [leader, 1 - leader] {
            self.follows_or_leads(who, "").await?;
        }
        Ok(leader)
    }

    /// Waits for a write of this one after `since`.
    pub async fn writes(&self, who: usize, since: Instant, patience: Duration) -> Result<()> {
        until(&format!("a write of operator {who}"), patience, async || {
            let entries = self.ledger.entries();
            let wrote = entries.writes.iter().rev().take_while(|(_, at)| *at >= since).any(|(by, _)| *by == who);
            Ok(if wrote { Ok(()) } else { Err(format!("{:?} leads", entries.holder)) })
        })
        .await
    }

    /// Waits until this one answers, and says that it does not lead.
    pub async fn follows(&self, who: usize) -> Result<()> {
        self.follows_or_leads(who, "workercluster_leading 0").await
    }

    async fn follows_or_leads(&self, who: usize, word: &str) -> Result<()> {
        let (url, id) = (format!("http://127.0.0.1:{}", self.operators[who].port), self.operators[who].child.id());
        until(&format!("operator {who} to be ready, {word}"), PATIENCE, async || {
            let get = async |path: &str| {
                let mut curl = tokio::process::Command::new("curl");
                let output = curl.args(["-sf", "-m", "5", &format!("{url}{path}")]).output().await?;
                anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let (ready, metrics) = (get("/readyz").await?, get("/metrics").await?);
            // Whether it was killed by somebody, is stopped or hangs.
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = state.split(' ').nth(2).unwrap_or("gone").to_owned();
            Ok(if ready == "ok\n" && metrics.contains(word) {
                Ok(())
            } else {
                Err(format!("{ready:?}, process {state}"))
            })
        })
        .await
    }

    /// Sends a signal to one.
    pub fn signal(&self, who: usize, signal: &str) -> Result<()> {
        let id = self.operators[who].child.id().to_string();
        ensure!(Command::new("kill").args(["-s", signal, &id]).status()?.success(), "kill -s {signal} {id}");
        Ok(())
    }

    /// Waits for the end of one and starts it anew.
    pub async fn restart(&mut self, who: usize) -> Result<()> {
        let operator = &mut self.operators[who];
        until("the operator to end", PATIENCE, async || Ok(operator.child.try_wait()?.ok_or("it runs"))).await?;
        operator.child = (operator.start)()?;
        Ok(())
    }

    /// Writes of both.
    pub fn count(&self) -> usize {
        self.ledger.entries().writes.len()
    }

    /// Ends both, and tells how many writes were late.
    pub async fn end(mut self) -> Result<usize> {
        self.unrest.abort();
        for who in 0..2 {
            self.signal(who, "TERM")?;
            let child = &mut self.operators[who].child;
            until("the operator to end", PATIENCE, async || Ok(child.try_wait()?.ok_or("it runs"))).await?;
        }
        Ok(self.ledger.entries().late)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.unrest.abort();
        for operator in &mut self.operators {
            let _ = operator.child.kill();
            let _ = operator.child.wait();
        }
    }
}

/// The operator that was built beside these tests.
fn binary() -> Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let binary = tests.ancestors().nth(2).context("no target folder")?.join("operator");
    ensure!(binary.exists(), "{} is missing: cargo build -p operator", binary.display());
    Ok(binary)
}
