//! What was seen, in the order in which the API server did it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;

/// One state of one object.
#[derive(Clone, Debug)]
pub struct Record {
    /// `metadata.resourceVersion`: one order for all kinds, since all are in one etcd.
    pub version: u64,
    /// When it was seen, since the observer began.
    pub at: Duration,
    /// Its kind, as `pods`.
    pub plural: Arc<str>,
    /// This is its last state: it is gone.
    pub gone: bool,
    /// The object.
    pub object: Arc<Value>,
}

/// What there was at first, and what happened then.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What there was at first.
    pub first: Vec<Record>,
    /// What happened.
    pub records: Vec<Record>,
}

// === impl History ===

impl History {
    /// Begins with what there is.
    #[must_use]
    pub fn since(first: Vec<Record>) -> Self {
        Self { first, records: Vec::new() }
    }

    /// The watches of several kinds come in side by side: sorted by version they are what happened. What a watch shows again of what was
    /// there at first is left out.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.records.sort_by_key(|record| record.version);
        let first: HashMap<&str, u64> = self.first.iter().map(|record| (record.uid(), record.version)).collect();
        let new =
            |record: &Record| record.gone || first.get(record.uid()).is_none_or(|version| *version < record.version);
        let records = std::mem::take(&mut self.records).into_iter().filter(new).collect();
        self.records = records;
        self
    }
}

// === impl Record ===

impl Record {
    /// `metadata.uid`.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}
