//! A message set of magic 0 or 1, from an old client, as one batch of format 2.
//!
//! Every check and its place among the others is that of Kafka 3.9 (`UnifiedLog.analyzeAndValidateRecords`,
//! `LogValidator` with target format 2), since the first one that fails decides about the answer. Plain messages become
//! one batch together, a wrapper must be alone. Offsets are given anew, whatever the client wrote; timestamps are kept,
//! -1 for magic 0. Old clients know no error but its code, so the texts are not Kafka's everywhere.

use bytes::BytesMut;
use milena_protocol::compression::Codec;
use milena_protocol::legacy::message_set::{MessageRecord, MessageRecords, MessageSetError, MessageView};
use milena_protocol::record_batch::{BATCH_HEADER_BYTES, BatchError, BatchView, TimestampType};
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::{NO_TIMESTAMP, Timestamp};

use super::error::{RecordFault, Rejections, ValidationError};
use super::walk::timestamp_out_of_range;
use super::{ValidateConfig, check_message_size, with_scratch};

/// The messages of `set`, made one batch at offset 0; `set` begins with a message of magic 0 or 1.
///
/// # Errors
/// [`ValidationError`]; `NoBatch` if there is no whole message.
pub(super) fn convert(set: &[u8], config: &ValidateConfig<'_>, now: Timestamp) -> Result<BytesMut, ValidationError> {
    let set = analyze(set, config)?;
    let (target, level) = config.compression.of(set.source);
    let builder = || {
        let builder = BatchBuilder::with_capacity(BATCH_HEADER_BYTES + set.bytes.len()).compression(target, level);
        match config.timestamp_type {
            TimestampType::CreateTime => builder,
            TimestampType::LogAppendTime => builder.log_append_time(now),
        }
    };
    if set.source == Codec::None {
        let mut builder = builder();
        convert_plain(&set, target, config, now, &mut builder)?;
        return builder.build().map_err(ValidationError::Recompression);
    }
    let wrapper = set.first();
    if wrapper.bytes().len() < set.bytes.len() {
        return Err(ValidationError::MoreThanOneWrapper);
    }
    with_scratch(config, |bytes_max, scratch| {
        let records = wrapper.records(bytes_max, scratch).map_err(message_set)?;
        check(&wrapper, records.clone(), set.source, config, now)?;
        let mut builder = builder();
        append(&mut builder, records)?;
        builder.build().map_err(ValidationError::Recompression)
    })
}

/// What the first walk found: whole messages, unharmed and not too large.
struct Analyzed<'a> {
    /// The whole messages.
    bytes: &'a [u8],
    /// The codec of the last wrapper.
    source: Codec,
    /// A batch of format 2 stands among the messages.
    has_batch: bool,
}

impl<'a> Analyzed<'a> {
    fn first(&self) -> MessageView<'a> {
        MessageView::parse(self.bytes).expect("the first message was parsed before")
    }
}

fn analyze<'a>(set: &'a [u8], config: &ValidateConfig<'_>) -> Result<Analyzed<'a>, ValidationError> {
    let mut analyzed = Analyzed { bytes: &[], source: Codec::None, has_batch: false };
    let mut position = 0;
    loop {
        let rest = set.get(position..).unwrap_or_default();
        let (size, codec) = match MessageView::parse(rest) {
            Ok(message) => {
                check_message_size(message.bytes().len(), config)?;
                message.check_crc().map_err(message_set)?;
                (message.bytes().len(), message.codec().map_err(message_set)?)
            }
            Err(BatchError::TooShort { .. }) => break,
            Err(BatchError::UnknownMagic { magic: 2 }) => match analyze_batch(rest, config)? {
                Some(batch) => {
                    analyzed.has_batch = true;
                    batch
                }
                None => break,
            },
            Err(error) => return Err(ValidationError::CorruptBatch(error)),
        };
        if codec != Codec::None {
            analyzed.source = codec;
        }
        position += size;
    }
    analyzed.bytes = set.get(..position).unwrap_or_default();
    if analyzed.bytes.is_empty() { Err(ValidationError::NoBatch) } else { Ok(analyzed) }
}

/// Size and codec of a batch of format 2 among messages; `None` if it is cut off.
fn analyze_batch(rest: &[u8], config: &ValidateConfig<'_>) -> Result<Option<(usize, Codec)>, ValidationError> {
    let view = match BatchView::parse(rest) {
        Ok(view) => view,
        Err(BatchError::TooShort { .. }) => return Ok(None),
        Err(error) => return Err(ValidationError::CorruptBatch(error)),
    };
    let header = view.header();
    if header.base_offset != 0 {
        return Err(ValidationError::BaseOffsetNotZero { base_offset: header.base_offset });
    }
    check_message_size(view.bytes().len(), config)?;
    let computed = view.computed_crc();
    if computed != header.crc {
        return Err(ValidationError::WrongCrc { stored: header.crc, computed });
    }
    let codec = header.attributes.codec().map_err(|id| ValidationError::UnknownCodec { id })?;
    Ok(Some((view.bytes().len(), codec)))
}

/// Messages that are no wrappers: each is a batch of its own to Kafka, so the first bad one decides.
fn convert_plain(
    set: &Analyzed<'_>,
    target: Codec,
    config: &ValidateConfig<'_>,
    now: Timestamp,
    builder: &mut BatchBuilder,
) -> Result<(), ValidationError> {
    let first = set.first().magic();
    let messages = || milena_protocol::legacy::messages(set.bytes).flatten();
    // Kafka reads the messages twice: to estimate the batch's size and to fill it; which comes before the checks
    // depends on whether it compresses.
    let fills_at_once = target == Codec::None;
    if fills_at_once {
        for message in messages() {
            message.value().map_err(message_set)?;
        }
    }
    for message in messages() {
        if message.magic() != first {
            return Err(ValidationError::MixedMagic { magic: message.magic(), first });
        }
        let mut nothing = Vec::new();
        let records = message.records(0, &mut nothing).map_err(message_set)?;
        check(&message, records.clone(), Codec::None, config, now)?;
        if fills_at_once {
            append(builder, records)?;
        }
    }
    if set.has_batch {
        return Err(ValidationError::MixedMagic { magic: 2, first });
    }
    if !fills_at_once {
        for message in messages() {
            append(builder, message.records(0, &mut Vec::new()).map_err(message_set)?)?;
        }
    }
    Ok(())
}

/// Every bad record of a message is named; what has a code of its own ends the walk.
fn check(
    outer: &MessageView<'_>,
    records: MessageRecords<'_>,
    source: Codec,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Result<(), ValidationError> {
    let mut rejections = Rejections::default();
    for (record, index) in records.zip(0_i32..) {
        let record = record.map_err(message_set)?;
        if let Some(fault) = fault(outer, &record, source, config, now)? {
            rejections.add(index, fault);
        }
    }
    if rejections.is_empty() {
        return Ok(());
    }
    Err(ValidationError::Rejected { topic_partition: config.topic_partition.clone(), rejections })
}

fn fault(
    outer: &MessageView<'_>,
    record: &MessageRecord<'_>,
    source: Codec,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Result<Option<RecordFault>, ValidationError> {
    let MessageRecord { offset, timestamp, message } = *record;
    if message.magic() != outer.magic() {
        // Kafka names the message's key and value in its error, and stumbles over what is none.
        message.value().map_err(message_set)?;
        return Ok(Some(RecordFault::Magic { offset, magic: message.magic(), wrapper: outer.magic() }));
    }
    if source != Codec::None {
        message.check_crc().map_err(message_set)?;
    }
    if config.compacted && !message.has_key().map_err(message_set)? {
        return Ok(Some(RecordFault::NoKey));
    }
    if config.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        return Ok(timestamp_out_of_range(timestamp, offset, config, now));
    }
    let length = |bytes: Result<Option<&[u8]>, MessageSetError>| bytes.ok().flatten().map_or(0, <[u8]>::len);
    Ok((outer.timestamp_type() == TimestampType::LogAppendTime).then(|| RecordFault::TimestampType {
        offset,
        timestamp,
        key_bytes: length(message.key()),
        value_bytes: length(message.value()),
    }))
}

fn append(builder: &mut BatchBuilder, records: MessageRecords<'_>) -> Result<(), ValidationError> {
    // Where Kafka estimates the batch's size, it reads all before it fills anything.
    for record in records.clone() {
        record.and_then(|record| record.message.value()).map_err(message_set)?;
    }
    for record in records {
        let MessageRecord { timestamp, message, .. } = record.map_err(message_set)?;
        if timestamp < NO_TIMESTAMP {
            return Err(ValidationError::NegativeTimestamp { timestamp });
        }
        let (key, value) = (message.key().map_err(message_set)?, message.value().map_err(message_set)?);
        builder.append(timestamp, key, value, []);
    }
    Ok(())
}

fn message_set(error: MessageSetError) -> ValidationError {
    match error {
        MessageSetError::DecompressedTooLarge { max_output } => {
            ValidationError::DecompressedTooLarge { decompressed_bytes_max: max_output }
        }
        error => ValidationError::MessageSet(error),
    }
}

#[cfg(test)]
mod tests;
