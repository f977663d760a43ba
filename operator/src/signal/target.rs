//! What is to be read: the pods of a WorkerCluster, and its queues.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use crds::QueueMetric;

use super::order::Order;

/// A WorkerCluster. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// What is to be read for one WorkerCluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Every pod of its own that has an address and has not ended, ready or not. No other address is ever dialled.
    pub pods: Vec<PodTarget>,
    /// The queues of its metrics.
    pub queues: Vec<QueueSource>,
    /// What is wanted of the pods' primaries, by the pod's UID. Shared: most pods of a WorkerCluster are told the same.
    pub orders: HashMap<Arc<str>, Arc<Order>>,
}

/// A pod whose primary is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTarget {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `status.podIP`.
    pub ip: IpAddr,
}

/// A queue whose length is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueSource {
    /// The server; what has the same endpoint shares a connection.
    pub endpoint: Endpoint,
    /// What is asked of it.
    pub query: Query,
}

/// A Redis database and the credentials for it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `host:port`.
    pub address: Arc<str>,
    /// Number of the database.
    pub database: i32,
    /// The password, if one is needed; never printed.
    pub password: Option<Arc<str>>,
}

/// What is asked of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The length of a list.
    List {
        /// The list's key.
        key: Arc<str>,
    },
    /// What a consumer group has not got yet, and what it has got and not acknowledged.
    Stream {
        /// The stream's key.
        key: Arc<str>,
        /// The group's name.
        group: Arc<str>,
    },
}

// === impl ClusterKey ===

impl ClusterKey {
    /// The WorkerCluster `namespace/name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

// === impl QueueSource ===

impl QueueSource {
    /// The queue of a metric, with the password that its `secretRef` names. `None` for a metric without a source, which the schema does
    /// not admit.
    #[must_use]
    pub fn from_spec(metric: &QueueMetric, password: Option<Arc<str>>) -> Option<Self> {
        if let Some(list) = &metric.redis_list {
            let endpoint = Endpoint { address: list.address.as_str().into(), database: list.database, password };
            return Some(Self { endpoint, query: Query::List { key: list.key.as_str().into() } });
        }
        let stream = metric.redis_stream.as_ref()?;
        let endpoint = Endpoint { address: stream.address.as_str().into(), database: stream.database, password };
        let query = Query::Stream { key: stream.key.as_str().into(), group: stream.group.as_str().into() };
        Some(Self { endpoint, query })
    }
}

// === impl Endpoint ===

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "(not shown)");
        formatter
            .debug_struct("Endpoint")
            .field("address", &self.address)
            .field("database", &self.database)
            .field("password", &password)
            .finish()
    }
}
