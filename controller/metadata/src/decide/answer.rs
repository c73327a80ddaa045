//! What the answers have in common: an error code with its text.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

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

    pub(super) fn message(&self) -> Option<StrBytes> {
        self.message.clone().map(StrBytes::from_string)
    }
}
