//! One plan in one lane: set up, begin to count, act under faults, wait for the end state of a run without faults, and check what was seen.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::observer::{Rules, violations};
use futures::future::try_join_all;
use serde_json::Value;

use crate::{
    call::Call,
    end_state::{difference, end_state, settled},
    fault::Plan,
    lane::{Lane, STRANGERS},
    proxy::{Seen, State},
    workload::{Scenario, Workload},
};

/// Every plan has to be at its end so soon.
pub const CONVERGED: Duration = Duration::from_secs(30);
/// For so long it is looked whether a plan that is late is stuck.
const STUCK: Duration = Duration::from_secs(100);
/// A machine that others use too may stand still for so long: a view that is so much older breaks no rule of time for good.
const PAUSE: Duration = Duration::from_secs(30);
/// Without a change for so long, the end is the end.
const QUIET: Duration = Duration::from_millis(300);
/// The same where the end is not known yet.
const FIRST_QUIET: Duration = Duration::from_millis(2500);

/// What came of a plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// From the last step to the end state; `None` where it was not reached.
    pub converged: Option<Duration>,
    /// All of its faults have happened.
    pub fired: bool,
    /// How often the operator began.
    pub lives: u64,
    /// What was wrong, whatever time things took.
    pub wrong: Vec<String>,
    /// What came too late. Only where it does so again is the operator to blame: a machine that stands still for some seconds makes all late.
    pub overdue: Vec<String>,
    /// So often it was run before, and came too late.
    pub repeated: usize,
    /// Calls to the API server.
    pub calls: usize,
    /// Writes that changed nothing.
    pub unchanged: Vec<String>,
}

/// A run without faults: what others are compared with.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The end state.
    pub end: Value,
    /// How many calls and lines there were of each kind.
    pub counts: BTreeMap<Call, u32>,
    /// The calls in order.
    pub calls: Vec<Seen>,
    /// What was wrong.
    pub outcome: Outcome,
}

/// Baselines of scenarios.
pub type Baselines = BTreeMap<Scenario, Arc<Baseline>>;

// === impl Outcome ===

impl Outcome {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.overdue.is_empty()
    }

    /// All that was not as it should be.
    #[must_use]
    pub fn told(&self) -> String {
        [self.wrong.as_slice(), &self.overdue].concat().join("\n  ")
    }
}

/// Runs a scenario without faults.
///
/// # Errors
/// Where it does not come to an end.
pub async fn baseline(lane: &Lane, scenario: Scenario) -> Result<Baseline> {
    let plan = Plan { scenario, faults: Vec::new() };
    let (outcome, end) = run_to(lane, &plan, None).await?;
    ensure!(outcome.converged.is_some(), "{plan} without faults: {}", outcome.told());
    let state = &lane.proxy.state;
    Ok(Baseline { end, counts: state.counts(), calls: state.calls(), outcome })
}

/// Runs a plan and compares with `baseline`.
///
/// # Errors
/// Where the run says nothing about the operator: the cluster or the observer failed.
pub async fn run(lane: &Lane, plan: &Plan, baseline: &Baseline) -> Result<Outcome> {
    Ok(run_to(lane, plan, Some(&baseline.end)).await?.0)
}

async fn run_to(lane: &Lane, plan: &Plan, end: Option<&Value>) -> Result<(Outcome, Value)> {
    lane.clear().await?;
    let state = &lane.proxy.state;
    state.begin(Vec::new());
    let mut operator = lane.operator()?;
    plan.scenario.set_up(lane).await.with_context(|| format!("setting {} up", plan.scenario))?;
    if plan.scenario.workload == Workload::Create {
        // What an operator does in its beginning is part of this one.
        operator.end().await?;
        state.begin(plan.faults.clone());
        operator = lane.operator()?;
    } else {
        state.begin(plan.faults.clone());
    }
    lane.observer.begin();
    let lives = operator.lives();
    let (mut wrong, mut overdue) = (Vec::new(), Vec::new());
    if let Err(error) = plan.scenario.act(lane).await {
        if error.is::<kube::Error>() {
            operator.end().await?;
            return Err(error); // the API server refused a step of ours, which is nothing of the operator's
        }
        wrong.push(format!("{error:#}"));
    }
    let acted = Instant::now();
    let mut converged = None;
    if wrong.is_empty() {
        match converge(lane, end, acted).await {
            Ok(after) => converged = Some(after),
            Err(error) => wrong.push(format!("not converged: {error:#}")),
        }
    }
    // A new life begins with a look; what is deleted is looked at by nobody.
    let looks = plan.scenario.workload != Workload::Delete && operator.lives() == lives;
    if looks && let Err(error) = e2e::until("a look after doubtful writes", CONVERGED, async || Ok(looked(state))).await
    {
        wrong.push(format!("{error:#}"));
    }
    let found = end_state(&lane.observer, &lane.namespace);
    let lives = operator.lives() - lives;
    let (fired, calls, unchanged) = (state.unfired() == 0, state.calls().len(), state.unchanged());
    if let Err(error) = operator.end().await {
        wrong.push(format!("{error:#}"));
    }
    if let Some(after) = converged.filter(|after| *after > CONVERGED) {
        overdue.push(format!("converged only after {:.1} s", after.as_secs_f32()));
    }
    let rules = Rules { lag: Rules::default().lag + plan.lag(), ..Rules::default() };
    let history = lane.observer.history()?;
    let whenever = violations(&history, Rules { lag: rules.lag + PAUSE, ..rules });
    overdue.extend(violations(&history, rules).iter().filter(|one| !whenever.contains(one)).map(ToString::to_string));
    wrong.extend(whenever.iter().map(ToString::to_string));
    let strangers = lane.strangers();
    if strangers != STRANGERS {
        wrong.push(format!("{strangers} of {STRANGERS} strangers are as they were"));
    }
    let outcome =
        Outcome { plan: plan.clone(), converged, fired, lives, wrong, overdue, repeated: 0, calls, unchanged };
    Ok((outcome, found))
}

fn looked(state: &State) -> Result<(), String> {
    let unlooked = state.unlooked();
    if unlooked.is_empty() { Ok(()) } else { Err(format!("none after {}", unlooked.join(" "))) }
}

/// Waits until the end state is there and stays; returns how long that took.
async fn converge(lane: &Lane, end: Option<&Value>, acted: Instant) -> Result<Duration> {
    let quiet = if end.is_some() { QUIET } else { FIRST_QUIET };
    let is_end = |observer: &e2e::Observer| match end {
        None => settled(observer),
        Some(end) => {
            // Cheaper than the comparison, and true before it can be.
            settled(observer)?;
            let found = end_state(observer, &lane.namespace);
            if found == *end { Ok(()) } else { Err(difference(end, &found)) }
        }
    };
    let mut changes = lane.observer.changes();
    loop {
        let left = STUCK.saturating_sub(acted.elapsed());
        lane.observer.until("the end state", left, is_end).await?;
        let after = acted.elapsed();
        changes.borrow_and_update();
        let calm = tokio::time::timeout(quiet, changes.changed()).await.is_err();
        if calm {
            return Ok(after);
        }
    }
}

/// Baselines of `scenarios`, each of two runs that have to be the same.
///
/// # Errors
/// Where a run without faults goes wrong, or two differ.
pub async fn baselines(lanes: &[Lane], scenarios: &[Scenario]) -> Result<Baselines> {
    let twice = scenarios.iter().flat_map(|scenario| [*scenario, *scenario]).collect();
    let all = side_by_side(lanes, twice, async |lane, scenario: Scenario| {
        // A machine that compiles beside may once be too slow.
        let first = baseline(lane, scenario).await;
        let first = first.ok().filter(|first| first.outcome.overdue.is_empty());
        Ok((scenario, if let Some(first) = first { first } else { baseline(lane, scenario).await? }))
    })
    .await?;
    let mut found: Baselines = BTreeMap::new();
    for (scenario, baseline) in all {
        ensure!(baseline.outcome.is_good(), "{scenario} without faults: {}", baseline.outcome.told());
        if let Some(first) = found.get(&scenario) {
            ensure!(
                first.end == baseline.end,
                "two runs of {scenario} without faults differ: {}",
                difference(&first.end, &baseline.end)
            );
        }
        found.insert(scenario, Arc::new(baseline));
    }
    Ok(found)
}

/// Does `each` of the work in whichever lane is free.
///
/// # Errors
/// The first.
pub async fn side_by_side<W, T>(
    lanes: &[Lane],
    work: Vec<W>,
    each: impl AsyncFn(&Lane, W) -> Result<T>,
) -> Result<Vec<T>> {
    let queue = Mutex::new(VecDeque::from(work));
    let each = &each;
    let results = lanes.iter().map(async |lane| {
        let mut done = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(next) = next else { return anyhow::Ok(done) };
            done.push(each(lane, next).await?);
        }
    });
    Ok(try_join_all(results).await?.into_iter().flatten().collect())
}
