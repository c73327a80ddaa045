//! Where the replicas of new partitions go.
