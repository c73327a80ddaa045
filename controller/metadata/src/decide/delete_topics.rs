//! DeleteTopics.

use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _version: i16, _request: &DeleteTopicsRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::DeleteTopics(DeleteTopicsResponse::default()) }
}
