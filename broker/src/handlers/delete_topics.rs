//! DeleteTopics (key 20): decided by the controller (`milena_metadata::decide::delete_topics`).
//!
//! Versions 0-6: v1 throttle time, v4 flexible, v5 error messages, v6 topic ids (KIP-516). With `delete.topic.enable=false` every row
//! is refused, whether the topic exists or not.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::timeout;
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let refused = |error: ResponseError| {
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), uuid::Uuid::nil()));
        let by_either = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
        let rows = by_name.chain(by_either).map(|(name, topic_id)| {
            let mut row = DeletableTopicResult::default().with_name(name).with_error_code(error.code());
            if context.version >= 6 {
                row = row.with_topic_id(topic_id);
            }
            row
        });
        DeleteTopicsResponse::default().with_responses(rows.collect())
    };
    if !context.node.settings().delete_topic_enable {
        let error = if context.version < 3 { ResponseError::InvalidRequest } else { ResponseError::TopicDeletionDisabled };
        return refused(error);
    }
    let Some(timeout) = timeout(request.timeout_ms) else {
        return refused(ResponseError::RequestTimedOut);
    };
    let operation = Operation::DeleteTopics { version: context.version, request: request.clone() };
    match context.node.submit(operation, timeout).await {
        Ok(Response::DeleteTopics(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        Err(error) => refused(error),
    }
}
