//! Metadata (key 3): brokers, topics, partitions and their leaders, as the clients of one listener see them.
//!
//! Versions 0-13: v1 controller, v4 auto-creation flag, v8 authorized operations, v9 flexible, v10 topic ids, v12 by
//! id (KIP-516), v13 top-level error. Source: `KafkaApis.handleTopicMetadataRequest`, `KRaftMetadataCache`.
//!
//! A topic that the request creates is answered with UNKNOWN_TOPIC_OR_PARTITION, as in Kafka; by the time of that answer it
//! is there, so the client's next request finds it.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use milena_metadata::image::{MetadataImage, PartitionRegistration, TopicImage};
use uuid::Uuid;

use super::common::{
    CLUSTER_OPERATIONS, TOPIC_OPERATIONS, alive_endpoints, broker_ids, endpoint, is_internal, is_valid_topic_name,
    some_alive_broker, text, topic_name,
};
use super::context::Context;

/// Authorized operations that were not asked for.
const NOT_ASKED: i32 = i32::MIN;

pub(super) async fn handle(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    if let Err(error) = check(context, &request) {
        return refuse_all(&request, error);
    }
    let operations = if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { NOT_ASKED };
    let asked = Asked::of(context, &request);
    let image = context.node.image();
    if let Asked::Names(names) = &asked
        && request.allow_auto_topic_creation
    {
        create_missing(context, &image, names).await;
    }
    let topics = match asked {
        Asked::All => image.topics.iter().map(|topic| describe(context, &image, topic, operations)).collect(),
        Asked::Names(names) => {
            // Kafka answers what it found first, then what it did not find.
            let found = names.iter().filter_map(|name| image.topics.by_name(name));
            let found = found.map(|topic| describe(context, &image, topic, operations));
            let lost = names.iter().filter(|name| image.topics.by_name(name).is_none());
            found.chain(lost.map(|name| missing(name, operations))).collect()
        }
        Asked::Ids(ids) => ids
            .iter()
            .map(|id| match image.topics.by_id(*id) {
                Some(topic) => describe(context, &image, topic, operations),
                None => MetadataResponseTopic::default()
                    .with_error_code(ResponseError::UnknownTopicId.code())
                    .with_name(None)
                    .with_topic_id(*id)
                    .with_topic_authorized_operations(operations),
            })
            .collect(),
    };
    let brokers = alive_endpoints(context, &image).into_iter().map(|broker| {
        MetadataResponseBroker::default()
            .with_node_id(broker.id)
            .with_host(broker.host)
            .with_port(broker.port)
            .with_rack(broker.rack)
    });
    let mut response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(&context.node.cluster_id)))
        .with_controller_id(some_alive_broker(&image, context.correlation_id))
        .with_topics(topics);
    if request.include_cluster_authorized_operations && (8..=10).contains(&context.version) {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

enum Asked {
    All,
    Names(Vec<String>),
    Ids(BTreeSet<Uuid>),
}

impl Asked {
    fn of(context: &Context<'_>, request: &MetadataRequest) -> Self {
        let Some(topics) = &request.topics else { return Self::All };
        if topics.is_empty() && context.version == 0 {
            return Self::All;
        }
        // One id in the list switches to ids: entries with only a name are dropped.
        if topics.iter().any(|topic| !topic.topic_id.is_nil()) {
            return Self::Ids(topics.iter().map(|topic| topic.topic_id).filter(|id| !id.is_nil()).collect());
        }
        let mut seen = BTreeSet::new();
        let names = topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string());
        Self::Names(names.filter(|name| seen.insert(name.clone())).collect())
    }
}

fn check(context: &Context<'_>, request: &MetadataRequest) -> Result<(), ResponseError> {
    for topic in request.topics.iter().flatten() {
        if context.version < 12 && (topic.name.is_none() || !topic.topic_id.is_nil()) {
            return Err(ResponseError::InvalidRequest);
        }
        if topic.name.is_none() && topic.topic_id.is_nil() {
            return Err(ResponseError::UnknownServerError);
        }
    }
    Ok(())
}

fn refuse_all(request: &MetadataRequest, error: ResponseError) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        // Versions below 12 cannot say a null name.
        let name = topic.name.clone().unwrap_or_default();
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(name))
            .with_topic_id(topic.topic_id)
            .with_topic_authorized_operations(NOT_ASKED)
    });
    MetadataResponse::default()
        .with_topics(topics.collect())
        .with_controller_id(BrokerId(-1))
        .with_error_code(error.code())
}

/// Creates what is missing and may be created. What fails stays missing; the client asks again.
async fn create_missing(context: &Context<'_>, image: &MetadataImage, names: &[String]) {
    if !context.node.settings().auto_create_topics_enable {
        return;
    }
    let missing: Vec<String> = names
        .iter()
        .filter(|name| is_valid_topic_name(name) && image.topics.by_name(name).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        context.node.create_topics_automatically(missing).await;
    }
}

fn missing(name: &str, operations: i32) -> MetadataResponseTopic {
    let error = if is_valid_topic_name(name) {
        ResponseError::UnknownTopicOrPartition
    } else {
        ResponseError::InvalidTopicException
    };
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(topic_name(name)))
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(operations)
}

fn describe(context: &Context<'_>, image: &MetadataImage, topic: &TopicImage, operations: i32) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().map(|(index, partition)| describe_partition(context, image, *index, partition));
    let mut described = MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations);
    if context.version >= 10 {
        described.topic_id = topic.id;
    }
    described
}

fn describe_partition(
    context: &Context<'_>,
    image: &MetadataImage,
    index: i32,
    partition: &PartitionRegistration,
) -> MetadataResponsePartition {
    let leader = image.brokers.get(partition.leader).filter(|broker| !broker.fenced);
    let error = match leader {
        None => Some(ResponseError::LeaderNotAvailable),
        Some(broker) if endpoint(context, broker).is_none() && context.version >= 6 => {
            Some(ResponseError::ListenerNotFound)
        }
        Some(broker) if endpoint(context, broker).is_none() => Some(ResponseError::LeaderNotAvailable),
        Some(_) => None,
    };
    let mut described = MetadataResponsePartition::default()
        .with_error_code(error.as_ref().map_or(0, ResponseError::code))
        .with_partition_index(index)
        .with_leader_id(BrokerId(if error.is_none() { partition.leader } else { -1 }))
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&partition.isr));
    if context.version >= 5 {
        described.offline_replicas = partition
            .replicas
            .iter()
            .filter(|id| image.brokers.is_replica_offline(partition, **id))
            .map(|id| BrokerId(*id))
            .collect();
    }
    if context.version >= 7 {
        described.leader_epoch = partition.leader_epoch;
    }
    described
}
