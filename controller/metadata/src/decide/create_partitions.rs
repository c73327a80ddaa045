//! CreatePartitions.

use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &CreatePartitionsRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::CreatePartitions(CreatePartitionsResponse::default()) }
}
