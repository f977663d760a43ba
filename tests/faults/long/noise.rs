//! Issue 4, line 2: a hundred thousand calls of which 1 to 50 % fail in one way or another.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use e2e::{
    figures::figure,
    observer::{Rules, controller, violations},
};
use faults::{
    Lane,
    chance::Chance,
    fault::Action,
    proxy::Noise,
    report::{lanes, remove},
    workload::{active, create, unscheduled},
};
use serde_json::json;

/// WorkerClusters that are scaled up and down all the time.
const CLUSTERS: usize = 60;
/// Most replicas of each.
const MOST: usize = 10;
/// Calls at each rate.
const CALLS: usize = 20_000;
/// Of a hundred calls so many fail.
const RATES: [usize; 5] = [1, 5, 10, 25, 50];
/// Steps of each WorkerCluster where the calls of the same work are compared.
const STEPS: usize = 6;
/// No step takes longer, or something is stuck: the operator's longest pause is 30 s, and several calls in a row may fail.
const STUCK: Duration = Duration::from_secs(240);
/// How often it is looked who has come to the end of a step.
const LOOK: Duration = Duration::from_millis(100);

/// What fails; what is not answered at all holds a place of the operator for 10 s, and is one in twenty.
fn noise(percent: usize) -> Noise {
    let mut actions = Vec::new();
    for _ in 0..2 {
        actions.extend([409, 429, 500, 503, 504].map(Action::Refuse));
        actions.extend([Action::Drop, Action::Reset, Action::Garble(500), Action::Garble(504)]);
    }
    actions.extend([Action::Swallow, Action::Delay(Duration::from_millis(300))]);
    Noise { percent, seed: 4, actions, spared: Vec::new() }
}

/// What came of it.
struct Churned {
    calls: usize,
    steps: usize,
    wrong: Vec<String>,
    took: Duration,
    hit: BTreeMap<String, usize>,
}

/// Scales all WorkerClusters, each anew when it is where it should be, until each has made `steps` steps or there were enough calls.
async fn churn(lane: &Lane, noise: Option<Noise>, steps: usize, calls: usize) -> Result<Churned> {
    let state = &lane.proxy.state;
    state.begin(Vec::new());
    lane.observer.begin();
    state.noise(noise);
    let mut runners: BTreeMap<String, Runner> =
        (0..CLUSTERS).map(|index| (format!("many-{index}"), Runner::new(index))).collect();
    let (began, mut moved, mut made) = (Instant::now(), Instant::now(), 0);
    loop {
        let mut pods: BTreeMap<String, usize> = BTreeMap::new();
        for pod in active(&lane.observer) {
            *pods.entry(controller(&pod).to_owned()).or_default() += 1;
        }
        let (mut behind, enough) = (Vec::new(), state.worked() >= calls);
        for cluster in lane.observer.objects("workerclusters") {
            let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
            let Some(runner) = runners.get_mut(name) else { continue };
            let uid = cluster["metadata"]["uid"].as_str().unwrap_or_default();
            let there = pods.get(uid).copied().unwrap_or(0);
            let seen = cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"];
            let told = cluster["status"]["replicas"] == json!(runner.wanted);
            if !(seen && told && there == runner.wanted && cluster["spec"]["replicas"] == json!(runner.wanted)) {
                behind.push(format!("{name}: {there} of {}", runner.wanted));
                continue;
            }
            if runner.steps < steps && !enough {
                lane.patch(name, json!({"spec": {"replicas": runner.next()}})).await?;
                made += 1;
                moved = Instant::now();
                behind.push(name.to_owned());
            }
        }
        if behind.is_empty() {
            break;
        }
        if moved.elapsed() > STUCK && enough || moved.elapsed() > STUCK * 2 {
            bail!("stuck: {}", behind.join(", "));
        }
        tokio::time::sleep(LOOK).await;
    }
    state.noise(None);
    // A status rests on what was seen before calls failed.
    let rules = Rules { lag: Duration::from_secs(60), ..Rules::default() };
    let wrong = violations(&lane.observer.history()?, rules).iter().map(ToString::to_string).collect();
    Ok(Churned { calls: state.worked(), steps: made, wrong, took: began.elapsed(), hit: state.hit() })
}

/// One WorkerCluster on its way up and down.
struct Runner {
    chance: Chance,
    wanted: usize,
    steps: usize,
}

impl Runner {
    fn new(index: usize) -> Self {
        Self { chance: Chance::new(index as u64), wanted: 1, steps: 0 }
    }

    /// Another number than before.
    fn next(&mut self) -> usize {
        self.steps += 1;
        self.wanted = (self.wanted + 1 + self.chance.below(MOST)) % (MOST + 1);
        self.wanted
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_make_no_pod_twice() -> Result<()> {
    let lanes = lanes(1).await?;
    let lane = &lanes[0];
    let operator = lane.operator()?;
    let began = async || -> Result<()> {
        for index in 0..CLUSTERS {
            create(lane, unscheduled(&format!("many-{index}"), 1)).await?;
        }
        Ok(())
    };
    began().await?;
    let quiet = churn(lane, None, STEPS, usize::MAX).await?;
    figure("without faults: calls for the work of comparison", quiet.calls, "");
    back(lane).await?;
    let noisy = churn(lane, Some(noise(10)), STEPS, usize::MAX).await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let ratio = noisy.calls as f64 / quiet.calls as f64;
    figure("10 % faults: calls for the same work", noisy.calls, "");
    figure("10 % faults: calls, as a multiple", format!("{ratio:.2}"), "");
    let (mut all, mut wrong) = (0, [quiet.wrong, noisy.wrong].concat());
    for rate in RATES {
        back(lane).await?;
        let churned = churn(lane, Some(noise(rate)), usize::MAX, CALLS).await?;
        let hits: usize = churned.hit.values().sum();
        figure(&format!("{rate} % faults: calls"), churned.calls, "");
        figure(&format!("{rate} % faults: calls that failed"), hits, &format!("{:?}", churned.hit));
        figure(&format!("{rate} % faults: steps of WorkerClusters"), churned.steps, "");
        figure(&format!("{rate} % faults: violations"), churned.wrong.len(), "");
        figure(&format!("{rate} % faults: took"), churned.took.as_secs(), "s");
        all += churned.calls;
        wrong.extend(churned.wrong);
    }
    figure("calls under faults, all together", all, "");
    let twice = wrong.iter().filter(|wrong| wrong.contains("TooMany") || wrong.contains("SlotTwice")).count();
    figure("duplicates: pods too many, or a slot twice", twice, "");
    operator.end().await?;
    remove(lanes).await?;
    wrong.iter().take(40).for_each(|wrong| println!("{wrong}"));
    ensure!(wrong.is_empty(), "{} violations", wrong.len());
    ensure!(ratio <= 2.0, "{ratio:.2} times the calls");
    Ok(())
}

/// All back at one replica, so that each run begins the same.
async fn back(lane: &Lane) -> Result<()> {
    for index in 0..CLUSTERS {
        lane.patch(&format!("many-{index}"), json!({"spec": {"replicas": 1}})).await?;
    }
    churn(lane, None, 0, usize::MAX).await.map(drop)
}
