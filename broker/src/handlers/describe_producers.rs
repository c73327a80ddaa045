//! DescribeProducers (key 61): the idempotent and transactional producers a partition knows (KIP-664).
//!
//! Version 0. Source: `ReplicaManager.activeProducerState`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId, TopicName};
use milena_metadata::image::MetadataImage;

use super::common::{UNKNOWN_TOPIC, code_of, invalid_topic_name, partition_by_name, text};
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = context.node.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    // A partition is answered once, however often it or its topic is named: an answer may be large.
    let mut answered_of_all: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
    for topic in request.topics {
        let mut rows = Vec::new();
        let answered = answered_of_all.entry(topic.name.clone()).or_default();
        for index in topic.partition_indexes.into_iter().filter(|index| answered.insert(*index)) {
            let row = PartitionResponse::default().with_partition_index(index);
            rows.push(match describe(context, &image, &topic.name, index).await {
                Ok(producers) => row.with_active_producers(producers),
                Err((error, message)) => {
                    row.with_error_code(error.code()).with_error_message(message.as_deref().map(text))
                }
            });
        }
        topics.push(TopicResponse::default().with_name(topic.name).with_partitions(rows));
    }
    DescribeProducersResponse::default().with_topics(topics)
}

async fn describe(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    index: i32,
) -> Result<Vec<ProducerState>, (ResponseError, Option<String>)> {
    if let Some(message) = invalid_topic_name(topic) {
        return Err((ResponseError::InvalidTopicException, Some(message)));
    }
    if image.topics.by_name(topic).is_none() {
        return Err((ResponseError::UnknownTopicOrPartition, Some(UNKNOWN_TOPIC.to_owned())));
    }
    let partition = partition_by_name(context, image, topic, index).map_err(|error| (error, None))?;
    partition.check_leader(-1).map_err(|error| (code_of(&error), None))?;
    let producers = partition.with_log(|log| log.active_producers()).await;
    let states = producers.into_iter().map(|producer| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.producer_id))
            .with_producer_epoch(i32::from(producer.producer_epoch))
            .with_last_sequence(producer.last_sequence)
            .with_last_timestamp(producer.last_timestamp)
            .with_coordinator_epoch(producer.coordinator_epoch)
            .with_current_txn_start_offset(producer.current_transaction_first_offset.unwrap_or(-1))
    });
    Ok(states.collect())
}
