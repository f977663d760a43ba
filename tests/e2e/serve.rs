//! An unmodified program serves from every worker of every replica.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use e2e::{Space, figures::figure, load, manifest, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_node_cluster_program_answers_from_every_worker() -> Result<()> {
    Space::run("node", |space| async move {
        space.apply(&manifest::program("web", "server.js", manifest::NODE_CLUSTER)).await?;
        let started = std::time::Instant::now();
        space.apply(&manifest::cluster("web", "node:22", &["node", "/program/server.js"], 2, 2)).await?;
        space.ready("web", 2).await?;
        figure("apply to Ready", format!("{:.1}", started.elapsed().as_secs_f32()), "s");
        let address = space.address("web", 8000).await?;
        let mut answered = BTreeSet::new();
        until("answers from 4 workers", Duration::from_secs(20), async || {
            answered.insert(load::get(address, "/").await?);
            Ok(if answered.len() == 4 { Ok(()) } else { Err(format!("{answered:?}")) })
        })
        .await
    })
    .await
}
