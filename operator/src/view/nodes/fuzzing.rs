//! Nodes in any state, and what the breaker makes of them.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Node;

use super::NodeView;
use crate::decide::nodes::{State, census};

/// A line is a node as it is now; the first byte is how many seconds later that is seen.
pub fn nodes(data: &[u8]) {
    let (mut state, mut now) = (State::default(), Duration::ZERO);
    let mut nodes: BTreeMap<String, NodeView> = BTreeMap::new();
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let Some((later, node)) = line.split_first() else { continue };
        now += Duration::from_secs(u64::from(*later));
        let Ok(node) = serde_json::from_slice::<Node>(node) else { continue };
        let Some(view) = NodeView::read(&node) else { continue };
        nodes.insert(view.name.clone(), view);
        let census = census(nodes.values());
        let counted = census.ready + census.not_ready + census.unknown;
        assert_eq!(counted + census.uncounted, nodes.len());
        let lost = census.not_ready + census.unknown;
        state = state.step(&census, now);
        // It opens at once, and says which and how many.
        assert!(lost * 2 <= counted || state.is_open(), "{census:?}");
        assert!(state.due().is_none_or(|due| state.is_open() && due > now));
        if let Some(outage) = state.breaker().outage() {
            assert!(!outage.to_string().is_empty());
        }
    }
}
