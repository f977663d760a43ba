//! The WorkerCluster operator: reads its settings, waits for the Lease, works for as long as it holds it.

mod api;
mod build;
mod config;
mod controller;
mod decide;
mod leader;
mod metrics;
mod serve;
mod signal;
mod status;
mod term;
mod text;
mod view;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use config::{Config, LogFormat};
use leader::{Fence, elect::Elector};
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

fn main() -> ExitCode {
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
    let fence = Fence::default();
    let api = api::ApiServer::connect(fence.clone(), metrics.clone()).await?;
    let (leading, led) = watch::channel(false);
    let identity = config.identity();
    let elector =
        Elector::new(api.client(), &config.pod_namespace, &config.lease_name, identity.clone(), fence, leading);
    let (synced, ready) = watch::channel(true); // who does not lead has nothing to fill
    let term = term::Term {
        api,
        metrics: metrics.clone(),
        counters,
        settings: controller::Settings {
            primary_image: config.primary_image.clone(),
            pull_policy: config.primary_image_pull_policy.as_str(),
            downscale_stabilization: config.downscale_stabilization(),
        },
        identity,
        namespaces: config.watched(),
        synced,
    };
    // The Lease outlives the work: it is given back when the last write is done.
    let (release, released) = watch::channel(false);
    let mut serving = tokio::spawn(serve::serve(config.listen, metrics.clone(), ready, stopping.clone()));
    let mut electing = tokio::spawn(elector.run(released));
    let mut working = tokio::spawn(terms(term, metrics, led, stopping));
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
    term: term::Term,
    metrics: metrics::Metrics,
    mut led: watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            leading = led.wait_for(|leading| *leading) => drop(leading?),
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        metrics.leading(true);
        term.synced.send_replace(false);
        let (end, over) = watch::channel(false);
        let mut work = std::pin::pin!(term.run(over));
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            _ = led.wait_for(|leading| !*leading) => None,
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        metrics.leading(false);
        if let Some(ended) = ended {
            ended?;
        } else {
            end.send_replace(true);
            work.await?;
        }
        term.synced.send_replace(true);
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
