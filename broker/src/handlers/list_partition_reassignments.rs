//! ListPartitionReassignments (key 46): read from the controller's image
//! (`milena_metadata::decide::list_partition_reassignments`).
//!
//! Version 0.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::{text, timeout};
use super::context::Context;

pub(super) async fn handle(
    context: &Context<'_>,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let timeout = timeout(request.timeout_ms).unwrap_or_default();
    let operation = Operation::ListPartitionReassignments { version: context.version, request };
    match context.node.submit(operation, timeout).await {
        Ok(Response::ListPartitionReassignments(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        Err(error) => ListPartitionReassignmentsResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(&error.to_string()))),
    }
}
