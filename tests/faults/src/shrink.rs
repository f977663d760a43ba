//! The least of a plan that still goes wrong.

use anyhow::Result;

use crate::{
    fault::Plan,
    lane::Lane,
    run::{Baseline, Outcome, run},
};

/// What depends on the order of things is tried so often.
const TRIES: usize = 3;

/// Takes away one fault after another for as long as it goes wrong all the same.
///
/// # Errors
/// Where a run says nothing about the operator.
pub async fn shrink(lane: &Lane, failed: Outcome, baseline: &Baseline) -> Result<Outcome> {
    let mut least = failed;
    'smaller: loop {
        for index in 0..least.plan.faults.len() {
            let mut plan: Plan = least.plan.clone();
            plan.faults.remove(index);
            for _ in 0..TRIES {
                let outcome = run(lane, &plan, baseline).await?;
                if !outcome.is_good() {
                    least = outcome;
                    continue 'smaller;
                }
            }
        }
        return Ok(least);
    }
}
