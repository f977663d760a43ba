//! The number of replicas follows processor time and a queue, and holds where a metric is silent.
