//! UnregisterBroker.

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &UnregisterBrokerRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::UnregisterBroker(UnregisterBrokerResponse::default()) }
}
