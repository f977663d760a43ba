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
    /// `Queue`: it takes requests of HTTP/1.1, and gives each to the worker that is free next; a reload or a scale-down costs no request, a worker's death none that may be repeated.
    /// Default Shared.
    #[serde(default)]
    pub balancing: Balancing,
    /// With `balancing: Steered`: for so many seconds, from 0 to 3600, a fresh worker gets fewer new connections than the others, at first a quarter
    /// of theirs, as one does that has to warm up. Default 0, the same from the start.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 3600))]
    pub slow_start_seconds: i64,
    /// With `balancing: Queue`: so many requests may be with one worker at a time, from 1 to 10000. 1 gives the free worker the next request and is for
    /// programs that do one thing at a time. Default: 64 where the command is Node, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_in_flight_per_worker: Option<i64>,
    /// With `balancing: Queue`: how many requests may wait in each replica for a worker, and for how long. Default: 1000, and 30 seconds each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// With `balancing: Queue`: believe what `X-Forwarded-*` and `Forwarded` say of the client, as behind an ingress that sets them; otherwise they are
    /// dropped, since a client could say anything of itself. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trust_forwarded: bool,
    /// With `balancing: Queue` and `workers.ready: Http`: the path that a worker is asked for until it answers with 2xx or 3xx, at most 1024 characters.
    /// Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = "^/[!-~]*$"))]
    pub ready_path: Option<String>,
    /// With `balancing: Queue`: requests for some paths that are the same and come at the same time are answered once, in a replica and across up to
    /// 64 replicas. Default: none, each is answered for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single_flight: Option<SingleFlight>,
    /// With `balancing: Queue`: a client comes back to the worker that answered it first, for as long as that worker gets requests. Default: none, the
    /// worker that is free next has the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

impl Http {
    /// With nothing but a port.
    #[must_use]
    pub fn on(port: i32) -> Self {
        Self {
            port,
            balancing: Balancing::default(),
            slow_start_seconds: 0,
            max_in_flight_per_worker: None,
            queue: None,
            trust_forwarded: false,
            ready_path: None,
            single_flight: None,
            affinity: None,
        }
    }
}

/// Requests that wait for a worker. Those that find no place, or wait for too long, are answered with 503 and `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queue {
    /// At most so many at a time, from 1 to 100000. Default 1000.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_waiting: i64,
    /// For so many seconds each, from 1 to 3600. Default 30.
    #[schemars(range(min = 1, max = 3600))]
    pub max_wait_seconds: i64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_waiting: 1000, max_wait_seconds: 30 }
    }
}

/// Requests that are answered once where they are the same and come at the same time.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SingleFlight {
    /// For these paths, from 1 to 32, each of at most 1024 visible ASCII characters without a comma: exactly this path, or, where it ends with `/*`, all
    /// below it. Two requests are the same where method, host, path, query, body and all header fields are the same, but for fields that only trace
    /// (`traceparent`, `x-request-id`, `user-agent` and the like) and addresses of clients. No default.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 1024), regex(pattern = r"^/[!-+\--~]*$")),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub paths: Vec<String>,
    /// Answers with Set-Cookie, or with Cache-Control private or no-store, are shared as well; otherwise each of the requests gets one of its own, as
    /// where the answer is longer than 1 MiB.
    /// Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub share_credentials: bool,
}

/// Clients that come back to one worker.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Name of the cookie that the primary sets, which names the worker: from 1 to 64 letters, digits, `_`, `.` and `-`. No default.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_.-]{1,64}$"))]
    pub cookie: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(value: &bool) -> bool {
    !value
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
    Queue,
}
