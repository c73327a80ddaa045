//! The largest timestamp of a segment, and where to look for a timestamp.
//!
//! The time index is held against the log when it is first needed, and again wherever it is followed: an entry must name a batch of that timestamp, and the
//! batches behind the last one may hold a larger. What does not fit is cut off; an index that was lost, swapped or is of an earlier time costs a walk over the
//! headers, never a wrong answer. Source: `TimeIndex`, `LogSegment.findOffsetByTimestamp`, which believe it.

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{NO_TIMESTAMP, Offset, Timestamp};

use super::{LOG, Segment, TIME_INDEX};
use crate::error::{DiskError, ReadError};
use crate::scan::{HeaderScan, ScanError};
use crate::time_index::{self, TimeIndexEntry};

/// What the time index is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Largest timestamp so far, -1 if none, and the batch that holds it.
    pub(super) largest: TimeIndexEntry,
    /// Timestamp of the last entry of the time index, -1 if none.
    pub(super) last_entry: Timestamp,
}

pub(super) const NO_TIMES: Times =
    Times { largest: TimeIndexEntry { timestamp: NO_TIMESTAMP, relative_offset: 0 }, last_entry: NO_TIMESTAMP };

impl Segment {
    pub(super) fn times(&self) -> Result<Times, DiskError> {
        let (entries_written, size) = {
            let state = self.state.lock();
            match state.times {
                Some(times) => return Ok(times),
                None => (state.time_entries_written, state.size),
            }
        };
        let (mut times, mut entries, mut walk_from) = (NO_TIMES, 0, 0);
        if entries_written > 0 {
            let bytes = self.time_index_bytes()?;
            let count = time_index::valid_entries(&bytes);
            if let Some(entry) = count.checked_sub(1).and_then(|last| time_index::entry(&bytes, last))
                && let Some(position) = self.batch_of(entry)?
            {
                times = Times { largest: entry, last_entry: entry.timestamp };
                (entries, walk_from) = (count, position);
            }
        }
        self.walk_for_largest(walk_from, size, &mut times.largest)?;
        let mut state = self.state.lock();
        if let Some(known) = state.times {
            return Ok(known);
        }
        if entries != state.time_entries_written {
            // Nothing is written to it before its times are known.
            self.cut(TIME_INDEX, (entries * time_index::ENTRY_BYTES) as u64)?;
            state.time_entries_written = entries;
        }
        state.times = Some(times);
        drop(state);
        self.time_index.clear();
        Ok(times)
    }

    /// Where the batch that an entry names begins, if there is one of that timestamp.
    fn batch_of(&self, entry: TimeIndexEntry) -> Result<Option<u64>, DiskError> {
        let size = self.size();
        let found = match self.find(self.base_offset + i64::from(entry.relative_offset), size) {
            Ok(Some(found)) => found,
            Err(ReadError::Disk(error)) => return Err(error),
            // That the log is damaged is said by those who read it.
            Ok(None) | Err(ReadError::OffsetOutOfRange(_) | ReadError::Corrupt(_) | ReadError::Undecodable(_)) => {
                return Ok(None);
            }
        };
        let file = self.log_file()?;
        let header = self.next_header(&mut HeaderScan::new(&*file, found.position, size))?;
        Ok(header.filter(|header| header.max_timestamp == entry.timestamp).map(|_| found.position))
    }

    /// Lets the batches from `position` on raise `largest`.
    fn walk_for_largest(&self, position: u64, size: u64, largest: &mut TimeIndexEntry) -> Result<(), DiskError> {
        if position >= size {
            return Ok(());
        }
        let file = self.log_file()?;
        let mut scan = HeaderScan::new(&*file, position, size);
        while let Some(header) = self.next_header(&mut scan)? {
            if header.max_timestamp > largest.timestamp
                && let Ok(relative_offset) = u32::try_from(header.last_offset() - self.base_offset)
            {
                *largest = TimeIndexEntry { timestamp: header.max_timestamp, relative_offset };
            }
        }
        Ok(())
    }

    /// The next header; none where the log is damaged, which is said by those who read it.
    fn next_header(&self, scan: &mut HeaderScan<'_>) -> Result<Option<BatchHeader>, DiskError> {
        match scan.next() {
            Ok(found) => Ok(found.map(|(_, header)| header)),
            Err(ScanError::Bad { .. }) => Ok(None),
            Err(ScanError::Disk(error)) => Err(DiskError::new("read", &self.path(LOG))(error)),
        }
    }

    /// Largest timestamp and the last offset of the batch that holds it.
    pub(crate) fn largest_timestamp(&self) -> Result<Option<(Timestamp, Offset)>, DiskError> {
        let largest = self.times()?.largest;
        let offset = self.base_offset + i64::from(largest.relative_offset);
        Ok((largest.timestamp >= 0).then_some((largest.timestamp, offset)))
    }

    /// The time index ends with the largest timestamp, as after a roll or a clean stop.
    pub(crate) fn note_largest_timestamp(&self) -> Result<(), DiskError> {
        let times = self.times()?;
        if times.largest.timestamp > times.last_entry {
            let mut state = self.state.lock();
            state.pending_times.push(times.largest);
            state.times = Some(Times { last_entry: times.largest.timestamp, ..times });
        }
        Ok(())
    }

    /// Where to look for records of `timestamp` or later, at offset `start` or later.
    pub(crate) fn position_for_timestamp(&self, timestamp: Timestamp, start: Offset) -> Result<u64, ReadError> {
        self.times()?;
        let entries = self.state.lock().time_entries_written;
        let written = if entries == 0 { None } else { time_index::lookup(&self.time_index_bytes()?, timestamp) };
        let written = match written {
            Some(entry) => self.batch_of(entry)?.map(|_| entry),
            None => None,
        };
        let pending = {
            let state = self.state.lock();
            let above = state.pending_times.partition_point(|entry| entry.timestamp <= timestamp);
            above.checked_sub(1).and_then(|index| state.pending_times.get(index).copied())
        };
        let relative = pending.or(written).map_or(0, |entry| entry.relative_offset);
        let target = start.max(self.base_offset + i64::from(relative));
        // The batch that holds the entry's timestamp lies below; the first one after it that can match is at or above.
        Ok(self.find(target, self.size())?.map_or(self.size(), |found| found.position))
    }
}
