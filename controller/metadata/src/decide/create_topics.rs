//! CreateTopics.

use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _version: i16, _request: &CreateTopicsRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::CreateTopics(CreateTopicsResponse::default()) }
}
