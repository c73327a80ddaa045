//! SaslAuthenticate (key 36): refused outside of a SASL exchange, as Kafka refuses it.
//!
//! Versions 0-2 (v2 flexible). Source: `KafkaApis.handleSaslAuthenticateRequest`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;

pub(super) fn handle(_: &Context<'_>, _: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str(
            "SaslAuthenticate request received after successful authentication",
        )))
}
