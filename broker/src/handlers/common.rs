//! What several handlers share: names, endpoints, authorized operations, the mapping of storage errors.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::image::{BrokerRegistration, MetadataImage};
use uuid::Uuid;

use super::context::Context;
use crate::config::{Advertised, BrokerScope};
use crate::replica::partition::{Partition, PartitionError};

/// What DescribeAcls says without an authorizer.
pub(super) const NO_AUTHORIZER_ON_BROKER: StrBytes =
    StrBytes::from_static_str("No Authorizer is configured on the broker");
/// What the ACL changes say without an authorizer.
pub(super) const NO_AUTHORIZER: StrBytes = StrBytes::from_static_str("No Authorizer is configured.");
/// All operations on a topic as bits of `AclOperation`: what everybody may do without an authorizer.
pub(super) const TOPIC_OPERATIONS: i32 = 3576;
/// All operations on the cluster.
pub(super) const CLUSTER_OPERATIONS: i32 = 8096;

/// A broker as clients of one listener are told.
pub(super) struct Endpoint {
    pub(super) id: BrokerId,
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
}

/// A string for the wire.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic name for the wire.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// How the clients of this request's listener reach a broker; `None` if it lacks that listener.
pub(super) fn endpoint(context: &Context<'_>, broker: &BrokerRegistration) -> Option<Endpoint> {
    let registered = broker.end_point(&context.connection.listener)?;
    let (mut host, port) = (text(&registered.host), i32::from(registered.port));
    if broker.id == context.node.id && advertises_as_reached(context) {
        let ip = context.connection.local.ip();
        host = if ip.is_loopback() { StrBytes::from_static_str("localhost") } else { text(&ip.to_string()) };
    }
    Some(Endpoint { id: BrokerId(broker.id), host, port, rack: broker.rack.as_deref().map(text) })
}

fn advertises_as_reached(context: &Context<'_>) -> bool {
    let listener = context.node.config.listeners.iter().find(|listener| listener.name == *context.connection.listener);
    listener.is_some_and(|listener| listener.advertised == Advertised::AsReached)
}

/// The brokers that are alive and have this request's listener.
pub(super) fn alive_endpoints(context: &Context<'_>, image: &MetadataImage) -> Vec<Endpoint> {
    image.brokers.alive().filter_map(|broker| endpoint(context, broker)).collect()
}

/// Kafka names a random alive broker as the controller, so that admin requests spread; with none alive, -1.
pub(super) fn some_alive_broker(image: &MetadataImage, correlation_id: i32) -> BrokerId {
    let count = image.brokers.alive().count();
    let chosen = image.brokers.alive().nth(correlation_id.unsigned_abs() as usize % count.max(1));
    BrokerId(chosen.map_or(-1, |broker| broker.id))
}

/// The ids as the wire has them.
pub(super) fn broker_ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Topics whose records belong to coordinators.
pub(super) fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
pub(super) fn is_valid_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The partition as this broker has it, by topic name. `UnknownTopicOrPartition` if the metadata has none,
/// `NotLeaderOrFollower` if it lives elsewhere, `KafkaStorageError` if its log dir is offline.
pub(super) fn partition_by_name(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    partition: i32,
) -> Result<Arc<Partition>, ResponseError> {
    let topic = image.topics.by_name(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    if !topic.partitions.contains_key(&partition) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    hosted(context, topic.id, partition)
}

/// The partition as this broker has it; the metadata is known to have it.
pub(super) fn hosted(context: &Context<'_>, topic_id: Uuid, partition: i32) -> Result<Arc<Partition>, ResponseError> {
    context.node.replicas.get(topic_id, partition).map_err(|error| code_of(&error))
}

/// Kafka's code for a partition that cannot serve.
pub(super) fn code_of(error: &PartitionError) -> ResponseError {
    match error {
        PartitionError::NotLeader => ResponseError::NotLeaderOrFollower,
        PartitionError::FencedLeaderEpoch => ResponseError::FencedLeaderEpoch,
        PartitionError::UnknownLeaderEpoch => ResponseError::UnknownLeaderEpoch,
        PartitionError::Offline => ResponseError::KafkaStorageError,
        PartitionError::NotEnoughReplicas => ResponseError::NotEnoughReplicas,
        PartitionError::OffsetOutOfRange => ResponseError::OffsetOutOfRange,
        PartitionError::Storage(error) => {
            tracing::error!(target: "kafka.server.ReplicaManager", "{error}");
            ResponseError::KafkaStorageError
        }
    }
}

/// A request's timeout; `None` if there is no time at all: Kafka then answers REQUEST_TIMED_OUT and does nothing.
pub(super) fn timeout(timeout_ms: i32) -> Option<std::time::Duration> {
    (timeout_ms > 0).then(|| std::time::Duration::from_millis(timeout_ms as u64))
}

/// `ConfigResource.Type.BROKER`
pub(super) const BROKER: i8 = 4;
/// `ConfigResource.Type.BROKER_LOGGER`
pub(super) const BROKER_LOGGER: i8 = 8;
/// Requests without a timeout of their own get `request.timeout.ms` at its default.
pub(super) const ADMIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Kafka's text for UNKNOWN_TOPIC_OR_PARTITION.
pub(super) const UNKNOWN_TOPIC: &str = "This server does not host this topic-partition.";

/// Why a topic name is refused, in Kafka's words.
pub(super) fn invalid_topic_name(name: &str) -> Option<String> {
    milena_metadata::decide::validate_topic_name(name).err().map(|error| error.to_string())
}

/// Which broker configuration a resource name means: this broker's, or the cluster's default.
pub(super) fn altered_broker(context: &Context<'_>, name: &str) -> Result<BrokerScope, (ResponseError, String)> {
    if name.is_empty() {
        return Ok(BrokerScope::ClusterDefault);
    }
    let expected = context.node.id;
    let id: i32 = name
        .parse()
        .map_err(|_| (ResponseError::InvalidRequest, format!("Node id must be an integer, but it is: {name}")))?;
    if id == expected {
        return Ok(BrokerScope::ThisBroker);
    }
    Err((ResponseError::InvalidRequest, format!("Unexpected broker id, expected {expected}, but received {id}")))
}

/// Rows that came by different roads, in the order in which their keys were asked for. A key may come twice.
pub(super) fn in_order<K: Ord, R>(order: &[K], rows: Vec<(K, R)>) -> Vec<R> {
    let mut by_key: BTreeMap<K, VecDeque<R>> = BTreeMap::new();
    for (key, row) in rows {
        by_key.entry(key).or_default().push_back(row);
    }
    order.iter().filter_map(|key| by_key.get_mut(key)?.pop_front()).collect()
}

/// Kafka's text for INVALID_REQUEST.
pub(super) const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
