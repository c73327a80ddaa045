//! BrokerHeartbeat.

use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &BrokerHeartbeatRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::BrokerHeartbeat(BrokerHeartbeatResponse::default()) }
}

pub(super) fn fence(_context: &Context<'_>, _broker_id: i32, _broker_epoch: i64) -> Decision {
    Decision { records: Vec::new(), response: Response::FenceBroker }
}
