//! Kafka's wire format, as pure code.
//!
//! Frames and their headers, the versions each API is served in, record batches (read in place, patched in place),
//! compression with bounded output, and the few messages that are written by hand. Message bodies come from the
//! `kafka-protocol` crate; its `records` module is never used (it loses headers, timestamps and whole batches).
//!
//! Absent on purpose: files, sockets, clocks, threads. Bytes from outside never panic and never make this crate
//! allocate more than a small multiple of what was really received or decompressed.

pub mod api;
mod bytes_at;
pub mod compression;
pub mod control_record;
pub mod coordinator_key;
pub mod fetch_response;
pub mod file_range;
pub mod frame;
pub mod guard;
pub mod kafka_uuid;
pub mod legacy;
pub mod messages;
pub mod produce_request;
pub mod record_batch;
pub mod records;
pub mod schema;
#[cfg(test)]
mod test_support;
pub mod types;
mod wire;

pub use kafka_protocol;

pub use compression::{Codec, CompressionError, Level};
pub use file_range::{Chunk, FileRange, FileSource};
pub use frame::{FrameError, RequestHead};
pub use record_batch::{Attributes, BatchError, BatchHeader, BatchView, TimestampType};
pub use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
