//! DescribeTopicPartitions (key 75): topics page by page, with their eligible leader replicas (KIP-966).
//!
//! Version 0. Sorted by name; at most `max.request.partition.size.limit` partitions an answer, then a cursor.
//! Source: `DescribeTopicPartitionsRequestHandler`, `KRaftMetadataCache.describeTopicResponse`.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use milena_metadata::image::{MetadataImage, PartitionRegistration};

use super::common::{
    TOPIC_OPERATIONS, broker_ids, endpoint, is_internal, is_valid_topic_name, topic_name,
};
use super::context::Context;

pub(super) fn handle(
    context: &Context<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = context.node.image();
    let limit = context.node.settings().max_request_partition_size_limit;
    let mut left = request.response_partition_limit.clamp(1, limit.max(1)) as usize;
    let cursor = request.cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    let mut names: BTreeSet<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    if let Err(error) = check(&names, cursor.as_ref()) {
        let row = |name| {
            DescribeTopicPartitionsResponseTopic::default().with_error_code(error.code()).with_name(Some(name))
        };
        let rows = request.topics.into_iter().map(|topic| row(topic.name));
        return DescribeTopicPartitionsResponse::default().with_topics(rows.collect());
    }
    if names.is_empty() {
        names = image.topics.iter().map(|topic| topic.name.to_string()).collect();
    }
    let mut response = DescribeTopicPartitionsResponse::default();
    let from = cursor.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default();
    for name in names.iter().filter(|name| name.as_str() >= from) {
        let first = cursor.as_ref().filter(|(topic, _)| topic == name).map_or(0, |(_, partition)| *partition);
        if left == 0 {
            response.next_cursor = Some(cursor_at(name, first));
            break;
        }
        let (topic, next) = describe(context, &image, name, first, left);
        left -= topic.partitions.len();
        response.topics.push(topic);
        if let Some(next) = next {
            response.next_cursor = Some(cursor_at(name, next));
            break;
        }
    }
    response
}

/// A cursor must point into the topics asked for; an empty name fails the whole request.
fn check(names: &BTreeSet<String>, cursor: Option<&(String, i32)>) -> Result<(), ResponseError> {
    if names.contains("") {
        return Err(ResponseError::UnknownServerError);
    }
    match cursor {
        Some((topic, _)) if !names.is_empty() && !names.contains(topic) => Err(ResponseError::InvalidRequest),
        Some((_, partition)) if *partition < 0 => Err(ResponseError::InvalidRequest),
        _ => Ok(()),
    }
}

fn cursor_at(topic: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition)
}

/// One topic from partition `first` on, and where to go on if it did not fit.
fn describe(
    context: &Context<'_>,
    image: &MetadataImage,
    name: &str,
    first: i32,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let described = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS);
    let Some(topic) = image.topics.by_name(name) else {
        let error = if is_valid_topic_name(name) {
            ResponseError::UnknownTopicOrPartition
        } else {
            ResponseError::InvalidTopicException
        };
        return (described.with_error_code(error.code()), None);
    };
    let mut from = topic.partitions.range(first..);
    let rows = from.by_ref().take(limit).map(|(index, partition)| row(context, image, *index, partition)).collect();
    let next = from.next().map(|(index, _)| *index);
    (described.with_topic_id(topic.id).with_partitions(rows), next)
}

fn row(
    context: &Context<'_>,
    image: &MetadataImage,
    index: i32,
    partition: &PartitionRegistration,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = image.brokers.get(partition.leader).filter(|broker| !broker.fenced);
    let error = match leader {
        None => Some(ResponseError::LeaderNotAvailable),
        Some(broker) => endpoint(context, broker).is_none().then_some(ResponseError::ListenerNotFound),
    };
    let offline = partition.replicas.iter().filter(|id| image.brokers.is_replica_offline(partition, **id));
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(error.as_ref().map_or(0, ResponseError::code))
        .with_partition_index(index)
        .with_leader_id(BrokerId(if error.is_none() { partition.leader } else { -1 }))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&partition.isr))
        .with_eligible_leader_replicas(Some(broker_ids(&partition.elr)))
        .with_last_known_elr(Some(broker_ids(&partition.last_known_elr)))
        .with_offline_replicas(offline.map(|id| BrokerId(*id)).collect())
}
