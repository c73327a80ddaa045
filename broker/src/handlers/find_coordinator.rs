//! FindCoordinator (key 10): which broker keeps a group or a transaction.
//!
//! Versions 0-6: v1 key type, v3 flexible, v4 many keys (KIP-699), v6 share groups (KIP-932). A group's question
//! creates `__consumer_offsets`; the answer is the leader of the group's partition, as in Kafka, although the requests
//! of groups are not served yet: a client that is sent here finds out at once from ApiVersions, instead of asking for
//! ever. A transaction's question creates nothing and is answered COORDINATOR_NOT_AVAILABLE.
//! Source: `KafkaApis.handleFindCoordinatorRequest`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::image::MetadataImage;
use milena_protocol::coordinator_key::partition_for;

use super::common::{Endpoint, INVALID_REQUEST, endpoint};
use super::context::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// First version with many keys.
const MANY_KEYS: i16 = 4;

pub(super) async fn handle(context: &Context<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if request.key_type == GROUP && context.node.image().topics.by_name(OFFSETS_TOPIC).is_none() {
        context.node.create_topics_automatically(vec![OFFSETS_TOPIC.to_owned()]).await;
    }
    let image = context.node.image();
    if context.version >= MANY_KEYS {
        let rows = request.coordinator_keys.into_iter().map(|key| {
            let found = find(context, &image, request.key_type, &key);
            row(request.key_type, key, found)
        });
        return FindCoordinatorResponse::default().with_coordinators(rows.collect());
    }
    let response = FindCoordinatorResponse::default();
    let (mut response, message) = match find(context, &image, request.key_type, &request.key) {
        Ok(broker) => {
            let response = response.with_node_id(broker.id).with_host(broker.host).with_port(broker.port);
            (response, StrBytes::from_static_str("NONE"))
        }
        Err(error) => {
            let response = response.with_error_code(error.code()).with_node_id(BrokerId(-1)).with_port(-1);
            (response, text_of(error))
        }
    };
    if context.version >= 1 {
        response.error_message = Some(message);
    }
    response
}

fn find(
    context: &Context<'_>,
    image: &MetadataImage,
    key_type: i8,
    key: &str,
) -> Result<Endpoint, ResponseError> {
    match key_type {
        GROUP => {
            let topic = image.topics.by_name(OFFSETS_TOPIC).filter(|topic| topic.partition_count() > 0);
            let topic = topic.ok_or(ResponseError::CoordinatorNotAvailable)?;
            let partition = topic.partitions.get(&partition_for(key, topic.partition_count()));
            let leader = partition.and_then(|partition| image.brokers.get(partition.leader));
            let leader = leader.filter(|broker| !broker.fenced).and_then(|broker| endpoint(context, broker));
            leader.ok_or(ResponseError::CoordinatorNotAvailable)
        }
        TRANSACTION => Err(ResponseError::CoordinatorNotAvailable),
        _ => Err(ResponseError::InvalidRequest),
    }
}

fn row(key_type: i8, key: StrBytes, found: Result<Endpoint, ResponseError>) -> Coordinator {
    let row = Coordinator::default().with_key(key);
    match found {
        Ok(broker) => row
            .with_node_id(broker.id)
            .with_host(broker.host)
            .with_port(broker.port)
            .with_error_message(Some(StrBytes::default())),
        Err(error) => row
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code())
            // Kafka gives no reason for a share group's key that is not one.
            .with_error_message(Some(if key_type == SHARE { StrBytes::default() } else { text_of(error) })),
    }
}

/// Kafka's standard text for the error (`Errors.message`).
fn text_of(error: ResponseError) -> StrBytes {
    StrBytes::from_static_str(match error {
        ResponseError::CoordinatorNotAvailable => "The coordinator is not available.",
        _ => INVALID_REQUEST,
    })
}
