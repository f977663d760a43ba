//! Rates by hand. Windows and bounds are in `pipeline.rs`.

use super::super::limit::kept;

#[test]
fn a_share_is_reckoned_in_the_floating_point_of_a_horizontal_pod_autoscaler() {
    let rows = [
        (10, 100, 0),
        (10, 50, 5),
        (10, 90, 0), // 10 * (1 - 0.9) is 0.9999999999999998
        (5, 1, 4),   // 4.95 is truncated: 1 % of 5 removes one
        (50, 10, 45),
        (7, 0, 7),
        (0, 100, 0),
    ];
    for (start, percent, expected) in rows {
        assert_eq!(kept(start, percent), expected, "{percent} % of {start}");
    }
}
