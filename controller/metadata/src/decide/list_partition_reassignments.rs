//! ListPartitionReassignments.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &ListPartitionReassignmentsRequest) -> Decision {
    Decision {
        records: Vec::new(),
        response: Response::ListPartitionReassignments(ListPartitionReassignmentsResponse::default()),
    }
}
