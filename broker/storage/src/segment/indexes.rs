//! The index files of a segment: read when first needed, written behind the .log.
//!
//! Entries wait in memory until many do, the segment is sealed or the log is closed; what a crash takes of them, recovery makes anew. Only `.txnindex` is written
//! at once, before the marker it tells of. Source: `AbstractIndex`, `LogSegment.append`, `onBecomeInactiveSegment`.

use std::io;
use std::sync::Arc;

use super::{INDEX, Segment, TIME_INDEX, TRANSACTION_INDEX};
use crate::descriptors::Slot;
use crate::disk::Open;
use crate::error::DiskError;
use crate::offset_index;
use crate::time_index;
use crate::transaction_index::{self, AbortedTransaction};

/// Index entries that may wait in memory before they are written: 8 KiB of `.index`.
const PENDING_ENTRIES_MAX: usize = 1024;

impl Segment {
    pub(super) fn offset_index_bytes(&self) -> Result<Arc<[u8]>, DiskError> {
        self.index_bytes(&self.offset_index, INDEX, |bytes| {
            offset_index::valid_entries(bytes) * offset_index::ENTRY_BYTES
        })
    }

    pub(super) fn time_index_bytes(&self) -> Result<Arc<[u8]>, DiskError> {
        self.index_bytes(&self.time_index, TIME_INDEX, |bytes| {
            time_index::valid_entries(bytes) * time_index::ENTRY_BYTES
        })
    }

    /// The bytes of `.txnindex`; none if there is no such file.
    pub(crate) fn transaction_index_bytes(&self) -> Result<Arc<[u8]>, DiskError> {
        if !self.state.lock().has_transaction_index {
            return Ok(Arc::default());
        }
        self.index_bytes(&self.transaction_index, TRANSACTION_INDEX, <[u8]>::len)
    }

    fn index_bytes(
        &self,
        slot: &Arc<Slot<Arc<[u8]>>>,
        suffix: &str,
        valid: impl Fn(&[u8]) -> usize,
    ) -> Result<Arc<[u8]>, DiskError> {
        self.place.bounded.descriptors.indexes().get(slot, || {
            let path = self.path(suffix);
            match self.place.disk().read(&path) {
                Ok(mut bytes) => {
                    bytes.truncate(valid(&bytes));
                    let weight = bytes.len();
                    Ok((Arc::from(bytes), weight))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Arc::default(), 0)),
                Err(error) => Err(DiskError::new("read", &path)(error)),
            }
        })
    }

    /// Write the waiting index entries if many wait.
    pub(crate) fn write_indexes_if_many(&self) -> Result<(), DiskError> {
        if self.state.lock().pending_offsets.len() < PENDING_ENTRIES_MAX { Ok(()) } else { self.write_indexes() }
    }

    /// Write the waiting index entries behind those on disk.
    pub(crate) fn write_indexes(&self) -> Result<(), DiskError> {
        let (offsets, times, offset_at, time_at) = {
            let state = self.state.lock();
            let offsets: Vec<u8> = state.pending_offsets.iter().flat_map(|entry| entry.encode()).collect();
            let times: Vec<u8> = state.pending_times.iter().flat_map(|entry| entry.encode()).collect();
            let offset_at = state.offset_entries_written * offset_index::ENTRY_BYTES;
            (offsets, times, offset_at, state.time_entries_written * time_index::ENTRY_BYTES)
        };
        self.write_index(INDEX, &offsets, offset_at)?;
        self.write_index(TIME_INDEX, &times, time_at)?;
        let mut state = self.state.lock();
        state.offset_entries_written += state.pending_offsets.len();
        state.time_entries_written += state.pending_times.len();
        state.pending_offsets = Vec::new();
        state.pending_times = Vec::new();
        drop(state);
        self.offset_index.clear();
        self.time_index.clear();
        Ok(())
    }

    fn write_index(&self, suffix: &str, bytes: &[u8], position: usize) -> Result<(), DiskError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let path = self.path(suffix);
        let write = || self.place.disk().open(&path, Open::Create)?.write_all_at(bytes, position as u64);
        write().map_err(DiskError::new("write", &path))
    }

    /// No more appends: write the last time index entry and all that waits, forget what only a tail needs.
    pub(crate) fn seal(&self) -> Result<(), DiskError> {
        self.note_largest_timestamp()?;
        self.write_indexes()?;
        self.state.lock().recent.forget();
        Ok(())
    }

    /// Write what waits, as at a clean stop. Answers whether anything was appended since the segment was opened.
    pub(crate) fn close_indexes(&self) -> Result<bool, DiskError> {
        if self.state.lock().times.is_none() {
            return Ok(false);
        }
        self.note_largest_timestamp()?;
        let waits = {
            let state = self.state.lock();
            !state.pending_offsets.is_empty() || !state.pending_times.is_empty()
        };
        self.write_indexes()?;
        Ok(waits)
    }

    /// Add aborted transactions to `.txnindex`. Answers its length before.
    pub(crate) fn append_aborted_transactions(&self, aborted: &[AbortedTransaction]) -> Result<u64, DiskError> {
        if aborted.is_empty() {
            return Ok(0);
        }
        let path = self.path(TRANSACTION_INDEX);
        let entries: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::encode).collect();
        let append = || {
            let file = self.place.disk().open(&path, Open::Create)?;
            let entry_bytes = transaction_index::ENTRY_BYTES as u64;
            // A torn entry of an earlier life is written over.
            let len = file.len()? / entry_bytes * entry_bytes;
            file.write_all_at(&entries, len).inspect_err(|_| _ = file.truncate(len))?;
            Ok(len)
        };
        let before = append().map_err(DiskError::new("append to", &path))?;
        self.set_transaction_index(true);
        Ok(before)
    }

    /// Undo [`Segment::append_aborted_transactions`].
    pub(crate) fn cut_transaction_index(&self, len: u64) -> Result<(), DiskError> {
        if self.has_transaction_index() {
            self.cut(TRANSACTION_INDEX, len)?;
            self.transaction_index.clear();
        }
        Ok(())
    }

    pub(super) fn cut(&self, suffix: &str, len: u64) -> Result<(), DiskError> {
        let path = self.path(suffix);
        let cut = || self.place.disk().open(&path, Open::Create)?.truncate(len);
        cut().map_err(DiskError::new("truncate", &path))
    }
}
