//! ElectLeaders.

use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _version: i16, _request: &ElectLeadersRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::ElectLeaders(ElectLeadersResponse::default()) }
}
