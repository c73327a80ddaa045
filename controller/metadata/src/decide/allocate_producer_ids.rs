//! AllocateProducerIds.

use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &AllocateProducerIdsRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::AllocateProducerIds(AllocateProducerIdsResponse::default()) }
}
