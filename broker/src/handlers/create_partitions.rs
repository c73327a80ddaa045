//! CreatePartitions (key 37): decided by the controller (`milena_metadata::decide::create_partitions`).
//!
//! Versions 0-3: v2 flexible, v3 quota violations (KIP-599).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::timeout;
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let refused = |error: ResponseError| {
        let rows = request.topics.iter().map(|topic| {
            CreatePartitionsTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error.code())
                .with_error_message(None)
        });
        CreatePartitionsResponse::default().with_results(rows.collect())
    };
    let Some(timeout) = timeout(request.timeout_ms) else { return refused(ResponseError::RequestTimedOut) };
    let operation = Operation::CreatePartitions { version: context.version, request: request.clone() };
    match context.node.submit(operation, timeout).await {
        Ok(Response::CreatePartitions(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        Err(error) => refused(error),
    }
}
