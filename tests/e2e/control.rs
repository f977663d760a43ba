//! What others do to a WorkerCluster: kubectl scale, a HorizontalPodAutoscaler, delete.
