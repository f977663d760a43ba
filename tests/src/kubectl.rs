//! kubectl with a text on its standard input, and the examples as their users apply them.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Space, manifest};

// === impl Space ===

impl Space {
    /// Runs kubectl in this namespace with `input` on its standard input.
    ///
    /// # Errors
    /// Where it fails, with what it printed.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("kubectl")
            .args(["-n", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("kubectl {}: {text}", arguments.join(" "));
        }
        Ok(text)
    }

    /// Applies `examples/cpu` with a share of a processor that a test machine can spare, and at most so many replicas.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn cpu_example(&self, most_replicas: i32) -> Result<()> {
        for mut object in manifest::documents(&self.example("cpu")?)? {
            if object["kind"] == "WorkerCluster" {
                object["spec"]["workers"] = json!({"count": 2, "drainSeconds": 5});
                object["spec"]["autoscaling"]["maxReplicas"] = json!(most_replicas);
                object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "300m", "memory": "256Mi"}});
            }
            self.apply(&object).await?;
        }
        Ok(())
    }

    /// The manifests of `examples/NAME`, for this namespace.
    ///
    /// # Errors
    /// Where there is no such example.
    pub fn example(&self, name: &str) -> Result<String> {
        let folder = root().join("examples").join(name);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let texts = files.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
        // As its README says for another namespace than default.
        Ok(texts.join("\n---\n").replace("redis.default.svc", &format!("redis.{}.svc", self.namespace)))
    }
}

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
