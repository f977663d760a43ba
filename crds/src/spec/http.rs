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
    /// How connections reach the workers. `Shared`: the primary opens the listening socket, all workers accept from it. Default Shared.
    #[serde(default)]
    pub balancing: Balancing,
}

/// How connections reach the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Balancing {
    #[default]
    Shared,
}
