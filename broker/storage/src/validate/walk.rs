//! The walk over a batch's records: structure, keys, timestamps, order of offsets; nothing is allocated for a good one.

use milena_protocol::record_batch::{BatchHeader, TimestampType};
use milena_protocol::records::{RecordView, records};
use milena_protocol::types::{NO_TIMESTAMP, Offset, Timestamp};

use super::ValidateConfig;
use super::error::{RecordFault, Rejections, ValidationError};

/// What the walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// The largest timestamp, -1 if none is larger.
    pub(super) max_timestamp: Timestamp,
    /// Whether the records' offset deltas are 0, 1, 2 …
    pub(super) offsets_in_order: bool,
}

/// Walk over the records of a batch. Every bad record is named, but a broken structure ends the walk at once.
pub(super) fn walk(
    uncompressed: &[u8],
    header: &BatchHeader,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Result<Walked, ValidationError> {
    let mut walked = Walked { max_timestamp: NO_TIMESTAMP, offsets_in_order: true };
    let mut rejections = Rejections::default();
    for (record, index) in records(uncompressed, header.records_count).zip(0_i32..) {
        let record = record.map_err(ValidationError::Records)?;
        let timestamp = header.record_timestamp(record.timestamp_delta);
        if let Some(fault) = fault(&record, timestamp, header, config, now) {
            rejections.add(index, fault);
        }
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
        walked.offsets_in_order &= record.offset_delta == index;
    }
    if rejections.is_empty() {
        return Ok(walked);
    }
    Err(ValidationError::Rejected { topic_partition: config.topic_partition.clone(), rejections })
}

fn fault(
    record: &RecordView<'_>,
    timestamp: Timestamp,
    header: &BatchHeader,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Option<RecordFault> {
    if config.compacted && record.key.is_none() {
        return Some(RecordFault::NoKey);
    }
    let offset = header.base_offset.wrapping_add(i64::from(record.offset_delta));
    if config.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        return timestamp_out_of_range(timestamp, offset, config, now);
    }
    (header.attributes.timestamp_type() == TimestampType::LogAppendTime).then(|| RecordFault::TimestampType {
        offset,
        timestamp,
        key_bytes: record.key.map_or(0, <[u8]>::len),
        value_bytes: record.value.map_or(0, <[u8]>::len),
    })
}

pub(super) fn timestamp_out_of_range(
    timestamp: Timestamp,
    offset: Offset,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Option<RecordFault> {
    let age = now.wrapping_sub(timestamp);
    let out_of_range = age > config.timestamp_before_max_ms || age.wrapping_neg() > config.timestamp_after_max_ms;
    out_of_range.then(|| RecordFault::Timestamp {
        timestamp,
        offset,
        earliest: now.wrapping_sub(config.timestamp_before_max_ms),
        latest: now.wrapping_add(config.timestamp_after_max_ms),
    })
}
