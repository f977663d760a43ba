//! Sizes: images, the primary's memory. The operator's memory with many WorkerClusters: tests/evidence 3.10.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{Space, figures::figure, kubectl::root, load, manifest, memory};
use serde_json::Value;
use tokio::process::Command;

/// The most that the primary may have with 4 workers.
const PRIMARY_KIB: u64 = 10 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn images_are_static_from_scratch_and_not_root() -> Result<()> {
    for name in ["operator", "primary"] {
        let printed = run(&mut images(name)).await?;
        let archive = PathBuf::from(printed.trim());
        let folder = std::env::temp_dir().join(format!("workercluster-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let checked = image(name, &archive, &folder).await;
        fs::remove_dir_all(&folder)?;
        checked.with_context(|| format!("image {name}"))?;
    }
    Ok(())
}

/// Prints the archive that tests/install has made, and builds nothing: without what cargo tells this test about itself, which would make
/// build scripts run again.
fn images(name: &str) -> Command {
    let mut command = Command::new(root().join("tests/cluster/images"));
    command.arg(name);
    for (key, _) in std::env::vars() {
        let cargos = key.starts_with("CARGO") && key != "CARGO_HOME";
        if cargos || key.starts_with("RUST_") || key == "LD_LIBRARY_PATH" {
            command.env_remove(key);
        }
    }
    command
}

/// What `docker save` wrote: a manifest that names the configuration and the layers.
async fn image(name: &str, archive: &Path, folder: &Path) -> Result<()> {
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder)).await?;
    let read = |file: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(folder.join(file))?)?) };
    let manifest = read("manifest.json")?[0].clone();
    let config = read(manifest["Config"].as_str().context("no configuration")?)?;
    let user = config["config"]["User"].as_str().unwrap_or_default();
    ensure!(
        user.split(':').next().and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id > 0),
        "its user is {user:?}"
    );

    let mut files = Vec::new();
    for layer in manifest["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let layer = folder.join(layer);
        let listed = run(Command::new("tar").arg("-tf").arg(&layer)).await?;
        files.extend(listed.lines().filter(|file| !file.ends_with('/')).map(|file| (layer.clone(), file.to_owned())));
    }
    ensure!(files.len() == 1, "from scratch there is one file, not {files:?}");
    let (layer, file) = &files[0];
    run(Command::new("tar").arg("-xf").arg(layer).arg("-C").arg(folder).arg(file)).await?;
    let binary = fs::read(folder.join(file))?;
    ensure!(is_static(&binary).context("not an ELF file")?, "{file} asks for a dynamic linker");
    let mib = |bytes: u64| bytes / 1024 * 10 / 1024;
    let (size, whole) = (mib(binary.len() as u64), mib(fs::metadata(archive)?.len()));
    figure(
        &format!("image {name}"),
        format!("{}.{}", whole / 10, whole % 10),
        &format!("MiB unpacked; one file, {file}, {}.{} MiB, static; user {user}", size / 10, size % 10),
    );
    Ok(())
}

/// Whether a 64-bit ELF program names no interpreter.
fn is_static(binary: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = binary.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if !binary.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds = (0..count).map(|index| number(table + index * size, 4)).collect::<Option<Vec<_>>>()?;
    Some(!kinds.contains(&(INTERPRETER as usize)))
}

async fn run(command: &mut Command) -> Result<String> {
    let output = command.output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_with_four_workers_is_small() -> Result<()> {
    Space::run("memory", |space| async move {
        space.apply(&manifest::program("web", "server.js", manifest::NODE_CLUSTER)).await?;
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 1, 4)).await?;
        space.ready("web", 1).await?;
        let pod = space.uids("web").await?.into_keys().next().context("no pod")?;
        let measure = async || {
            memory::of_status(&space.exec(&pod, &["cat", "/proc/1/status"]).await?, "VmRSS of process 1 in the pod")
        };
        let first = measure().await?;
        let address = space.address("web", 8000).await?;
        for _ in 0..500 {
            tokio::time::timeout(Duration::from_secs(20), load::get(address, "/")).await??;
            if space.stats(&pod).await?.workers.ready < 4 {
                anyhow::bail!("a worker is not ready");
            }
        }
        let last = measure().await?;
        figure("primary with 4 workers, just ready", first.kib, &format!("KiB ({})", first.from));
        figure(
            "primary with 4 workers after 500 requests and 500 reads of its stats",
            last.kib,
            &format!("KiB, at the most {}", last.most_kib),
        );
        ensure!(last.most_kib <= PRIMARY_KIB, "{} KiB", last.most_kib);
        Ok(())
    })
    .await
}
