//! ListPartitionReassignments (key 46): read from the controller's image
//! (`milena_metadata::decide::list_partition_reassignments`).
//!
//! Version 0. The request's timeout bounds nothing: Kafka's controller reads without a deadline, and clients that leave
//! the field at 0 get their answer.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::{ADMIN_TIMEOUT, text};
use super::context::Context;

pub(super) async fn handle(
    context: &Context<'_>,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let operation = Operation::ListPartitionReassignments { version: context.version, request };
    match context.node.submit(operation, ADMIN_TIMEOUT).await {
        Ok(Response::ListPartitionReassignments(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        Err(error) => ListPartitionReassignmentsResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(&error.to_string()))),
    }
}
