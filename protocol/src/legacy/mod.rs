//! Versions of messages below those that the `kafka-protocol` crate knows, which Apache Kafka served until 3.9.
//!
//! An old version is nearly always the crate's lowest one, the *floor*, with some fields missing. So a request's body
//! is rewritten to the floor's form and the crate decodes it; an answer is encoded at the floor and rewritten to the
//! old form. What to rewrite follows from the schema's table alone ([`transcode`]). Where an old version says
//! something that the floor cannot, a codec of its own does it: [`list_offsets`], [`offset_commit`]. Produce and Fetch
//! have hand-written codecs for all versions ([`crate::produce_request`], [`crate::fetch_response`]); the message sets
//! in them are the concern of others.
//!
//! `DescribeConfigsResponse.IsDefault` of v0 is written as false, as Kafka 3.9 does: its broker never sets it.

pub mod list_offsets;
pub mod message_set;
mod message_set_builder;
pub mod message_set_down;
pub mod offset_commit;
mod transcode;

use bytes::{Bytes, BytesMut};

pub use self::message_set::{Magic, MessageSetError, MessageView, messages};
pub use self::message_set_builder::MessageSetBuilder;
pub use self::message_set_down::{DOWN_CONVERTED_BYTES_MAX, DownConvertError, DownConverted, down_convert};
use crate::guard::{self, GuardError};
use crate::schema;

/// Why a body cannot be brought to another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// The guard refuses the body.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The table has no such message in this version.
    #[error("no schema for key {api_key} in version {version}")]
    UnknownVersion {
        /// The API key.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
    /// A value reaches over the end of the body, or a length is negative.
    #[error("the body ends in the middle of {field}")]
    UnexpectedEnd {
        /// The field.
        field: &'static str,
    },
    /// Null where the other version allows none.
    #[error("{field} is null")]
    UnexpectedNull {
        /// The field.
        field: &'static str,
    },
    /// The other version has no place for a value that must not be lost.
    #[error("{field} would be lost")]
    Lost {
        /// The field.
        field: &'static str,
    },
    /// Both forms together would take more memory than the guard allows for this body.
    #[error("the body would grow above {limit} bytes")]
    TooLarge {
        /// See [`guard::decoded_limit`].
        limit: usize,
    },
}

/// The lowest version of an API that the crate reads and writes.
pub fn floor(api_key: i16) -> Option<i16> {
    schema::request(api_key).map(|message| message.current_versions.first)
}

/// Whether the crate does not know this version because it is too old.
pub fn is_below_floor(api_key: i16, version: i16) -> bool {
    floor(api_key).is_some_and(|floor| version < floor)
}

/// A request's body as it would be at the API's [`floor`].
///
/// # Errors
/// [`LegacyError`] if it is malformed, or if rewriting and decoding it would together pass the guard's limit.
pub fn raise_request(api_key: i16, version: i16, body: &[u8]) -> Result<Bytes, LegacyError> {
    raise(api_key, version, body, None)
}

fn raise(
    api_key: i16,
    version: i16,
    body: &[u8],
    collected: Option<&mut transcode::Collected>,
) -> Result<Bytes, LegacyError> {
    let message = schema::request(api_key).ok_or(LegacyError::UnknownVersion { api_key, version })?;
    let decoded = guard::measure(api_key, version, body)?.decoded_bytes;
    let limit = guard::decoded_limit(body.len());
    let mut raised = BytesMut::with_capacity(body.len().min(limit));
    let (floor, most) = (message.current_versions.first, limit.saturating_sub(decoded));
    let rewritten = transcode::rewrite(message, version, floor, body, &mut raised, most, collected);
    rewritten.map_err(|error| match error {
        LegacyError::TooLarge { .. } => LegacyError::TooLarge { limit },
        other => other,
    })?;
    Ok(raised.freeze())
}

/// An answer's body that was encoded at the API's [`floor`], written in an older version.
///
/// # Errors
/// [`LegacyError::Lost`] if the old version cannot say what the answer says.
pub fn lower_response(api_key: i16, version: i16, body: &[u8], buffer: &mut BytesMut) -> Result<(), LegacyError> {
    let unknown = LegacyError::UnknownVersion { api_key, version };
    let message = schema::response(api_key).ok_or(unknown)?;
    transcode::rewrite(message, message.current_versions.first, version, body, buffer, usize::MAX, None)
}

#[cfg(test)]
mod tests;
