//! SaslHandshake (key 17): on a listener without SASL there is nothing to shake hands about.
//!
//! Versions 0-1. Kafka answers ILLEGAL_SASL_STATE and keeps the connection (`KafkaApis.handleSaslHandshakeRequest`).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::context::Context;

pub(super) fn handle(_: &Context<'_>, _: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}
