//! Sizes: images, the primary's memory, the operator's memory with many WorkerClusters.
