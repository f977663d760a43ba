//! `spec.disruption` and what becomes of pods that fail, end or are lost with their node.

#![allow(missing_docs)] // variants are told in the field that has them: text on a variant would turn the schema's enum into a oneOf

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Amount;

/// How many replicas may be taken away at the same time by evictions (drains, upgrades of nodes): a `PodDisruptionBudget`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.maxUnavailable) && has(self.minAvailable))",
    "message": "maxUnavailable and minAvailable exclude each other: say one of them",
    "fieldPath": ".minAvailable"
}]))]
pub struct Disruption {
    /// Replicas that may be missing: a number, or a share, rounded up. Default 1 where `minAvailable` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// Replicas that must stay: a number, or a share, rounded up. Default: none, `maxUnavailable` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Amount>,
}

/// When the pod that takes the place of one that is ending is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum PodReplacementPolicy {
    #[default]
    TerminationStarted,
    TerminationComplete,
}

/// What becomes of pods on a node that does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum NodeLoss {
    #[default]
    Default,
    Fast,
}
