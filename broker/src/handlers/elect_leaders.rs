//! ElectLeaders (key 43): decided by the controller (`milena_metadata::decide::elect_leaders`).
//!
//! Versions 0-2: v1 election type (KIP-460), v2 flexible.

use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::timeout;
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let timeout = timeout(request.timeout_ms).unwrap_or_default();
    let operation = Operation::ElectLeaders { version: context.version, request };
    match context.node.submit(operation, timeout).await {
        Ok(Response::ElectLeaders(response)) => response,
        Ok(_) => unreachable!("the controller answers with the operation's own response"),
        // Version 0 has no place for an error above the rows; Kafka then answers without rows.
        Err(error) if context.version >= 1 => ElectLeadersResponse::default().with_error_code(error.code()),
        Err(_) => ElectLeadersResponse::default(),
    }
}
