//! Whether the small files of a log are of this log, and of this time of it.
//!
//! One that was put there from another partition, or from an earlier day, reads well and is wrong. What it says of the log is therefore looked up there: a few
//! headers, found by the index. A file that does not fit is made anew from the log. (Kafka believes them.)

use std::sync::Arc;

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{LeaderEpoch, NO_LEADER_EPOCH, NO_PRODUCER_ID, Offset, ProducerId, Timestamp};

use crate::error::DiskError;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::ProducerStateEntry;
use crate::replay::header_at;
use crate::segment::Segment;

/// Producers of a snapshot that are looked up.
const PRODUCERS_LOOKED_UP: usize = 64;

/// Whether every epoch begins where the log says, right behind the one before, and the newest is that of the last batch.
pub(super) fn epochs_fit(
    epochs: &LeaderEpochs,
    segments: &[Arc<Segment>],
    log_end_offset: Offset,
) -> Result<bool, DiskError> {
    let first_base = segments.first().map_or(log_end_offset, |segment| segment.base_offset());
    let mut before: Option<LeaderEpoch> = None;
    for entry in epochs.entries().iter().filter(|entry| (first_base..log_end_offset).contains(&entry.start_offset)) {
        let start = entry.start_offset;
        if let Some(first) = header_at(segments, start)?.filter(tells_an_epoch) {
            let is_hole = first.base_offset > start;
            if first.leader_epoch < entry.leader_epoch || (!is_hole && first.leader_epoch > entry.leader_epoch) {
                return Ok(false);
            }
        }
        if let Some(before) = before
            && let Some(last) = header_at(segments, start - 1)?.filter(tells_an_epoch)
            && last.base_offset < start
            && last.leader_epoch != before
        {
            return Ok(false);
        }
        before = Some(entry.leader_epoch);
    }
    let last = header_at(segments, log_end_offset - 1)?.filter(tells_an_epoch);
    Ok(last.is_none_or(|last| epochs.epoch_for_offset(last.base_offset) == Some(last.leader_epoch)))
}

/// Messages of magic 0 and 1 do not.
fn tells_an_epoch(header: &BatchHeader) -> bool {
    header.leader_epoch != NO_LEADER_EPOCH
}

/// Whether a snapshot of producer state at `offset` knows the producer of the batch before it, and the log the batches that it names. A producer that has not
/// written since `expired_before` may be forgotten.
pub(super) fn producers_fit(
    producers: &[(ProducerId, ProducerStateEntry)],
    segments: &[Arc<Segment>],
    offset: Offset,
    expired_before: Timestamp,
) -> Result<bool, DiskError> {
    let first_base = segments.first().map_or(offset, |segment| segment.base_offset());
    let last_offset_of = |entry: &ProducerStateEntry| entry.batches().last().map(|batch| batch.last_offset);
    if offset > first_base
        && let Some(last) = header_at(segments, offset - 1)?
        && last.producer_id != NO_PRODUCER_ID
        && !last.attributes.is_control()
        && last.max_timestamp >= expired_before
    {
        let known = producers.iter().find(|(producer_id, _)| *producer_id == last.producer_id);
        if known.and_then(|(_, entry)| last_offset_of(entry)) != Some(last.last_offset()) {
            return Ok(false);
        }
    }
    for (producer_id, entry) in producers.iter().take(PRODUCERS_LOOKED_UP) {
        let Some(last_offset) = last_offset_of(entry).filter(|last| (first_base..offset).contains(last)) else {
            continue;
        };
        let named = header_at(segments, last_offset)?;
        if !named.is_some_and(|named| named.producer_id == *producer_id && named.last_offset() == last_offset) {
            return Ok(false);
        }
    }
    Ok(true)
}
