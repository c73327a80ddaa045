//! Record batches as message sets of magic 0 or 1, for consumers from before Kafka 0.11 (Fetch v0-3).
//!
//! What the old formats cannot say is left out: headers, producers, transactions, control batches. Compression is kept,
//! one wrapper for a batch; messages of a format the consumer understands are copied as they are. An uncompressed batch
//! becomes single messages, of which those below the wanted offset are left out (some versions of librdkafka rely on
//! that); a compressed one stays whole, as in format 1 itself.
//! Source: `RecordsUtil.downConvert`, `LazyDownConversionRecords` of Kafka 3.9. Differences: timestamps below -1 become
//! -1 instead of failing the fetch, and no bytes are sent to fill a size that was announced before.

use std::mem;

use super::message_set::{Magic, MessageSetError, MessageView};
use super::message_set_builder::MessageSetBuilder;
use crate::compression::{Codec, CompressionError, decompress_into};
use crate::record_batch::{BatchError, BatchView, TimestampType};
use crate::records::{RecordError, records};
use crate::types::Offset;

/// What one batch may become: its records uncompressed, and its messages before they are compressed again.
pub const DOWN_CONVERTED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A batch may in any case become so many times larger: seven bytes of an empty record are 34 as a message, and whoever
/// allows large batches allows what honest ones become.
const GROWTH_MAX: usize = 8;

/// A message set made of batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownConverted {
    /// Whole messages; empty if the batches hold nothing that the format can say.
    pub message_set: Vec<u8>,
    /// The offset behind the last batch that was converted or left out, the wanted offset if there was none. If the
    /// message set is empty and this lies above the wanted offset, then only from here on there is something to find:
    /// a consumer that is sent nothing would ask for the same offset for ever.
    pub next_offset: Offset,
}

/// Why the first batch with something to say could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum DownConvertError {
    /// 76 UNSUPPORTED_COMPRESSION_TYPE.
    #[error("Down-conversion of zstandard-compressed batches is not supported")]
    Zstd,
    /// The bytes are no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch's codec has an undefined id.
    #[error("Unknown compression type id: {id}")]
    UnknownCodec {
        /// The id.
        id: u8,
    },
    /// The batch's records are not what its header says.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// A message of an older format is malformed.
    #[error(transparent)]
    Message(#[from] MessageSetError),
    /// The batch cannot be decompressed, or its messages not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The batch would become too large.
    #[error("a batch would become a message set of more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

/// Convert the whole batches of `batches`, a piece of a log in which formats may be mixed, for a consumer that wants
/// the records from `first_offset` on. A trailing batch that is cut off is left out.
///
/// The first batch that has something to say is converted whatever its size, up to `converted_bytes_max`
/// ([`DOWN_CONVERTED_BYTES_MAX`] if nothing speaks for another bound) or eight times its size; more follow as long as all of them fit into as
/// many bytes as `batches` has. No more than two batches are in memory at once, besides the message set.
///
/// # Errors
/// [`DownConvertError`] about the first batch only; before a later one the conversion ends, and the consumer will
/// find the error when it asks for that one.
pub fn down_convert(
    batches: &[u8],
    target: Magic,
    first_offset: Offset,
    converted_bytes_max: usize,
) -> Result<DownConverted, DownConvertError> {
    convert_up_to(batches.len(), batches, target, first_offset, converted_bytes_max)
}

/// As [`down_convert`] with the size of the message set behind its first batch bounded otherwise.
fn convert_up_to(
    bytes_max: usize,
    batches: &[u8],
    target: Magic,
    first_offset: Offset,
    converted_bytes_max: usize,
) -> Result<DownConverted, DownConvertError> {
    let mut converter = Converter { target, first_offset, converted_bytes_max, scratch: Vec::new() };
    let mut converted = DownConverted { message_set: Vec::new(), next_offset: first_offset };
    let mut rest = batches;
    loop {
        let batch = match converter.next_batch(rest) {
            Err(DownConvertError::Batch(BatchError::TooShort { .. })) => break,
            Err(error) if converted.message_set.is_empty() => return Err(error),
            Err(_) => break,
            Ok(batch) => batch,
        };
        let bytes = converted.message_set.len() + batch.messages.len();
        if !converted.message_set.is_empty() && bytes > bytes_max {
            break;
        }
        if converted.message_set.is_empty() {
            converted.message_set = batch.messages;
        } else {
            converted.message_set.extend_from_slice(&batch.messages);
        }
        converted.next_offset = converted.next_offset.max(batch.next_offset);
        rest = rest.get(batch.size_in_bytes..).unwrap_or_default();
    }
    Ok(converted)
}

/// One batch and what became of it.
struct ConvertedBatch {
    size_in_bytes: usize,
    next_offset: Offset,
    messages: Vec<u8>,
}

struct Converter {
    target: Magic,
    first_offset: Offset,
    converted_bytes_max: usize,
    /// The records of one compressed batch.
    scratch: Vec<u8>,
}

impl Converter {
    fn next_batch(&mut self, bytes: &[u8]) -> Result<ConvertedBatch, DownConvertError> {
        match BatchView::parse(bytes) {
            Ok(batch) => Ok(ConvertedBatch {
                size_in_bytes: batch.bytes().len(),
                next_offset: batch.header().next_offset(),
                messages: self.convert_batch(&batch)?,
            }),
            Err(BatchError::OldMagic { .. }) => {
                let message = MessageView::parse(bytes)?;
                Ok(ConvertedBatch {
                    size_in_bytes: message.bytes().len(),
                    next_offset: message.offset().wrapping_add(1),
                    messages: self.convert_message(&message)?,
                })
            }
            // A batch whose declared size leaves no room for its header may still be just cut off.
            Err(BatchError::HeaderCutShort { size_in_bytes }) if size_in_bytes > bytes.len() => {
                Err(BatchError::TooShort { needed: size_in_bytes, available: bytes.len() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn convert_batch(&mut self, batch: &BatchView<'_>) -> Result<Vec<u8>, DownConvertError> {
        let header = batch.header();
        if header.attributes.is_control() {
            return Ok(Vec::new());
        }
        let codec = header.attributes.codec().map_err(|id| DownConvertError::UnknownCodec { id })?;
        let mut builder = MessageSetBuilder::new(self.target).compression(codec);
        if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
            builder = builder.log_append_time(header.max_timestamp);
        }
        let bytes_max = self.bytes_max(batch.bytes().len());
        let mut scratch = mem::take(&mut self.scratch);
        let uncompressed = match codec {
            Codec::None => batch.record_bytes(),
            Codec::Zstd => return Err(DownConvertError::Zstd),
            codec => {
                let decompressed = decompress_into(codec, batch.record_bytes(), bytes_max, &mut scratch);
                decompressed.map_err(|error| match error {
                    CompressionError::TooLarge { max_output, .. } => {
                        DownConvertError::TooLarge { bytes_max: max_output }
                    }
                    error => error.into(),
                })?;
                &scratch[..]
            }
        };
        for record in records(uncompressed, header.records_count) {
            let record = record?;
            let offset = header.base_offset.wrapping_add(i64::from(record.offset_delta));
            if codec != Codec::None || offset >= self.first_offset {
                builder.append(offset, header.record_timestamp(record.timestamp_delta), record.key, record.value);
                check_size(&builder, bytes_max)?;
            }
        }
        self.scratch = scratch;
        Ok(builder.build()?)
    }

    fn convert_message(&mut self, message: &MessageView<'_>) -> Result<Vec<u8>, DownConvertError> {
        if message.magic() <= self.target as i8 {
            return Ok(message.bytes().to_vec());
        }
        let codec = message.codec()?;
        let bytes_max = self.bytes_max(message.bytes().len());
        let mut builder = MessageSetBuilder::new(self.target).compression(codec);
        let mut scratch = mem::take(&mut self.scratch);
        for record in message.records(bytes_max, &mut scratch)? {
            let record = record?;
            if codec != Codec::None || record.offset >= self.first_offset {
                builder.append(record.offset, record.timestamp, record.message.key()?, record.message.value()?);
                check_size(&builder, bytes_max)?;
            }
        }
        self.scratch = scratch;
        Ok(builder.build()?)
    }

    fn bytes_max(&self, size_in_bytes: usize) -> usize {
        self.converted_bytes_max.max(size_in_bytes.saturating_mul(GROWTH_MAX))
    }
}

fn check_size(builder: &MessageSetBuilder, bytes_max: usize) -> Result<(), DownConvertError> {
    if builder.uncompressed_bytes() > bytes_max {
        return Err(DownConvertError::TooLarge { bytes_max });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
