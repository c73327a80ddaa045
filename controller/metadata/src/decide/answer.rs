//! What the answers have in common: an error code with its text, and numbers out of the static configuration.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::Context;

/// A refusal: Kafka's code and the text that goes with it (`ApiError`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: i16,
    pub(super) message: Option<String>,
}

impl ApiError {
    pub(super) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        ApiError { code: error.code(), message: Some(message.into()) }
    }

    pub(super) fn without_message(error: ResponseError) -> Self {
        ApiError { code: error.code(), message: None }
    }

    pub(super) fn message(&self) -> Option<StrBytes> {
        self.message.clone().map(StrBytes::from_string)
    }
}

/// A number of the static configuration; the default where it is not set or none.
pub(super) fn static_number<T: std::str::FromStr>(context: &Context<'_>, key: &str, default: T) -> T {
    context.static_config.get(key).and_then(|value| value.trim().parse().ok()).unwrap_or(default)
}
