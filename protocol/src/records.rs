//! The records of a batch: a walk that allocates nothing, and a builder.
//!
//! ```text
//! length varint · attributes i8 · timestamp_delta varlong · offset_delta varint · key_length varint (negative: null)
//! · key · value_length varint (negative: null) · value · header_count varint · headers: key_length varint · key
//! · value_length varint (negative: null) · value
//! ```
//!
//! Varints are zig-zag coded. Keys and header keys are bytes, not text; headers keep their order and duplicates.
//! A record is checked as `DefaultRecord.readFrom` does: every length inside the record, nothing left over.
//! Absent: compression of what is walked over; see [`crate::compression`].

use bytes::{BufMut, BytesMut};

use crate::compression::{self, Codec, CompressionError, Level};
use crate::record_batch::{Attributes, BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD, TimestampType, recompute_crc};
use crate::types::{
    LeaderEpoch, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, Offset, ProducerEpoch,
    ProducerId, Timestamp,
};

/// Bytes of the longest varint of 32 bits.
const VARINT_BYTES_MAX: usize = 5;

/// Bytes that are not the records a batch declares. Kafka answers 87, INVALID_RECORD, to each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the declared number of records.
    #[error("Incorrect declared batch size, premature EOF reached")]
    PrematureEnd,
    /// Bytes are left after the declared number of records.
    #[error("Incorrect declared batch size, records still remaining in file")]
    BytesRemaining {
        /// Their number.
        bytes: usize,
    },
    /// The varint of a record's length never ends. Kafka's decoder does not expect this and fails as a whole.
    #[error("Varint is too long, the most significant bit in the 5th byte is set")]
    LengthTooLong,
    /// A field reaches over the end of its record, or a varint within it never ends.
    #[error("Found invalid record structure")]
    InvalidStructure,
    /// A record's fields fill fewer bytes than it declares.
    #[error("Invalid record size: expected to read {declared} bytes in record payload, but instead read {read}")]
    SizeMismatch {
        /// Bytes the record declares.
        declared: usize,
        /// Bytes its fields fill.
        read: usize,
    },
    /// A negative number of headers, or more than bytes are left.
    #[error("Found invalid number of record headers {count}")]
    HeaderCount {
        /// The declared number.
        count: i32,
    },
    /// A header without a key.
    #[error("Invalid negative header key size {size}")]
    HeaderKeySize {
        /// The declared size.
        size: i32,
    },
}

/// One record, borrowed from the batch's uncompressed bytes.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// Unused bits; kept by a broker that does not rebuild the batch.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// The key, `None` if null.
    pub key: Option<&'a [u8]>,
    /// The value, `None` if null: a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates included.
    pub headers: Headers<'a>,
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key; text by convention only.
    pub key: &'a [u8],
    /// The value, `None` if null.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record that has been checked: reading them cannot fail.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The encoded headers after their count.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        read_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count as usize, Some(self.count as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The `count` records of a batch's uncompressed `bytes`. The first error ends the walk; bytes after the last record
/// are one too.
pub fn records(bytes: &[u8], count: i32) -> Records<'_> {
    Records { bytes, left: count.max(0) as u32, ended: false }
}

/// Iterator of [`records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    left: u32,
    ended: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            let bytes = self.bytes.len();
            return (bytes > 0).then_some(Err(RecordError::BytesRemaining { bytes }));
        }
        self.left -= 1;
        let record = read_record(&mut self.bytes);
        self.ended = record.is_err();
        Some(record)
    }
}

#[inline]
fn read_record<'a>(bytes: &mut &'a [u8]) -> Result<RecordView<'a>, RecordError> {
    if bytes.is_empty() {
        return Err(RecordError::PrematureEnd);
    }
    let unread = bytes.len();
    let endless =
        || if unread >= VARINT_BYTES_MAX { RecordError::LengthTooLong } else { RecordError::InvalidStructure };
    let length = read_varint(bytes).ok_or_else(endless)?;
    let length = usize::try_from(length).map_err(|_| RecordError::InvalidStructure)?;
    let Some((mut body, rest)) = bytes.split_at_checked(length) else { return Err(RecordError::PrematureEnd) };
    *bytes = rest;
    let record = read_body(&mut body)?;
    if body.is_empty() {
        Ok(record)
    } else {
        Err(RecordError::SizeMismatch { declared: length, read: length - body.len() })
    }
}

#[inline]
fn read_body<'a>(body: &mut &'a [u8]) -> Result<RecordView<'a>, RecordError> {
    let invalid = RecordError::InvalidStructure;
    let attributes = read_byte(body).ok_or(invalid)? as i8;
    let timestamp_delta = read_varlong(body).ok_or(invalid)?;
    let offset_delta = read_varint(body).ok_or(invalid)?;
    let key = read_nullable(body)?;
    let value = read_nullable(body)?;
    let count = read_varint(body).ok_or(invalid)?;
    let headers = if count == 0 { Headers::default() } else { check_headers(body, count)? };
    Ok(RecordView { attributes, timestamp_delta, offset_delta, key, value, headers })
}

/// Walk over `count` headers once, so that [`Headers`] need not fail later.
fn check_headers<'a>(body: &mut &'a [u8], count: i32) -> Result<Headers<'a>, RecordError> {
    let all = *body;
    let count = u32::try_from(count)
        .ok()
        .filter(|count| *count as usize <= all.len())
        .ok_or(RecordError::HeaderCount { count })?;
    for _ in 0..count {
        read_header(body)?;
    }
    let bytes = all.get(..all.len() - body.len()).unwrap_or_default();
    Ok(Headers { count, bytes })
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, RecordError> {
    let size = read_varint(bytes).ok_or(RecordError::InvalidStructure)?;
    let length = usize::try_from(size).map_err(|_| RecordError::HeaderKeySize { size })?;
    let key = read_slice(bytes, length).ok_or(RecordError::InvalidStructure)?;
    let value = read_nullable(bytes)?;
    Ok(Header { key, value })
}

#[inline]
fn read_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

#[inline]
fn read_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (slice, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(slice)
}

#[inline]
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match usize::try_from(read_varint(bytes).ok_or(RecordError::InvalidStructure)?) {
        Ok(length) => read_slice(bytes, length).map(Some).ok_or(RecordError::InvalidStructure),
        Err(_) => Ok(None),
    }
}

#[inline]
fn read_varint(bytes: &mut &[u8]) -> Option<i32> {
    // Nearly every varint of a record is one byte.
    let first = read_byte(bytes)?;
    let mut value = u32::from(first & 0x7f);
    if first & 0x80 != 0 {
        let mut shift = 7;
        loop {
            let byte = read_byte(bytes)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return None;
            }
        }
    }
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

#[inline]
fn read_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let first = read_byte(bytes)?;
    let mut value = u64::from(first & 0x7f);
    if first & 0x80 != 0 {
        let mut shift = 7;
        loop {
            let byte = read_byte(bytes)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn put_varlong(buffer: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        buffer.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    buffer.push(left as u8);
}

fn put_varint(buffer: &mut Vec<u8>, value: i32) {
    put_varlong(buffer, i64::from(value));
}

fn varlong_bytes(value: i64) -> usize {
    let left = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (left | 1).leading_zeros() as usize).div_ceil(7)
}

/// Builds one batch of format 2, record by record.
///
/// Made for what a broker writes itself: recompressed batches, coordinators' records, markers; and for tests.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Level,
    log_append_time: Option<Timestamp>,
    records: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty, uncompressed batch at offset 0 with no producer and no leader epoch.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                leader_epoch: NO_LEADER_EPOCH,
                crc: 0,
                attributes: Attributes(0),
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            codec: Codec::None,
            level: Level::DEFAULT,
            log_append_time: None,
            records: Vec::new(),
        }
    }

    /// As [`BatchBuilder::new`], with room for so many bytes of uncompressed records.
    pub fn with_capacity(bytes: usize) -> BatchBuilder {
        BatchBuilder { records: Vec::with_capacity(bytes), ..BatchBuilder::new() }
    }

    /// Compress the records with `codec` at `level`.
    #[must_use]
    pub fn compression(mut self, codec: Codec, level: Level) -> BatchBuilder {
        self.codec = codec;
        self.level = level;
        self
    }

    /// Begin at this offset.
    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.header.base_offset = base_offset;
        self
    }

    /// Carry this leader epoch.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> BatchBuilder {
        self.header.leader_epoch = leader_epoch;
        self
    }

    /// Carry this idempotent producer's identity and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> BatchBuilder {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Belong to a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_transactional(transactional);
        self
    }

    /// Hold control records.
    #[must_use]
    pub fn control(mut self, control: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_control(control);
        self
    }

    /// Carry the broker's append time instead of the records' own timestamps.
    #[must_use]
    pub fn log_append_time(mut self, now: Timestamp) -> BatchBuilder {
        self.log_append_time = Some(now);
        self
    }

    /// Number of records so far.
    pub fn count(&self) -> usize {
        self.header.records_count as usize
    }

    /// Size of the batch so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records.len()
    }

    /// Add a record at the next offset.
    pub fn append<'h>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) -> &mut BatchBuilder {
        self.append_with_offset_delta(self.header.last_offset_delta + 1, timestamp, key, value, headers)
    }

    /// Add a record at a chosen distance from the base offset: gaps are legal where a cleaner writes.
    pub fn append_with_offset_delta<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) -> &mut BatchBuilder {
        let mut encoded_headers = Vec::new();
        let mut header_count = 0;
        for header in headers {
            header_count += 1;
            put_nullable(&mut encoded_headers, Some(header.key));
            put_nullable(&mut encoded_headers, header.value);
        }
        self.append_encoded(offset_delta, timestamp, key, value, header_count, &encoded_headers);
        self
    }

    /// Add a copy of `record` at the next offset; its attributes are not kept, as in Kafka.
    pub fn append_view(&mut self, timestamp: Timestamp, record: &RecordView<'_>) -> &mut BatchBuilder {
        let offset_delta = self.header.last_offset_delta + 1;
        let headers = &record.headers;
        self.append_encoded(offset_delta, timestamp, record.key, record.value, headers.count as i32, headers.bytes);
        self
    }

    fn append_encoded(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: i32,
        headers: &[u8],
    ) {
        if self.header.records_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        self.header.records_count += 1;
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        let length = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(i64::from(offset_delta))
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varlong_bytes(i64::from(header_count))
            + headers.len();
        self.records.reserve(length + 5);
        put_varint(&mut self.records, length as i32);
        self.records.push(0);
        put_varlong(&mut self.records, timestamp_delta);
        put_varint(&mut self.records, offset_delta);
        put_nullable(&mut self.records, key);
        put_nullable(&mut self.records, value);
        put_varint(&mut self.records, header_count);
        self.records.extend_from_slice(headers);
    }

    /// The finished batch. An empty one has no offsets of its own: its last offset lies before its base offset.
    ///
    /// # Errors
    /// [`CompressionError`] if the codec refuses the level.
    pub fn build(&self) -> Result<BytesMut, CompressionError> {
        let compressed;
        let records = if self.codec == Codec::None {
            &self.records
        } else {
            compressed = compression::compress(self.codec, self.level, &self.records)?;
            &compressed
        };
        let mut header = self.header;
        header.attributes = header.attributes.with_codec(self.codec);
        if let Some(now) = self.log_append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = now;
        }
        header.batch_length = (BATCH_HEADER_BYTES - LOG_OVERHEAD + records.len()) as i32;
        let mut batch = BytesMut::with_capacity(BATCH_HEADER_BYTES + records.len());
        batch.resize(BATCH_HEADER_BYTES, 0);
        header.write(&mut batch);
        batch.put_slice(records);
        recompute_crc(&mut batch);
        Ok(batch)
    }
}

fn put_nullable(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(buffer, bytes.len() as i32);
            buffer.extend_from_slice(bytes);
        }
        None => put_varint(buffer, -1),
    }
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(bytes.len() as i64) + bytes.len())
}

#[cfg(test)]
mod tests;
