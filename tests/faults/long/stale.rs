//! Issue 4, line 2: watches that lag, and an API server that stands still, at 1 to 1000 replicas.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    figures::figure,
    observer::{Rules, Violation, violations},
};
use faults::{
    Lane,
    proxy::Stale,
    report::{lanes, remove},
    run::side_by_side,
    workload::{NAME, active, create, unscheduled},
};
use serde_json::json;

const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Seconds by which every watch lags.
const LAGS: [u64; 5] = [0, 1, 5, 20, 60];
/// Cases side by side.
const LANES: usize = 5;
/// Beyond the lag itself, for a thousand pods on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// For so long after all that lags has come nothing may change.
const AFTER: Duration = Duration::from_secs(3);
/// For how long the API server stands still.
const STILL: Duration = Duration::from_secs(20);

/// One case.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// Every line of every watch comes so much later.
    Lag(Duration),
    /// Watches and cached lists of what the operator makes stand still, from before a scale-up until after a scale-down.
    Still,
    /// An operator that begins anew is shown nothing but what was before the last scale-up.
    Past,
}

async fn reach(lane: &Lane, wanted: usize, patience: Duration) -> Result<()> {
    let there = |observer: &e2e::Observer| {
        let pods = active(observer).len();
        if pods == wanted { Ok(()) } else { Err(format!("{pods} of {wanted} pods")) }
    };
    lane.observer.until(&format!("{wanted} pods"), patience, there).await
}

/// Nothing changes for a while.
async fn hold(lane: &Lane, wanted: usize, time: Duration) -> Result<()> {
    tokio::time::sleep(time).await;
    let pods = active(&lane.observer).len();
    ensure!(pods == wanted, "{pods} pods, and {wanted} were reached before");
    Ok(())
}

async fn scale(lane: &Lane, replicas: usize) -> Result<()> {
    lane.patch(NAME, json!({"spec": {"replicas": replicas}})).await
}

/// Up with a crash in the middle, and down.
async fn up_and_down(lane: &Lane, size: usize, lag: Duration) -> Result<()> {
    let more = size + size.div_ceil(2);
    scale(lane, more).await?;
    let begun = |observer: &e2e::Observer| {
        let pods = active(observer).len();
        if pods > size { Ok(()) } else { Err(format!("{pods} pods")) }
    };
    lane.observer.until("the first of the further pods", lag + PATIENCE, begun).await?;
    lane.crash();
    reach(lane, more, lag + PATIENCE).await?;
    hold(lane, more, lag + AFTER).await?;
    scale(lane, size / 2).await?;
    reach(lane, size / 2, lag + PATIENCE).await?;
    hold(lane, size / 2, lag + AFTER).await
}

async fn case(lane: &Lane, size: usize, case: Case) -> Result<Vec<Violation>> {
    let controls = &lane.proxy.controls;
    controls.thaw();
    controls.delay(Duration::ZERO);
    lane.clear().await?;
    lane.proxy.state.begin(Vec::new());
    lane.observer.begin();
    let lag = if let Case::Lag(lag) = case { lag } else { Duration::ZERO };
    controls.delay(lag);
    let operator = lane.operator()?;
    create(lane, unscheduled(NAME, size)).await?;
    reach(lane, size, lag + PATIENCE).await?;
    match case {
        Case::Lag(lag) => up_and_down(lane, size, lag).await?,
        Case::Still => {
            let made = ["pods", "services"];
            controls.remember(&made.map(|class| lane.path(class))).await?;
            controls.freeze(&made, Stale::Cache);
            up_and_down(lane, size, AFTER).await?;
            hold(lane, size / 2, STILL).await?;
            controls.thaw();
            hold(lane, size / 2, AFTER * 2).await?;
        }
        Case::Past => {
            let all = ["pods", "workerclusters"];
            controls.remember(&all.map(|class| lane.path(class))).await?;
            scale(lane, size * 2).await?;
            reach(lane, size * 2, PATIENCE).await?;
            controls.freeze(&all, Stale::Reads);
            lane.crash();
            hold(lane, size * 2, STILL).await?;
            controls.thaw();
            hold(lane, size * 2, AFTER).await?;
            scale(lane, size / 2).await?;
            reach(lane, size / 2, PATIENCE).await?;
        }
    }
    operator.end().await?;
    let rules = Rules { lag: lag + STILL + AFTER * 3, ..Rules::default() };
    Ok(violations(&lane.observer.history()?, rules))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_view_deletes_and_makes_nothing() -> Result<()> {
    let lanes = lanes(LANES).await?;
    // The longest first.
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for seconds in LAGS.iter().rev() {
        cases.extend(SIZES.iter().rev().map(|size| (*size, Case::Lag(Duration::from_secs(*seconds)))));
    }
    cases.extend(SIZES.iter().rev().flat_map(|size| [(*size, Case::Still), (*size, Case::Past)]));
    let results = side_by_side(&lanes, cases, async |lane, (size, which): (usize, Case)| {
        let found = case(lane, size, which).await;
        if let Err(error) = &found {
            println!("WRONG {which:?} at {size} replicas: {error:#}");
        }
        Ok((size, which, found))
    })
    .await?;
    let mut wrong = 0;
    for size in SIZES {
        let of_size: Vec<_> = results.iter().filter(|(of, ..)| *of == size).collect();
        let rules = |names: &[&str]| {
            let found = of_size.iter().filter_map(|(.., found)| found.as_ref().ok()).flatten();
            found.filter(|violation| names.contains(&format!("{:?}", violation.rule).as_str())).count()
        };
        let stuck = of_size.iter().filter(|(.., found)| found.is_err()).count();
        figure(&format!("{size} replicas: cases"), of_size.len(), "");
        figure(&format!("{size} replicas: pods too many, or a slot twice"), rules(&["TooMany", "SlotTwice"]), "");
        figure(
            &format!("{size} replicas: deletes from a stale view"),
            rules(&["TooFew", "ForeignDeleted", "Ranking"]),
            "",
        );
        figure(&format!("{size} replicas: other violations"), rules(&["Generation", "Ready"]), "");
        figure(&format!("{size} replicas: stuck, or changed later"), stuck, "cases");
        for (_, which, found) in of_size {
            let found = found.as_ref().map_or(&[][..], Vec::as_slice);
            found.iter().take(5).for_each(|violation| println!("{which:?} at {size} replicas: {violation}"));
            wrong += found.len();
        }
        wrong += stuck;
    }
    remove(lanes).await?;
    ensure!(wrong == 0, "{wrong} things went wrong");
    Ok(())
}
