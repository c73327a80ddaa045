//! Changes of a partition's leader and in-sync replicas.
