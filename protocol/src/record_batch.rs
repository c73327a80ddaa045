//! The record batch of message format 2: its header at fixed offsets, read in place and patched in place.
//!
//! ```text
//!  0 base_offset i64        21 attributes i16          43 producer_id i64
//!  8 batch_length i32       23 last_offset_delta i32   51 producer_epoch i16
//! 12 leader_epoch i32       27 base_timestamp i64      53 base_sequence i32
//! 16 magic i8 = 2           35 max_timestamp i64       57 records_count i32
//! 17 crc u32 of 21..end                                61 records, compressed as one block
//! ```
//!
//! `base_offset` and `leader_epoch` lie outside the checksum, so a leader sets them without touching it.
//! Source: `org.apache.kafka.common.record.internal.DefaultRecordBatch` and `ByteBufferLogInputStream`.
//! Absent: message sets of magic 0 and 1; they are recognised ([`BatchError::OldMagic`]) and left to `legacy`.

use crate::bytes_at::{i16_at, i32_at, i64_at, u32_at};
use crate::compression::Codec;
use crate::types::{LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of `base_offset` and `batch_length`, which `batch_length` does not count.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes one must have to know a batch's size and format: up to and including `magic`.
pub const HEADER_BYTES_UP_TO_MAGIC: usize = 17;
/// The message format of today.
pub const MAGIC_V2: i8 = 2;

/// A message set of magic 0 needs at least this `batch_length`.
const OLD_RECORD_OVERHEAD: i32 = 14;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORDS_COUNT_AT: usize = 57;

/// Bytes that are no batch of today's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the part that was to be read.
    #[error("{available} bytes where a record batch needs {needed}")]
    TooShort {
        /// Bytes that must be there.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// A size no message of any format can have. Kafka answers 2, CORRUPT_MESSAGE.
    #[error("Record size {size} is less than the minimum record overhead (14)")]
    SizeTooSmall {
        /// The declared `batch_length`.
        size: i32,
    },
    /// A size that a batch of format 2 cannot have. Kafka answers 2, CORRUPT_MESSAGE.
    #[error("Record batch is corrupt (the size {size_in_bytes} is smaller than the minimum allowed overhead 61)")]
    HeaderCutShort {
        /// The declared size of the whole batch.
        size_in_bytes: usize,
    },
    /// A format nobody has defined. Kafka answers 2, CORRUPT_MESSAGE.
    #[error("Invalid magic found in record: {magic}")]
    UnknownMagic {
        /// The format byte.
        magic: i8,
    },
    /// A message of format 0 or 1, in a frame of `size_in_bytes`.
    #[error("message format {magic} where a record batch of format 2 is needed")]
    OldMagic {
        /// 0 or 1.
        magic: i8,
        /// Size of the message with its offset and size fields.
        size_in_bytes: usize,
    },
}

/// Who decided a batch's timestamps (attribute bit 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker, once for the batch: `max_timestamp` counts for each of its records.
    LogAppendTime,
}

/// The attribute bits of a batch. Unused bits are kept as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b0111;
    const TIMESTAMP_TYPE: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec, or its id (5 to 7) if nobody has defined one.
    ///
    /// # Errors
    /// The undefined id.
    pub fn codec(self) -> Result<Codec, u8> {
        let id = (self.0 & Self::CODEC) as u8;
        Codec::from_id(id).ok_or(id)
    }

    /// Who decided the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::TIMESTAMP_TYPE == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which consumers do not see.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `base_timestamp` is the time after which the cleaner may drop tombstones and markers.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// These attributes with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes((self.0 & !Self::CODEC) | i16::from(codec.id()))
    }

    /// These attributes with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(Self::TIMESTAMP_TYPE, timestamp_type == TimestampType::LogAppendTime)
    }

    /// These attributes with the transactional bit set or cleared.
    #[must_use]
    pub fn with_transactional(self, transactional: bool) -> Attributes {
        self.with(Self::TRANSACTIONAL, transactional)
    }

    /// These attributes with the control bit set or cleared.
    #[must_use]
    pub fn with_control(self, control: bool) -> Attributes {
        self.with(Self::CONTROL, control)
    }

    /// These attributes with the delete horizon bit set or cleared.
    #[must_use]
    pub fn with_delete_horizon(self, delete_horizon: bool) -> Attributes {
        self.with(Self::DELETE_HORIZON, delete_horizon)
    }

    fn with(self, bit: i16, set: bool) -> Attributes {
        Attributes(if set { self.0 | bit } else { self.0 & !bit })
    }
}

/// The fields of a batch before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch's first record, also of one that compaction has removed.
    pub base_offset: Offset,
    /// Size of the batch without its first 12 bytes.
    pub batch_length: i32,
    /// Leader epoch under which the batch was appended, -1 before that. Not in the checksum.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and what kind of batch this is.
    pub attributes: Attributes,
    /// Offset of the last record minus `base_offset`; compaction preserves it.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; the delete horizon if the attributes say so; -1 if empty.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records, or the append time for `LogAppendTime`.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, -1 if none.
    pub producer_id: ProducerId,
    /// The producer's epoch, -1 if none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, -1 if none.
    pub base_sequence: i32,
    /// Number of records; less than the offsets span after compaction.
    pub records_count: i32,
}

impl BatchHeader {
    /// Read a header from the first 61 bytes of `bytes`. What follows them is not looked at.
    ///
    /// # Errors
    /// [`BatchError`]: the bytes are too few, the declared size is impossible or the format is not 2.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let size_in_bytes = size_at_start(bytes)?;
        if size_in_bytes < BATCH_HEADER_BYTES {
            return Err(BatchError::HeaderCutShort { size_in_bytes });
        }
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::TooShort { needed: BATCH_HEADER_BYTES, available: bytes.len() });
        };
        // The array's length is known, so the compiler drops every check below.
        Ok(BatchHeader {
            base_offset: i64_at(header, 0).unwrap_or_default(),
            batch_length: i32_at(header, 8).unwrap_or_default(),
            leader_epoch: i32_at(header, LEADER_EPOCH_AT).unwrap_or_default(),
            crc: u32_at(header, CRC_AT).unwrap_or_default(),
            attributes: Attributes(i16_at(header, ATTRIBUTES_AT).unwrap_or_default()),
            last_offset_delta: i32_at(header, LAST_OFFSET_DELTA_AT).unwrap_or_default(),
            base_timestamp: i64_at(header, BASE_TIMESTAMP_AT).unwrap_or_default(),
            max_timestamp: i64_at(header, MAX_TIMESTAMP_AT).unwrap_or_default(),
            producer_id: i64_at(header, PRODUCER_ID_AT).unwrap_or_default(),
            producer_epoch: i16_at(header, PRODUCER_EPOCH_AT).unwrap_or_default(),
            base_sequence: i32_at(header, BASE_SEQUENCE_AT).unwrap_or_default(),
            records_count: i32_at(header, RECORDS_COUNT_AT).unwrap_or_default(),
        })
    }

    /// Write these fields over the first 61 bytes of `batch`.
    ///
    /// # Panics
    /// If `batch` is shorter than a header.
    pub fn write(&self, batch: &mut [u8]) {
        batch[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        batch[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        put(batch, LEADER_EPOCH_AT, &self.leader_epoch.to_be_bytes());
        put(batch, MAGIC_AT, &MAGIC_V2.to_be_bytes());
        put(batch, CRC_AT, &self.crc.to_be_bytes());
        put(batch, ATTRIBUTES_AT, &self.attributes.0.to_be_bytes());
        put(batch, LAST_OFFSET_DELTA_AT, &self.last_offset_delta.to_be_bytes());
        put(batch, BASE_TIMESTAMP_AT, &self.base_timestamp.to_be_bytes());
        put(batch, MAX_TIMESTAMP_AT, &self.max_timestamp.to_be_bytes());
        put(batch, PRODUCER_ID_AT, &self.producer_id.to_be_bytes());
        put(batch, PRODUCER_EPOCH_AT, &self.producer_epoch.to_be_bytes());
        put(batch, BASE_SEQUENCE_AT, &self.base_sequence.to_be_bytes());
        put(batch, RECORDS_COUNT_AT, &self.records_count.to_be_bytes());
    }

    /// Size of the whole batch.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    /// Offset of the last record, also of one that compaction has removed.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset of the record after this batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence number of the last record; wraps from `i32::MAX` to 0. -1 without a base sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether the batch names an idempotent producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The time after which the cleaner may drop this batch's tombstones and markers.
    pub fn delete_horizon_ms(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Timestamp of a record of this batch, as consumers see it.
    pub fn record_timestamp(&self, timestamp_delta: i64) -> Timestamp {
        match self.attributes.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }
}

/// `sequence` moved on by `increment`, wrapping from `i32::MAX` to 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(increment)
    }
}

/// Size of the batch that begins at the start of `bytes`, from its first 17 bytes.
///
/// # Errors
/// [`BatchError`], as for [`BatchHeader::parse`], but the bytes after the first 17 need not be there.
#[inline]
pub fn size_at_start(bytes: &[u8]) -> Result<usize, BatchError> {
    let too_short = BatchError::TooShort { needed: HEADER_BYTES_UP_TO_MAGIC, available: bytes.len() };
    let size = i32_at(bytes, 8).ok_or(too_short)?;
    if size < OLD_RECORD_OVERHEAD {
        return Err(BatchError::SizeTooSmall { size });
    }
    let size_in_bytes = LOG_OVERHEAD + size as usize;
    match bytes.get(MAGIC_AT).map(|magic| *magic as i8) {
        None => Err(too_short),
        Some(MAGIC_V2) => Ok(size_in_bytes),
        Some(magic @ (0 | 1)) => Err(BatchError::OldMagic { magic, size_in_bytes }),
        Some(magic) => Err(BatchError::UnknownMagic { magic }),
    }
}

/// A whole batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`; what follows it is left out.
    ///
    /// # Errors
    /// [`BatchError`]; `TooShort` if the batch is cut off.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_in_bytes();
        match bytes.get(..needed) {
            Some(bytes) => Ok(BatchView { header, bytes }),
            None => Err(BatchError::TooShort { needed, available: bytes.len() }),
        }
    }

    /// The fields before the records.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, compressed if the attributes name a codec.
    pub fn record_bytes(&self) -> &'a [u8] {
        self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }

    /// Whether the stored checksum is that of the bytes.
    pub fn crc_is_valid(&self) -> bool {
        self.computed_crc() == self.header.crc
    }

    /// The checksum the bytes should carry.
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(self.bytes.get(ATTRIBUTES_AT..).unwrap_or_default())
    }
}

/// The batches of `bytes`, one after the other. A trailing batch that is cut off ends the walk silently, as the end
/// of a fetch answer does; [`Batches::is_truncated`] then tells. An error ends it too, except
/// [`BatchError::OldMagic`], after which the walk goes on behind that message.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, failed: false }
}

/// Iterator of [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Bytes walked over: where the next batch begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What has not been walked over.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// Whether the walk has ended before the last byte. Meaningful after `next` has returned `None`.
    pub fn is_truncated(&self) -> bool {
        !self.rest().is_empty()
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match BatchView::parse(self.rest()) {
            Ok(view) => {
                self.position += view.bytes.len();
                Some(Ok(view))
            }
            Err(BatchError::TooShort { .. }) => None,
            Err(error @ BatchError::OldMagic { size_in_bytes, .. }) => {
                if size_in_bytes > self.rest().len() {
                    return None;
                }
                self.position += size_in_bytes;
                Some(Err(error))
            }
            Err(BatchError::HeaderCutShort { size_in_bytes }) if size_in_bytes > self.rest().len() => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// Set the base offset of the batch at the start of `batch`. The checksum stays valid.
///
/// # Panics
/// If `batch` is shorter than a header, as do the other functions that patch one.
pub fn set_base_offset(batch: &mut [u8], base_offset: Offset) {
    put(batch, 0, &base_offset.to_be_bytes());
}

/// Set the leader epoch of the batch at the start of `batch`. The checksum stays valid.
pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: LeaderEpoch) {
    put(batch, LEADER_EPOCH_AT, &leader_epoch.to_be_bytes());
}

/// Set timestamp type and largest timestamp; the checksum is computed again if that changes anything.
///
/// As in Kafka a change keeps only the attribute bits with a meaning (0 to 6). `batch` must be exactly one batch.
/// Returns whether anything changed.
pub fn set_max_timestamp_and_type(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: Timestamp) -> bool {
    let attributes = Attributes(i16_at(batch, ATTRIBUTES_AT).unwrap_or_default());
    if attributes.timestamp_type() == timestamp_type && i64_at(batch, MAX_TIMESTAMP_AT) == Some(max_timestamp) {
        return false;
    }
    let attributes = Attributes(attributes.0 & 0x7f).with_timestamp_type(timestamp_type);
    put(batch, ATTRIBUTES_AT, &attributes.0.to_be_bytes());
    put(batch, MAX_TIMESTAMP_AT, &max_timestamp.to_be_bytes());
    recompute_crc(batch);
    true
}

/// Store the checksum of the bytes. `batch` must be exactly one batch.
pub fn recompute_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
    put(batch, CRC_AT, &crc.to_be_bytes());
}

fn put(batch: &mut [u8], at: usize, value: &[u8]) {
    batch[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests;
