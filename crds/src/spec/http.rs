//! `spec.http`: serving requests.

#![allow(missing_docs)] // variants are told in the field that has them: text on a variant would turn the schema's enum into a oneOf

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Serving HTTP on one port that all workers share.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// TCP port that the workers listen on and that the Service offers, from 1 to 65535; not 9180, which is the primary's. No default.
    #[schemars(range(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new("self != 9180").message("port 9180 is the primary's own; choose another"))]
    pub port: i32,
    /// How connections reach the workers. `Shared`: the primary opens the listening socket, all workers accept from it, and whoever is free takes
    /// the next. `Steered`: it opens one for each worker, and a worker that starts, drains or leaves gets no new connection.
    /// `Passing`: it accepts, and hands each connection to a worker over Node's channel, as Node's cluster module does (`workers.ipc` is not None).
    /// Default Shared.
    #[serde(default)]
    pub balancing: Balancing,
    /// With `balancing: Steered`: for so many seconds, from 0 to 3600, a fresh worker gets fewer new connections than the others, at first a quarter
    /// of theirs, as one does that has to warm up. Default 0, the same from the start.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 3600))]
    pub slow_start_seconds: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How connections reach the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Balancing {
    #[default]
    Shared,
    Steered,
    Passing,
}
