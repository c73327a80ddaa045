//! FindCoordinator (key 10): which broker keeps a group or a transaction.
//!
//! Versions 0-6: v1 key type, v3 flexible, v4 many keys (KIP-699), v6 share groups (KIP-932). A group's question
//! creates `__consumer_offsets`. Until the coordinators exist every key is answered COORDINATOR_NOT_AVAILABLE, and a
//! transaction's creates nothing. Source: `KafkaApis.handleFindCoordinatorRequest`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::common::INVALID_REQUEST;
use super::context::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const OFFSETS_TOPIC: &str = "__consumer_offsets";

pub(super) async fn handle(context: &Context<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let error = find(context, request.key_type).await;
    if context.version < 4 {
        let mut response =
            FindCoordinatorResponse::default().with_error_code(error.code()).with_node_id(BrokerId(-1)).with_port(-1);
        if context.version >= 1 {
            response.error_message = Some(message(error));
        }
        return response;
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(match error {
                ResponseError::InvalidRequest => StrBytes::default(),
                other => message(other),
            }))
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

async fn find(context: &Context<'_>, key_type: i8) -> ResponseError {
    match key_type {
        GROUP => {
            if context.node.image().topics.by_name(OFFSETS_TOPIC).is_none() {
                context.node.create_topics_automatically(vec![OFFSETS_TOPIC.to_owned()]).await;
            }
            ResponseError::CoordinatorNotAvailable
        }
        TRANSACTION => ResponseError::CoordinatorNotAvailable,
        _ => ResponseError::InvalidRequest,
    }
}

/// Kafka says its standard text for the error (`Errors.message`).
fn message(error: ResponseError) -> StrBytes {
    StrBytes::from_static_str(match error {
        ResponseError::CoordinatorNotAvailable => "The coordinator is not available.",
        _ => INVALID_REQUEST,
    })
}
