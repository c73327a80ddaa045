//! Messages written by hand: versions that Kafka 4.3.1 serves and the `kafka-protocol` crate does not reach. Those that
//! are too old for it are rewritten by [`crate::legacy`].
//!
//! One file per API. Each offers the same functions for every version, so that a handler need not know which ones the
//! crate reaches. Bodies must have passed the guard: what is left to the crate here trusts the counts in them.

pub mod describe_log_dirs;
pub mod list_offsets;
pub mod write_txn_markers;

pub use crate::legacy::LegacyError;
pub use crate::wire::WireError;

/// A body that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// By the code in this module.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// By the rewriting of a version that is older than the crate's.
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    /// By the `kafka-protocol` crate, whose errors have no type.
    #[error("{0}")]
    Crate(String),
}

pub(crate) fn crate_error(error: impl std::fmt::Display) -> MessageError {
    MessageError::Crate(error.to_string())
}
