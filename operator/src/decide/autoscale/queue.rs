//! The length of a queue: as many replicas as its items need at the target, nothing else asked.

use std::time::Duration;

/// `ceil(items / target_per_replica)`, at most what an `i32` holds. Without a tolerance: a queue's length is no mean, and the
/// stabilisation window already keeps small changes from removing replicas.
pub(super) fn recommend(items: u64, target_per_replica: i64) -> i32 {
    let target = u64::try_from(target_per_replica).unwrap_or(0).max(1);
    i32::try_from(items.div_ceil(target)).unwrap_or(i32::MAX)
}

/// Whether a reading is too old to decide from.
pub(super) fn is_stale(age: Duration, max_age: Duration) -> bool {
    age > max_age
}
