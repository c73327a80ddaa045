//! Batches that stand in the log, and what they make of producer state.
//!
//! Appends, recovery and truncation all go through [`apply`], so that they cannot come to different states. A replay reads headers and markers only, no other
//! records. Source: `UnifiedLog.rebuildProducerState`, `ProducerStateManager.update`.

use std::sync::Arc;

use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::record_batch::{BatchHeader, BatchView};
use milena_protocol::records::records;
use milena_protocol::types::Offset;

use crate::error::{DiskError, ReadError};
use crate::producer_state::{EndTxn, ProducerState};
use crate::scan::{HeaderScan, ScanError};
use crate::segment::{LOG, Segment};
use crate::transaction_index::AbortedTransaction;

/// Call `visit` for the batches of `from..to`, with the marker of those that end a transaction. Only headers and markers are read.
pub(crate) fn replay<T>(
    segments: &[Arc<Segment>],
    from: Offset,
    to: Offset,
    mut visit: impl FnMut(&BatchHeader, Option<EndTxn>) -> T,
) -> Result<(), ReadError> {
    if from >= to {
        return Ok(());
    }
    let first = segments.partition_point(|segment| segment.base_offset() <= from).saturating_sub(1);
    for segment in segments.iter().skip(first).take_while(|segment| segment.base_offset() < to) {
        let Some(start) = segment.find(from, segment.size())? else { continue };
        walk_headers(segment, start.position, |position, header| {
            if header.base_offset >= from && header.base_offset < to {
                let marker =
                    if header.attributes.is_control() { read_marker(segment, position, header)? } else { None };
                visit(header, marker);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The header of the batch that holds `offset`, or of the next one in its segment; none where the log is damaged, which is said by those who read it.
pub(crate) fn header_at(segments: &[Arc<Segment>], offset: Offset) -> Result<Option<BatchHeader>, DiskError> {
    let index = segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1);
    let Some(segment) = segments.get(index) else { return Ok(None) };
    let found = match segment.find(offset, segment.size()) {
        Ok(Some(found)) => found,
        Err(ReadError::Disk(error)) => return Err(error),
        Ok(None) | Err(ReadError::OffsetOutOfRange(_) | ReadError::Corrupt(_) | ReadError::Undecodable(_)) => {
            return Ok(None);
        }
    };
    let file = segment.log_file()?;
    match HeaderScan::new(&*file, found.position, found.position + found.size).next() {
        Ok(found) => Ok(found.map(|(_, header)| header)),
        Err(ScanError::Bad { .. }) => Ok(None),
        Err(ScanError::Disk(error)) => Err(DiskError::new("read", &segment.path(LOG))(error)),
    }
}

pub(crate) fn walk_headers(
    segment: &Segment,
    position: u64,
    mut visit: impl FnMut(u64, &BatchHeader) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let size = segment.size();
    if position >= size {
        return Ok(());
    }
    let file = segment.log_file()?;
    let mut scan = HeaderScan::new(&*file, position, size);
    while let Some((position, header)) = scan.next().map_err(|error| error.at(&segment.path(LOG)))? {
        visit(position, &header)?;
    }
    Ok(())
}

fn read_marker(segment: &Segment, position: u64, header: &BatchHeader) -> Result<Option<EndTxn>, ReadError> {
    let mut bytes = vec![0; header.size_in_bytes()];
    let file = segment.log_file()?;
    file.read_exact_at(&mut bytes, position).map_err(DiskError::new("read", &segment.path(LOG)))?;
    Ok(BatchView::parse(&bytes).ok().and_then(|batch| end_txn_of(&batch)))
}

/// The marker in a control batch, if it ends a transaction.
pub(crate) fn end_txn_of(batch: &BatchView<'_>) -> Option<EndTxn> {
    let header = batch.header();
    if !header.attributes.is_control() || !header.has_producer_id() {
        return None;
    }
    let record = records(batch.record_bytes(), header.records_count).next()?.ok()?;
    let marker = EndTransactionMarker::parse(record.key?, record.value?)?;
    Some(EndTxn {
        committed: marker.result == TransactionResult::Commit,
        coordinator_epoch: marker.coordinator_epoch,
        timestamp: header.record_timestamp(record.timestamp_delta),
    })
}

/// A batch stands in the log: what it changes in producer state.
pub(crate) fn apply(
    producers: &mut ProducerState,
    header: &BatchHeader,
    marker: Option<EndTxn>,
) -> Option<AbortedTransaction> {
    if !header.has_producer_id() {
        return None;
    }
    match marker {
        Some(marker) => producers.apply_marker(header, &marker),
        None if header.attributes.is_control() => None,
        None => {
            producers.apply_data(header);
            None
        }
    }
}
