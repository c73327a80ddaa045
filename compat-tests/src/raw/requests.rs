//! The requests that many scenarios make, with the fields that matter as arguments.

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    fetch_request::{FetchPartition, FetchTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;

use super::topic_name;

/// A topic as requests name it: by name, or by id from some version on.
#[derive(Clone, Copy)]
pub(crate) struct Topic<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: Uuid,
}

/// Produce to one topic.
pub(crate) fn produce(version: i16, acks: i16, topic: Topic<'_>, batches: &[(i32, Bytes)]) -> ProduceRequest {
    let rows = batches
        .iter()
        .map(|(index, records)| PartitionProduceData::default().with_index(*index).with_records(Some(records.clone())))
        .collect();
    let data = TopicProduceData::default().with_partition_data(rows);
    let data = if version >= 13 { data.with_topic_id(topic.id) } else { data.with_name(topic_name(topic.name)) };
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![data])
}

/// One partition of a Fetch, from an offset on.
pub(crate) fn from_offset(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20)
}

/// Fetch from one topic, without a session, with an answer at once.
pub(crate) fn fetch(version: i16, topic: Topic<'_>, partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![fetch_topic(version, topic, partitions)])
}

/// One topic of a Fetch.
pub(crate) fn fetch_topic(version: i16, topic: Topic<'_>, partitions: Vec<FetchPartition>) -> FetchTopic {
    let rows = FetchTopic::default().with_partitions(partitions);
    if version >= 13 { rows.with_topic_id(topic.id) } else { rows.with_topic(topic_name(topic.name)) }
}

/// ListOffsets of one topic: (partition, timestamp) each.
pub(crate) fn list_offsets(topic: &str, asked: &[(i32, i64)]) -> ListOffsetsRequest {
    let rows = asked
        .iter()
        .map(|&(partition, timestamp)| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_timestamp(timestamp)
                .with_current_leader_epoch(-1)
        })
        .collect();
    let topics = vec![ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(rows)];
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(topics)
}

/// Metadata of named topics, creating none.
pub(crate) fn metadata(topics: &[&str]) -> MetadataRequest {
    let rows = topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
    MetadataRequest::default().with_topics(Some(rows.collect())).with_allow_auto_topic_creation(false)
}
