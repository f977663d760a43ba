//! The WorkerCluster operator: reads its settings, waits for the Lease, works for as long as it holds it.
//!
//! A library, so that fuzzing reaches what reads bytes from outside (`fuzzing`, only under `cfg(fuzzing)`). All that it shows to the
//! program is [`main`]: what nothing uses is still found as dead code.

mod api;
mod build;
mod chance;
mod config;
mod controller;
mod decide;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod leader;
mod metrics;
mod queue;
mod remote;
mod serve;
mod signal;
mod status;
mod term;
mod text;
mod view;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use config::{Config, LogFormat};
use leader::{
    Fence,
    elect::{self, Elector, Standing},
};
use tokio::{
    signal::unix::{SignalKind, signal as on_signal},
    sync::watch,
    time::timeout,
};
use tracing_subscriber::EnvFilter;

/// The settings cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// The whole end may take this long; a Deployment's grace period is 30 s.
const LAST_SECONDS: Duration = Duration::from_secs(20);

/// The program, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let Ok(filter) = EnvFilter::try_new(&config.log_level) else {
        eprintln!(
            "--log-level: \"{}\" is no filter: write a level as info, or pairs as operator=debug,kube=warn",
            config.log_level
        );
        return ExitCode::from(EXIT_USAGE);
    };
    if let Some(fault) = config.timing().fault() {
        eprintln!("--lease-…: {fault}");
        return ExitCode::from(EXIT_USAGE);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), primary = config.primary_image, "the operator starts");
    let (stop, stopping) = watch::channel(false);
    let metrics = metrics::Metrics::new()?;
    let counters = signal::Counters::register(metrics.registry())?;
    let (fence, timing) = (Fence::default(), config.timing());
    let upstream =
        api::Upstream::infer(metrics.traffic.clone(), timing.duration.saturating_sub(timing.renew_deadline)).await?;
    let (standing, stands) = watch::channel(Standing::default());
    let settings = elect::Settings {
        namespace: config.pod_namespace.clone(),
        name: config.lease_name.clone(),
        identity: config.identity(),
        timing,
    };
    let lease_client = upstream.lease_client(timing.call_deadline())?;
    let elector = Elector::new(lease_client, settings, fence.clone(), standing, metrics.traffic.clone());
    let (synced, filled) = watch::channel(false);
    let term = term::Term {
        upstream,
        fence,
        limits: config.limits(),
        metrics: metrics.clone(),
        counters,
        settings: controller::Settings {
            primary_image: config.primary_image.clone(),
            pull_policy: config.primary_image_pull_policy.as_str(),
            downscale_stabilization: config.downscale_stabilization(),
        },
        control_key: (config.pod_namespace.clone(), config.control_key_name.clone()),
        identity: config.identity(),
        namespaces: config.watched(),
        synced,
    };
    let readiness = serve::Readiness { standing: stands.clone(), filled };
    // The Lease outlives the work: it is given back when the last write is done.
    let (release, released) = watch::channel(false);
    let mut serving = tokio::spawn(serve::serve(config.listen, metrics.clone(), readiness, stopping.clone()));
    let mut electing = tokio::spawn(elector.run(released));
    let mut working = tokio::spawn(terms(term, metrics, stands, stopping));
    let asked_to_stop = tokio::select! {
        () = signals() => true,
        ended = &mut serving => { ended??; false }
        ended = &mut electing => { ended?; false }
        ended = &mut working => { ended??; false }
    };
    anyhow::ensure!(asked_to_stop, "a task that runs to the end ended by itself");
    tracing::info!("asked to stop: the work under way is finished first");
    stop.send_replace(true);
    let finished = timeout(LAST_SECONDS, async {
        working.await??;
        release.send_replace(true);
        electing.await?;
        serving.await?
    });
    finished
        .await
        .map_err(|_| anyhow::anyhow!("the work under way did not finish within {} s", LAST_SECONDS.as_secs()))?
}

/// Works whenever this operator leads, until it is asked to stop.
async fn terms(
    work: term::Term,
    metrics: metrics::Metrics,
    mut stands: watch::Receiver<Standing>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        let number = tokio::select! {
            standing = stands.wait_for(|standing| standing.term.is_some()) => standing?.term,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        let Some(number) = number else { continue };
        metrics.leading(true);
        let (end, over) = watch::channel(false);
        let mut working = std::pin::pin!(work.run(number, over));
        let ended = tokio::select! {
            ended = &mut working => Some(ended),
            // Another term of ours is not this one: somebody else may have led in between.
            _ = stands.wait_for(|standing| standing.term != Some(number)) => None,
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        metrics.leading(false);
        if let Some(ended) = ended {
            ended?;
        } else {
            end.send_replace(true);
            working.await?;
        }
        if *stopping.borrow() {
            return Ok(());
        }
    }
}

/// Waits for SIGTERM or SIGINT.
async fn signals() {
    let (Ok(mut term), Ok(mut int)) = (on_signal(SignalKind::terminate()), on_signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
