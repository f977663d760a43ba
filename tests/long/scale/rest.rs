//! At rest: when it begins, and what is asked of the API server then.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{Space, figures::figure, until};
use tokio::time::sleep;

use super::{PATIENCE, look::RECONCILES, metrics::Series};

/// What the operator makes, and what it watches.
const WRITTEN: [&str; 6] =
    ["workerclusters", "pods", "services", "controllerrevisions", "poddisruptionbudgets", "events"];

/// The API server's own count.
const SERVED: &str = "apiserver_request_total";

/// Waits until the operator has called nobody for 10 s, and nobody else, as the simulated kubelets do for a while, has written what it watches.
pub async fn calm(space: &Space) -> Result<Duration> {
    let begun = Instant::now();
    let both = async || anyhow::Ok((Series::of_operator(space).await?, Series::of_api_server(&space.client).await?));
    let mut last = both().await?;
    until("an operator that asks for nothing, and pods that nobody writes", PATIENCE, async || {
        sleep(Duration::from_secs(10)).await;
        let now = both().await?;
        let (called, written) = (calls(&now.0.since(&last.0)), now.1.since(&last.1).sum(SERVED, is_write));
        last = now;
        Ok(if called.is_empty() && written == 0.0 { Ok(()) } else { Err(format!("{called} ({written} writes)")) })
    })
    .await?;
    Ok(begun.elapsed())
}

/// Whether a series of [`SERVED`] counts writes of what the operator makes.
fn is_write(label: &dyn Fn(&str) -> String) -> bool {
    let reads = ["GET", "LIST", "WATCH", "CONNECT", ""];
    is_ours(label) && !reads.contains(&label("verb").as_str())
}

fn is_ours(label: &dyn Fn(&str) -> String) -> bool {
    WRITTEN.contains(&label("resource").as_str())
}

/// No list and no write: by the operator's own count, and by the API server's of all that the operator could ask for.
pub fn at_rest(name: &str, operator: &Series, server: &Series, seconds: f64, missed: &mut Vec<String>) {
    let per_second = |count: f64| format!("{:.3}", count / seconds);
    let listed = operator.sum("workercluster_api_calls_total", |label| label("verb") == "list")
        + operator.sum("workercluster_watch_lists_total", |_| true);
    let all = operator.sum("workercluster_api_calls_total", |_| true);
    figure(&format!("{name}: LISTs of the operator"), per_second(listed), "per s");
    figure(&format!("{name}: calls of the operator, the Lease apart"), per_second(all), "per s");
    let reconciles = operator.histogram(RECONCILES);
    figure(&format!("{name}: reconciles"), reconciles.text(), "");
    // The API server lists Services itself every three minutes, to mend its own account of node ports.
    let lists =
        |label: &dyn Fn(&str) -> String| is_ours(label) && label("verb") == "LIST" && label("resource") != "services";
    let listed_there = server.sum(SERVED, lists);
    let written_there = server.sum(SERVED, is_write);
    let what = "at the API server of what the operator watches and makes, by anybody";
    figure(&format!("{name}: LISTs {what} (Services apart)"), per_second(listed_there), "per s");
    figure(&format!("{name}: writes {what}"), per_second(written_there), "per s");
    let others =
        server.by(SERVED, &["verb", "resource"], |label| !["WATCH", "CONNECT"].contains(&label("verb").as_str()));
    println!("{name}: at the API server in {seconds:.0} s: {others:?}");
    if listed + all + listed_there + written_there > 0.0 {
        missed.push(format!(
            "{name}: {} ({listed_there} LISTs and {written_there} writes at the API server: {others:?})",
            calls(operator)
        ));
    }
}

/// The operator's calls by verb and resource.
pub fn calls(series: &Series) -> String {
    let calls = series.by("workercluster_api_calls_total", &["verb", "resource"], |_| true);
    calls.iter().map(|(call, count)| format!("{call} {count}")).collect::<Vec<_>>().join(", ")
}
