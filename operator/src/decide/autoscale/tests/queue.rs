//! The length of a queue.

use super::super::queue::recommend;

#[test]
fn a_queue_asks_for_as_many_replicas_as_its_items_need() {
    let rows = [
        (0, 10, 0),  // nothing: the bounds raise it to the minimum
        (1, 10, 1),  // one item needs one replica
        (10, 10, 1), // just what one does
        (11, 10, 2), // no tolerance: HPA would stay at 1
        (1000, 10, 100),
        (u64::MAX, 1, i32::MAX), // more than an i32: the most there is
        (u64::MAX, i64::MAX, 3), // 2^64 - 1 over 2^63 - 1
        (7, 0, 7),               // a target that the schema does not admit is taken for 1
        (7, -5, 7),
    ];
    for (items, target, replicas) in rows {
        assert_eq!(recommend(items, target), replicas, "{items} items, {target} per replica");
    }
}
