//! Builds message sets of magic 0 and 1, as `MemoryRecordsBuilder` of Kafka 3.9 does.

use super::message_set::Magic;
use crate::compression::{self, Codec, CompressionError, Level};
use crate::record_batch::{Attributes, LOG_OVERHEAD, TimestampType};
use crate::types::{NO_TIMESTAMP, Offset, Timestamp};

/// Checksum, magic and attributes.
const HEADER_BYTES: usize = 6;

/// Builds one message set: plain messages one after the other, or one wrapper around them all.
#[derive(Clone, Debug)]
pub struct MessageSetBuilder {
    magic: Magic,
    codec: Codec,
    log_append_time: Option<Timestamp>,
    first_offset: Option<Offset>,
    last_offset: Offset,
    max_timestamp: Timestamp,
    messages: Vec<u8>,
}

impl MessageSetBuilder {
    /// An empty, uncompressed set.
    pub fn new(magic: Magic) -> MessageSetBuilder {
        MessageSetBuilder {
            magic,
            codec: Codec::None,
            log_append_time: None,
            first_offset: None,
            last_offset: 0,
            max_timestamp: NO_TIMESTAMP,
            messages: Vec::new(),
        }
    }

    /// Put the messages into a wrapper. Not for zstd, which came with format 2.
    #[must_use]
    pub fn compression(mut self, codec: Codec) -> MessageSetBuilder {
        self.codec = codec;
        self
    }

    /// Carry the broker's append time instead of the messages' own timestamps; no matter for magic 0.
    #[must_use]
    pub fn log_append_time(mut self, now: Timestamp) -> MessageSetBuilder {
        self.log_append_time = Some(now);
        self
    }

    /// Size of the messages so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.messages.len()
    }

    /// Add a message, behind those before it. Timestamps below -1 cannot be said and become -1.
    pub fn append(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> &mut MessageSetBuilder {
        let first_offset = *self.first_offset.get_or_insert(offset);
        self.last_offset = offset;
        let timestamp = self.log_append_time.unwrap_or(timestamp).max(NO_TIMESTAMP);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let is_relative = self.magic == Magic::V1 && self.codec != Codec::None;
        let stored_offset = if is_relative { offset.wrapping_sub(first_offset) } else { offset };
        let attributes = self.attributes(Codec::None);
        put_message(&mut self.messages, self.magic, stored_offset, attributes, timestamp, key, value);
        self
    }

    /// The finished set; nothing if it has no messages.
    ///
    /// # Errors
    /// [`CompressionError`] if the encoder fails.
    pub fn build(self) -> Result<Vec<u8>, CompressionError> {
        if self.codec == Codec::None || self.messages.is_empty() {
            return Ok(self.messages);
        }
        let compressed = match self.magic {
            Magic::V0 => compression::compress_for_magic_0(self.codec, &self.messages)?,
            Magic::V1 => compression::compress(self.codec, Level::DEFAULT, &self.messages)?,
        };
        let mut set = Vec::with_capacity(compressed.len() + 64);
        let attributes = self.attributes(self.codec);
        put_message(&mut set, self.magic, self.last_offset, attributes, self.max_timestamp, None, Some(&compressed));
        Ok(set)
    }

    fn attributes(&self, codec: Codec) -> Attributes {
        let has_append_time = self.magic == Magic::V1 && self.log_append_time.is_some();
        let timestamp_type = if has_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        Attributes(0).with_codec(codec).with_timestamp_type(timestamp_type)
    }
}

fn put_message(
    set: &mut Vec<u8>,
    magic: Magic,
    offset: Offset,
    attributes: Attributes,
    timestamp: Timestamp,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let timestamp_bytes = if magic == Magic::V0 { 0 } else { 8 };
    let size = HEADER_BYTES + timestamp_bytes + nullable_bytes(key) + nullable_bytes(value);
    set.reserve(LOG_OVERHEAD + size);
    set.extend_from_slice(&offset.to_be_bytes());
    set.extend_from_slice(&(size as i32).to_be_bytes());
    let crc_at = set.len();
    set.extend_from_slice(&[0; 4]);
    set.push(magic as u8);
    set.push(attributes.0 as u8);
    if magic == Magic::V1 {
        set.extend_from_slice(&timestamp.to_be_bytes());
    }
    put_nullable(set, key);
    put_nullable(set, value);
    let crc = crc32fast::hash(&set[crc_at + 4..]);
    set[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
}

fn put_nullable(set: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
    set.extend_from_slice(&length.to_be_bytes());
    set.extend_from_slice(bytes.unwrap_or_default());
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    4 + bytes.map_or(0, <[u8]>::len)
}
