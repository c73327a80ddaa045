//! The nouns with units that every crate shares.
//!
//! Offsets, timestamps and epochs stay plain integers, as on the wire; the name of the alias says the unit.

use std::fmt;
use std::sync::Arc;

/// Position of a record in a partition. The first record has offset 0; -1 means "none".
pub type Offset = i64;
/// Milliseconds since the epoch (1970-01-01 UTC); -1 means "none".
pub type Timestamp = i64;
/// How often the leader of a partition changed; -1 means "unknown".
pub type LeaderEpoch = i32;
/// Identity of an idempotent or transactional producer; -1 means "none".
pub type ProducerId = i64;
/// Generation of a producer id, used for fencing; -1 means "none".
pub type ProducerEpoch = i16;

/// "No timestamp", as Kafka writes it.
pub const NO_TIMESTAMP: Timestamp = -1;
/// "No producer id", as Kafka writes it.
pub const NO_PRODUCER_ID: ProducerId = -1;
/// "No producer epoch", as Kafka writes it.
pub const NO_PRODUCER_EPOCH: ProducerEpoch = -1;
/// "No sequence", as Kafka writes it.
pub const NO_SEQUENCE: i32 = -1;
/// "No leader epoch", as Kafka writes it.
pub const NO_LEADER_EPOCH: LeaderEpoch = -1;

/// A partition of a topic, by name. Ordered by topic, then by partition; shown as `topic-partition`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Index of the partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_topic_partition_as_kafka_names_its_directory() {
        assert_eq!(TopicPartition::new("a-b", 12).to_string(), "a-b-12");
    }
}
