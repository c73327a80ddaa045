//! Reading a segment whole: every checksum and offset is verified, and its indexes are made anew from what is good.
//!
//! Where a batch is bad the reading ends; whether the segment is then cut or the log refused is the caller's to say. Source: `LogSegment.recover`.

use std::path::Path;
use std::sync::Arc;

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{NO_TIMESTAMP, Offset};

use super::Loader;
use crate::disk::Open;
use crate::error::{CorruptFile, DiskError, StorageError};
use crate::offset_index::{self, OffsetIndexEntry};
use crate::producer_state::EndTxn;
use crate::replay::end_txn_of;
use crate::scan::{BatchScan, ScanError, ScannedBatch};
use crate::segment::{INDEX, LOG, Recovered, Segment, SegmentFiles, TIME_INDEX};
use crate::time_index::{self, TimeIndexEntry};

impl Loader<'_> {
    /// Make the indexes of a segment anew whose bytes must all be good. Answers the segment's end.
    pub(super) fn rebuild_indexes(&mut self, segment: &Arc<Segment>) -> Result<Offset, StorageError> {
        let mut end = segment.base_offset();
        let scanned = self.scan(segment, |header, _| end = header.next_offset())?;
        if let Some((position, reason)) = scanned.bad {
            return Err(CorruptFile { path: segment.path(LOG), position, reason }.into());
        }
        self.write_indexes(segment, &scanned.recovered)?;
        Ok(end)
    }

    pub(super) fn write_indexes(&mut self, segment: &Arc<Segment>, recovered: &Recovered) -> Result<(), DiskError> {
        let offsets: Vec<u8> = recovered.offset_entries.iter().flat_map(|entry| entry.encode()).collect();
        let times: Vec<u8> = recovered.time_entries.iter().flat_map(|entry| entry.encode()).collect();
        for (suffix, bytes) in [(INDEX, offsets), (TIME_INDEX, times)] {
            self.write_whole(&segment.path(suffix), &bytes)?;
        }
        self.names_changed = true;
        self.report.rebuilt_indexes += 1;
        segment.after_recovery(recovered);
        Ok(())
    }

    pub(super) fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let write = || {
            let file = self.place.disk().open(path, Open::Create)?;
            file.truncate(0)?;
            file.write_all_at(bytes, 0)
        };
        write().map_err(DiskError::new("write", path))
    }

    /// Read a whole segment and verify it; `good` sees every batch up to the first bad one, with the marker of those that end a transaction.
    pub(super) fn scan(
        &mut self,
        segment: &Segment,
        mut good: impl FnMut(&BatchHeader, Option<EndTxn>),
    ) -> Result<Scanned, DiskError> {
        let file = segment.log_file()?;
        let path = segment.path(LOG);
        let limit = file.len().map_err(DiskError::new("inspect", &path))?;
        let mut scan = BatchScan::new(&*file, limit);
        let mut builder = IndexBuilder::new(segment.base_offset(), self.open.config.index_interval_bytes);
        let mut next_offset = segment.base_offset();
        let bad = loop {
            match scan.next() {
                Ok(None) => break None,
                Ok(Some(ScannedBatch { position, header, batch })) => {
                    let relative = i32::try_from(header.last_offset().saturating_sub(segment.base_offset()));
                    if header.base_offset < next_offset || relative.is_err() {
                        let reason =
                            format!("the batch has base offset {} where {next_offset} is next", header.base_offset);
                        break Some((position, reason));
                    }
                    next_offset = header.next_offset();
                    builder.note(&header);
                    good(&header, batch.as_ref().and_then(end_txn_of));
                }
                Err(ScanError::Bad { position, reason }) => break Some((position, reason)),
                Err(ScanError::Disk(error)) => return Err(DiskError::new("read", &path)(error)),
            }
        };
        self.report.scanned_bytes += builder.recovered.valid_bytes;
        self.report.recovered_segments += 1;
        Ok(Scanned { file_bytes: limit, next_offset, bad, recovered: builder.finish() })
    }
}

/// What reading a segment found.
pub(super) struct Scanned {
    pub(super) file_bytes: u64,
    pub(super) next_offset: Offset,
    /// Position of the first bad batch, and what is wrong with it.
    pub(super) bad: Option<(u64, String)>,
    pub(super) recovered: Recovered,
}

/// Collects the index entries of a segment that is read from its start, at the places where Kafka's recovery puts them.
struct IndexBuilder {
    base_offset: Offset,
    index_interval_bytes: u64,
    last_entry_at: u64,
    largest: TimeIndexEntry,
    recovered: Recovered,
}

impl IndexBuilder {
    fn new(base_offset: Offset, index_interval_bytes: i32) -> IndexBuilder {
        IndexBuilder {
            base_offset,
            index_interval_bytes: index_interval_bytes.max(0) as u64,
            last_entry_at: 0,
            largest: TimeIndexEntry { timestamp: NO_TIMESTAMP, relative_offset: 0 },
            recovered: Recovered::default(),
        }
    }

    fn note(&mut self, header: &BatchHeader) {
        let relative_offset = (header.last_offset() - self.base_offset) as u32;
        let position = self.recovered.valid_bytes;
        if header.max_timestamp > self.largest.timestamp {
            self.largest = TimeIndexEntry { timestamp: header.max_timestamp, relative_offset };
        }
        if position - self.last_entry_at > self.index_interval_bytes {
            self.recovered.offset_entries.push(OffsetIndexEntry { relative_offset, position: position as u32 });
            self.note_time();
            self.last_entry_at = position;
        }
        self.recovered.valid_bytes += header.size_in_bytes() as u64;
    }

    fn note_time(&mut self) {
        let last = self.recovered.time_entries.last().map_or(NO_TIMESTAMP, |entry| entry.timestamp);
        if self.largest.timestamp > last {
            self.recovered.time_entries.push(self.largest);
        }
    }

    fn finish(mut self) -> Recovered {
        self.note_time();
        self.recovered
    }
}

pub(super) fn has_sound_indexes(files: &SegmentFiles) -> bool {
    let is_whole = |bytes: Option<u64>, entry_bytes: usize| bytes.is_some_and(|bytes| bytes % entry_bytes as u64 == 0);
    is_whole(files.offset_index_bytes, offset_index::ENTRY_BYTES)
        && is_whole(files.time_index_bytes, time_index::ENTRY_BYTES)
}
