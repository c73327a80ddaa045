//! CreateTopics (key 19): decided by the controller (`milena_metadata::decide::create_topics`).
//!
//! Versions 0-7: v1 validate only and error messages, v2 throttle time, v5 flexible and effective configs in the answer (KIP-525), v7 topic ids.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::timeout;
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let refused = |error: ResponseError| {
        let rows = request.topics.iter().map(|topic| {
            let mut row = CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error.code())
                .with_error_message(None);
            if context.version >= 5 {
                row = row.with_configs(Some(Vec::new())).with_num_partitions(-1).with_replication_factor(-1);
            }
            row
        });
        CreateTopicsResponse::default().with_topics(rows.collect())
    };
    let Some(timeout) = timeout(request.timeout_ms) else { return refused(ResponseError::RequestTimedOut) };
    let operation = Operation::CreateTopics { version: context.version, request: request.clone() };
    match context.node.submit(operation, timeout).await {
        Ok(Response::CreateTopics(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        Err(error) => refused(error),
    }
}
