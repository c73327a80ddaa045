//! Message sets of magic 0 and 1, the record format before Kafka 0.11: a walk that borrows, with bounded decompression.
//!
//! ```text
//! offset i64 · size i32 · crc u32 (CRC-32 of what follows) · magic i8 · attributes i8 · [timestamp i64, magic 1]
//! · key_length i32 (negative: null) · key · value_length i32 (negative: null) · value
//! ```
//!
//! A set is messages one after the other; the last one may be cut off. A compressed message is a *wrapper*: its value
//! is a message set of its own, compressed as a whole, and its offset is that of the last message inside. The messages
//! inside count their offsets from 0 (magic 1) or carry the log's offsets (magic 0). Wrappers do not nest.
//!
//! ```text
//! top level of a log          inside the wrapper at 7, magic 1     magic 0
//! | 4 | 5..=7, wrapper at 7 |   | 0 | 1 | 2 |                        | 5 | 6 | 7 |
//! ```
//!
//! Reading is as lenient as Kafka's and in the same order, since what an append answers depends on the first thing
//! found. Source: `LegacyRecord`, `AbstractLegacyRecordBatch`, `ByteBufferLogInputStream` of Kafka 3.9.

use crate::bytes_at::{i32_at, i64_at, u32_at};
use crate::compression::{self, Codec, CompressionError};
use crate::record_batch::{self, Attributes, BatchError, BatchHeader, LOG_OVERHEAD, TimestampType};
use crate::types::{NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, Offset, Timestamp};

/// Least number of bytes after `size`: those of a message of magic 0 with null key and null value.
const SIZE_MIN: usize = 14;
/// Codec and timestamp type; the other bits mean something in batches of format 2 only.
const USED_ATTRIBUTES: i16 = 0b1111;
const CRC_AT: usize = LOG_OVERHEAD;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 17;
const TIMESTAMP_AT: usize = 18;
const KEY_AT_MAGIC_0: usize = 18;
const KEY_AT_MAGIC_1: usize = 26;

/// The formats of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Magic {
    /// Kafka 0.7 to 0.9: no timestamps, offsets inside a wrapper are the log's.
    V0 = 0,
    /// Kafka 0.10: timestamps, offsets inside a wrapper are relative.
    V1 = 1,
}

/// What is wrong with a message set, with the code that Kafka answers to its producer.
#[derive(Debug, thiserror::Error)]
pub enum MessageSetError {
    /// 2 CORRUPT_MESSAGE: an impossible size or an undefined format.
    #[error(transparent)]
    Frame(BatchError),
    /// 2 CORRUPT_MESSAGE.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    WrongCrc {
        /// The checksum in the message.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: a key or a value reaches over the end of its message.
    #[error("a key or a value reaches over the end of its message")]
    Structure,
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: an id of 5 to 7.
    #[error("Unknown compression type id: {id}")]
    UnknownCodec {
        /// The id.
        id: u8,
    },
    /// 87 INVALID_RECORD: zstd came with format 2.
    #[error("Invalid wrapper compressionType found in legacy deep record iterator {magic}")]
    Zstd {
        /// The wrapper's format.
        magic: i8,
    },
    /// 87 INVALID_RECORD: a wrapper without a value.
    #[error("Found invalid compressed record set with null value (magic = {magic})")]
    NullValue {
        /// The wrapper's format.
        magic: i8,
    },
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: broken or truncated compressed data.
    #[error(transparent)]
    Undecodable(CompressionError),
    /// 10 MESSAGE_TOO_LARGE: no rule of Kafka's but the caller's bound.
    #[error("the decompressed messages exceed {max_output} bytes")]
    DecompressedTooLarge {
        /// The bound.
        max_output: usize,
    },
    /// 87 INVALID_RECORD: a wrapper without a whole message inside.
    #[error("Found invalid compressed record set with no inner records")]
    NoInnerMessages,
    /// 87 INVALID_RECORD: a wrapper of magic 1 whose offset is neither 0 nor that of its last message or behind it.
    #[error(
        "Found invalid wrapper offset in compressed v1 message set, wrapper offset '{wrapper}' is less than the last \
         inner message offset '{last_inner}' and it is not zero."
    )]
    WrapperOffset {
        /// Offset of the wrapper.
        wrapper: Offset,
        /// Relative offset of its last message.
        last_inner: Offset,
    },
    /// 87 INVALID_RECORD.
    #[error("Inner messages must not be compressed")]
    Nested,
}

impl MessageSetError {
    /// Kafka's code for this error, as the documentation of the variants says.
    pub fn code(&self) -> i16 {
        match self {
            MessageSetError::Frame(_) | MessageSetError::WrongCrc { .. } => 2,
            MessageSetError::DecompressedTooLarge { .. } => 10,
            MessageSetError::Structure | MessageSetError::UnknownCodec { .. } | MessageSetError::Undecodable(_) => -1,
            MessageSetError::Zstd { .. }
            | MessageSetError::NullValue { .. }
            | MessageSetError::NoInnerMessages
            | MessageSetError::WrapperOffset { .. }
            | MessageSetError::Nested => 87,
        }
    }
}

/// A whole message, borrowed; a wrapper if it is compressed. Key and value are checked when they are read.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The message with its offset and size, at least [`SIZE_MIN`] bytes more than those.
    bytes: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// The message at the start of `bytes`; what follows it is left out.
    ///
    /// # Errors
    /// [`BatchError`]: `TooShort` if the message is cut off, `UnknownMagic` for every format but 0 and 1.
    pub fn parse(bytes: &'a [u8]) -> Result<MessageView<'a>, BatchError> {
        match record_batch::size_at_start(bytes) {
            Err(BatchError::OldMagic { size_in_bytes, .. }) => match bytes.get(..size_in_bytes) {
                Some(bytes) => Ok(MessageView { bytes }),
                None => Err(BatchError::TooShort { needed: size_in_bytes, available: bytes.len() }),
            },
            Ok(_) => Err(BatchError::UnknownMagic { magic: record_batch::MAGIC_V2 }),
            Err(error) => Err(error),
        }
    }

    /// The message at the start of the inside of a wrapper, where Kafka does not look at the format yet. `None` if it
    /// is cut off.
    fn parse_inner(bytes: &'a [u8]) -> Result<Option<MessageView<'a>>, BatchError> {
        let Some(size) = i32_at(bytes, 8) else { return Ok(None) };
        if size < SIZE_MIN as i32 {
            return Err(BatchError::SizeTooSmall { size });
        }
        Ok(bytes.get(..LOG_OVERHEAD + size as usize).map(|bytes| MessageView { bytes }))
    }

    /// The stored offset: the message's own, the last one inside for a wrapper, a relative one inside a wrapper of
    /// magic 1, whatever the client liked in a Produce request.
    pub fn offset(&self) -> Offset {
        i64_at(self.bytes, 0).unwrap_or_default()
    }

    /// The format: 0 or 1, unless the message comes from a wrapper, where it may be anything.
    pub fn magic(&self) -> i8 {
        self.byte_at(MAGIC_AT) as i8
    }

    /// The attribute bits: codec and timestamp type stand where they stand in a batch of format 2.
    pub fn attributes(&self) -> Attributes {
        Attributes(i16::from(self.byte_at(ATTRIBUTES_AT)))
    }

    /// The codec of a wrapper, `None` for a plain message.
    ///
    /// # Errors
    /// `UnknownCodec`.
    pub fn codec(&self) -> Result<Codec, MessageSetError> {
        self.attributes().codec().map_err(|id| MessageSetError::UnknownCodec { id })
    }

    /// Who decided the timestamp; `CreateTime` for magic 0, which has none.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic() == 0 { TimestampType::CreateTime } else { self.attributes().timestamp_type() }
    }

    /// The stored timestamp: of a wrapper the largest inside, or the append time; -1 for magic 0.
    pub fn timestamp(&self) -> Timestamp {
        if self.magic() == 0 { NO_TIMESTAMP } else { i64_at(self.bytes, TIMESTAMP_AT).unwrap_or(NO_TIMESTAMP) }
    }

    /// The whole message, offset and size included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the stored checksum is that of the bytes.
    pub fn crc_is_valid(&self) -> bool {
        self.check_crc().is_ok()
    }

    /// As [`MessageView::crc_is_valid`].
    ///
    /// # Errors
    /// `WrongCrc`.
    pub fn check_crc(&self) -> Result<(), MessageSetError> {
        let stored = u32_at(self.bytes, CRC_AT).unwrap_or_default();
        let computed = self.computed_crc();
        if stored == computed { Ok(()) } else { Err(MessageSetError::WrongCrc { stored, computed }) }
    }

    /// The checksum the bytes should carry.
    pub fn computed_crc(&self) -> u32 {
        crc32fast::hash(self.bytes.get(MAGIC_AT..).unwrap_or_default())
    }

    /// Whether there is a key, without a look at its bytes.
    ///
    /// # Errors
    /// `Structure` if the message ends before the key's length.
    pub fn has_key(&self) -> Result<bool, MessageSetError> {
        i32_at(self.bytes, self.key_at()).map(|length| length >= 0).ok_or(MessageSetError::Structure)
    }

    /// The key, `None` if null.
    ///
    /// # Errors
    /// `Structure`, for the key only.
    pub fn key(&self) -> Result<Option<&'a [u8]>, MessageSetError> {
        self.nullable(self.key_at()).map(|(key, _)| key).ok_or(MessageSetError::Structure)
    }

    /// The value, `None` if null. Bytes behind it are ignored, as in Kafka.
    ///
    /// # Errors
    /// `Structure`.
    pub fn value(&self) -> Result<Option<&'a [u8]>, MessageSetError> {
        let value = self.nullable(self.key_at()).and_then(|(_, value_at)| self.nullable(value_at));
        value.map(|(value, _)| value).ok_or(MessageSetError::Structure)
    }

    /// The messages in this one: those inside a wrapper, decompressed into `scratch`, or the message itself.
    ///
    /// # Errors
    /// [`MessageSetError`]: the wrapper is not one, holds more than `max_output` bytes, or an impossible frame.
    pub fn records<'b>(
        &self,
        max_output: usize,
        scratch: &'b mut Vec<u8>,
    ) -> Result<MessageRecords<'b>, MessageSetError>
    where
        'a: 'b,
    {
        let codec = self.codec()?;
        if codec == Codec::None {
            let plain = MessageRecords { bytes: self.bytes, base_offset: 0, wrapper: Wrapper::None };
            return Ok(plain);
        }
        self.decompress_into(codec, max_output, scratch)?;
        let mut last_inner = None;
        let mut rest = &scratch[..];
        while let Some(message) = MessageView::parse_inner(rest).map_err(MessageSetError::Frame)? {
            last_inner = Some(message.offset());
            rest = rest.get(message.bytes.len()..).unwrap_or_default();
        }
        let last_inner = last_inner.ok_or(MessageSetError::NoInnerMessages)?;
        let wrapper = self.offset();
        let base_offset = match self.magic() {
            // Some versions of librdkafka leave the wrapper's offset at 0.
            1 if wrapper == 0 => 0,
            1 if wrapper < last_inner => return Err(MessageSetError::WrapperOffset { wrapper, last_inner }),
            1 => wrapper.wrapping_sub(last_inner),
            _ => 0,
        };
        let log_append_time = (self.timestamp_type() == TimestampType::LogAppendTime).then(|| self.timestamp());
        Ok(MessageRecords { bytes: scratch, base_offset, wrapper: Wrapper::Around { log_append_time } })
    }

    fn decompress_into(&self, codec: Codec, max_output: usize, scratch: &mut Vec<u8>) -> Result<(), MessageSetError> {
        let magic = self.magic();
        if codec == Codec::Zstd {
            return Err(MessageSetError::Zstd { magic });
        }
        let compressed = self.value()?.ok_or(MessageSetError::NullValue { magic })?;
        let decompressed = match magic {
            0 => compression::decompress_of_magic_0_into(codec, compressed, max_output, scratch),
            _ => compression::decompress_into(codec, compressed, max_output, scratch),
        };
        decompressed.map_err(|error| match error {
            CompressionError::TooLarge { max_output, .. } => MessageSetError::DecompressedTooLarge { max_output },
            error => MessageSetError::Undecodable(error),
        })
    }

    /// What a walk over a log needs to know of this message, in the form of a batch's header.
    ///
    /// The first offset inside a wrapper cannot be told without decompressing it: base offset and last offset are both
    /// the stored one, as where Kafka walks over such logs. There is no producer and no leader epoch.
    pub fn as_batch_header(&self) -> BatchHeader {
        BatchHeader {
            base_offset: self.offset(),
            batch_length: (self.bytes.len() - LOG_OVERHEAD) as i32,
            leader_epoch: NO_LEADER_EPOCH,
            crc: u32_at(self.bytes, CRC_AT).unwrap_or_default(),
            attributes: Attributes(self.attributes().0 & USED_ATTRIBUTES),
            last_offset_delta: 0,
            base_timestamp: self.timestamp(),
            max_timestamp: self.timestamp(),
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            records_count: 1,
        }
    }

    /// As [`MessageView::as_batch_header`] from the first bytes of a message that need not be whole.
    ///
    /// # Errors
    /// [`BatchError`], as for [`MessageView::parse`]; `TooShort` without the first 26 bytes of a message of magic 1.
    pub fn peek_batch_header(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let (magic, size_in_bytes) = match record_batch::size_at_start(bytes) {
            Err(BatchError::OldMagic { magic, size_in_bytes }) => (magic, size_in_bytes),
            Ok(_) => return Err(BatchError::UnknownMagic { magic: record_batch::MAGIC_V2 }),
            Err(error) => return Err(error),
        };
        let needed = if magic == 0 { KEY_AT_MAGIC_0 } else { KEY_AT_MAGIC_1 };
        let needed = needed.min(size_in_bytes);
        let start = bytes.get(..size_in_bytes.min(bytes.len())).unwrap_or_default();
        if start.len() < needed {
            return Err(BatchError::TooShort { needed, available: bytes.len() });
        }
        let header = MessageView { bytes: start }.as_batch_header();
        Ok(BatchHeader { batch_length: (size_in_bytes - LOG_OVERHEAD) as i32, ..header })
    }

    fn key_at(&self) -> usize {
        if self.magic() == 0 { KEY_AT_MAGIC_0 } else { KEY_AT_MAGIC_1 }
    }

    /// The bytes whose length stands at `at`, and where they end.
    fn nullable(&self, at: usize) -> Option<(Option<&'a [u8]>, usize)> {
        let start = at + 4;
        let Ok(length) = usize::try_from(i32_at(self.bytes, at)?) else { return Some((None, start)) };
        let end = start.checked_add(length)?;
        Some((Some(self.bytes.get(start..end)?), end))
    }

    fn byte_at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }
}

/// What stands around the messages of a walk.
#[derive(Clone, Copy, Debug)]
enum Wrapper {
    None,
    Around { log_append_time: Option<Timestamp> },
}

/// The messages in a message: see [`MessageView::records`].
#[derive(Clone, Debug)]
pub struct MessageRecords<'a> {
    bytes: &'a [u8],
    base_offset: Offset,
    wrapper: Wrapper,
}

/// A message that is no wrapper, as a consumer sees it.
#[derive(Clone, Copy, Debug)]
pub struct MessageRecord<'a> {
    /// The offset in the log.
    pub offset: Offset,
    /// The timestamp, that of the wrapper if the broker set it; -1 for magic 0.
    pub timestamp: Timestamp,
    /// The message, for its key, value, format and checksum.
    pub message: MessageView<'a>,
}

impl<'a> Iterator for MessageRecords<'a> {
    type Item = Result<MessageRecord<'a>, MessageSetError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The frames were checked when the walk was made.
        let message = MessageView::parse_inner(self.bytes).ok().flatten()?;
        self.bytes = self.bytes.get(message.bytes.len()..).unwrap_or_default();
        let log_append_time = match self.wrapper {
            Wrapper::None => None,
            Wrapper::Around { log_append_time } => {
                match message.codec() {
                    Ok(Codec::None) => {}
                    Ok(_) => return Some(Err(MessageSetError::Nested)),
                    Err(error) => return Some(Err(error)),
                }
                log_append_time.filter(|_| message.magic() == 1)
            }
        };
        Some(Ok(MessageRecord {
            offset: self.base_offset.wrapping_add(message.offset()),
            timestamp: log_append_time.unwrap_or_else(|| message.timestamp()),
            message,
        }))
    }
}

/// The messages of a set, wrappers as they are. A trailing one that is cut off ends the walk silently.
pub fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages { bytes, position: 0, failed: false }
}

/// Iterator of [`messages`]. An error ends the walk.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl Messages<'_> {
    /// Bytes walked over: where the next message begins.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<MessageView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match MessageView::parse(self.bytes.get(self.position..).unwrap_or_default()) {
            Ok(message) => {
                self.position += message.bytes.len();
                Some(Ok(message))
            }
            Err(BatchError::TooShort { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
