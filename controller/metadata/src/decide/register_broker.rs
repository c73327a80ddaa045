//! BrokerRegistration.

use kafka_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &BrokerRegistrationRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::RegisterBroker(BrokerRegistrationResponse::default()) }
}
