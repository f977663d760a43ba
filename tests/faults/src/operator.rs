//! The operator as a process of its own, in front of a proxy. When it is killed it begins anew under the same name, as a container does
//! that is restarted: the Lease is its own at once.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use tokio::{
    process::{Child, Command},
    sync::{Notify, watch},
    task::JoinHandle,
};

/// What an operator is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// The namespace that it works in, and in which its Lease is.
    pub namespace: String,
    /// Where kubeconfig and log are.
    pub folder: PathBuf,
    /// Seconds for which the highest recommendation counts.
    pub downscale_seconds: u64,
}

/// Which process of the operator a call came from.
pub type Life = u64;

/// How the proxy ends the operator.
#[derive(Clone, Default)]
pub struct Trigger {
    kill: Arc<Notify>,
    /// The life that is going on.
    life: Arc<AtomicU64>,
    /// Lives up to this one are over: nothing of theirs is let through.
    over: Arc<AtomicU64>,
}

/// A running operator.
pub struct Operator {
    trigger: Trigger,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

// === impl Trigger ===

impl Trigger {
    /// The present life.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life.load(Ordering::SeqCst)
    }

    /// Ends `life`.
    pub fn kill(&self, life: Life) {
        self.close(life);
        self.kill.notify_one();
    }

    /// Lets nothing of `life` through from now on.
    pub fn close(&self, life: Life) {
        self.over.fetch_max(life, Ordering::SeqCst);
    }

    /// Whether this life is over.
    #[must_use]
    pub fn is_over(&self, life: Life) -> bool {
        life <= self.over.load(Ordering::SeqCst)
    }
}

// === impl Operator ===

impl Operator {
    /// Starts the operator with the proxy at `proxy` as its API server.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn start(settings: &Settings, proxy: SocketAddr, trigger: Trigger) -> Result<Self> {
        let config = settings.folder.join("kubeconfig");
        std::fs::write(&config, kubeconfig(proxy)).with_context(|| format!("{}", config.display()))?;
        let (stop, stopping) = watch::channel(false);
        let child = spawn(settings, &config, &trigger, true)?;
        let task = tokio::spawn(keep(settings.clone(), config, trigger.clone(), child, stopping));
        Ok(Self { trigger, stop, task })
    }

    /// How often it has begun.
    #[must_use]
    pub fn lives(&self) -> u64 {
        self.trigger.life()
    }

    /// Kills it for good.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub async fn end(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.trigger.kill.notify_one();
        (&mut self.task).await?
    }
}

impl Drop for Operator {
    /// A test that went wrong leaves none behind: the process goes with the task.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts it anew whenever the proxy has killed it; a death of its own is an error.
async fn keep(
    settings: Settings,
    config: PathBuf,
    trigger: Trigger,
    mut child: Child,
    stopping: watch::Receiver<bool>,
) -> Result<()> {
    loop {
        tokio::select! {
            ended = child.wait() => anyhow::bail!("the operator ended by itself: {}", ended?),
            () = trigger.kill.notified() => {}
        }
        if !*stopping.borrow() && !trigger.is_over(trigger.life()) {
            continue; // told twice
        }
        trigger.over.fetch_max(trigger.life(), Ordering::SeqCst);
        child.kill().await?;
        if *stopping.borrow() {
            return Ok(());
        }
        child = spawn(&settings, &config, &trigger, false)?;
    }
}

fn spawn(settings: &Settings, config: &Path, trigger: &Trigger, anew: bool) -> Result<Child> {
    ensure!(settings.program.exists(), "{} is missing: cargo build -p operator", settings.program.display());
    trigger.life.fetch_add(1, Ordering::SeqCst);
    let path = settings.folder.join("operator.log");
    let log = if anew { File::create(&path)? } else { File::options().append(true).open(&path)? };
    let child = Command::new(&settings.program)
        .args(["--primary-image", "workercluster/primary:faults", "--listen", "127.0.0.1:0", "--lease-name", "faults"])
        .args(["--namespaces", &settings.namespace, "--pod-namespace", &settings.namespace, "--pod-name", "operator-0"])
        .args(["--downscale-stabilization-seconds", &settings.downscale_seconds.to_string()])
        .env("KUBECONFIG", config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

fn kubeconfig(proxy: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: proxy, cluster: {{server: \"http://{proxy}\"}}}}]\n\
         users: [{{name: nobody, user: {{}}}}]\ncontexts: [{{name: proxy, context: {{cluster: proxy, user: nobody}}}}]\ncurrent-context: proxy\n"
    )
}

/// The operator's program, where cargo builds it for the tests: beside them.
///
/// # Errors
/// Where the test's own program cannot be found.
pub fn built() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("OPERATOR_PROGRAM") {
        return Ok(program.into());
    }
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("the test's program has no folder")?;
    Ok(folder.join("operator"))
}
