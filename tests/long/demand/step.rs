//! From a step of the load to the write of `spec.replicas`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, load::get};

use super::{number, quantile, sides};

/// So many WorkerClusters there are in one round; each has its step when the one before is done.
const AT_A_TIME: u64 = 10;

/// Each has so many clients, each with one request of 400 ms after the other: fifty times what a replica's places are for.
const CLIENTS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_written_within_a_second() -> Result<()> {
    let rounds = number("ROUNDS", 5)?;
    Space::run("step", |space| async move {
        let mut all = Vec::new();
        for round in 0..rounds {
            let names: Vec<String> = (0..AT_A_TIME).map(|index| format!("step-{round}-{index}")).collect();
            for name in &names {
                sides::apply(&space, name, "20m", Some(2)).await?;
            }
            for name in &names {
                space.ready(name, 1).await?;
            }
            // What the short window looks back at.
            tokio::time::sleep(Duration::from_secs(8)).await;
            for (index, name) in (0..).zip(&names) {
                tokio::time::sleep(phase(round * AT_A_TIME + index)).await;
                let took = step(&space, name).await?;
                println!("round {}/{rounds}, {name}: {took:.2} s", round + 1);
                all.push(took);
                space.kubectl(&["delete", "wc", name]).await?;
            }
        }
        let (half, most) = (quantile(&all, 0.5), quantile(&all, 0.99));
        let missed = if half <= 1.0 && most <= 1.5 { "" } else { " (missed: 1.0, 1.5)" };
        figure(
            &format!("from a step of the load to the write, of {}: p50, p99", all.len()),
            format!("{half:.2}, {most:.2}{missed}"),
            "s",
        );
        Ok(())
    })
    .await
}

/// Part of a second before a step. A step that follows the write of the one before meets the operator, which asks once a second, at nearly the same
/// moment of that second each time; load comes at any. Multiples of the golden ratio are spread evenly, however many there are.
fn phase(number: u64) -> Duration {
    Duration::from_millis(number * 618 % 1000)
}

/// From the moment at which 150 clients come to the write of `spec.replicas`, in s.
async fn step(space: &Space, name: &str) -> Result<f64> {
    let address = space.address(name, 8000).await?;
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                while get(address, "/").await.is_ok() {} // until nobody serves it any more
            })
        })
        .collect();
    let api = space.api::<WorkerCluster>();
    // Closer than anything else waits: the figure is one of milliseconds.
    while api.get(name).await?.spec.replicas == 1 {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{name}: no second replica was asked for within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    for client in clients {
        client.abort();
    }
    Ok(took)
}
