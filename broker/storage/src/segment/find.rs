//! Finding a batch by offset, and the end of a segment: index first, then a walk over the headers behind it.
//!
//! To a search an index is a hint: one that points elsewhere than at a batch costs a longer walk, never a wrong answer. The end of the segment is stricter,
//! because a log is opened by it: there an index that does not fit is `Corrupt`. Source: `LogSegment.translateOffset`, `findOffsetByTimestamp`.

use milena_protocol::compression::Codec;
use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{NO_LEADER_EPOCH, Offset};

use super::recent::RecentFind;
use super::{BatchPosition, LOG, Segment};
use crate::error::{CorruptFile, ReadError};
use crate::offset_index;
use crate::scan::HeaderScan;

impl Segment {
    /// The first batch that ends at `target` or later, looking only at the first `limit` bytes.
    pub(crate) fn find(&self, target: Offset, limit: u64) -> Result<Option<BatchPosition>, ReadError> {
        let relative = u32::try_from(target.saturating_sub(self.base_offset).max(0)).unwrap_or(u32::MAX);
        let (pending, entries_written) = {
            let state = self.state.lock();
            match state.recent.find(target) {
                RecentFind::At(found) => return Ok(Some(found).filter(|found| found.position < limit)),
                RecentFind::Behind => return Ok(None),
                RecentFind::Unknown => {}
            }
            (offset_index::lookup_pending(&state.pending_offsets, relative), state.offset_entries_written)
        };
        let start = match pending {
            Some(position) => u64::from(position),
            None if entries_written == 0 => 0,
            None => u64::from(offset_index::lookup(&self.offset_index_bytes()?, relative)),
        };
        let file = self.log_file()?;
        if start > 0 && start < limit {
            let mut scan = HeaderScan::new(&*file, start, limit);
            // An index that points elsewhere than at a batch, or too far, is not believed: the walk begins at the segment's start instead.
            if let Ok(Some(first)) = scan.next()
                && first.1.base_offset <= target
            {
                return self.walk(Some(first), scan, target);
            }
        }
        self.walk(None, HeaderScan::new(&*file, 0, limit), target)
    }

    /// The end of the segment, exclusive, found by walking from the last index entry on.
    ///
    /// # Errors
    /// `Corrupt` if index and .log do not fit together or the .log does not end with a whole batch.
    pub(crate) fn end_offset_from_index(&self) -> Result<Offset, ReadError> {
        let bytes = self.offset_index_bytes()?;
        let last =
            offset_index::valid_entries(&bytes).checked_sub(1).and_then(|last| offset_index::entry(&bytes, last));
        let start = last.map_or(0, |entry| u64::from(entry.position));
        let file = self.log_file()?;
        let mut scan = HeaderScan::new(&*file, start, self.size());
        let mut end = None;
        let corrupt =
            |position, reason: &str| CorruptFile { path: self.path(LOG), position, reason: reason.to_owned() };
        while let Some((position, header)) = scan.next().map_err(|error| error.at(&self.path(LOG)))? {
            let expected =
                last.filter(|_| end.is_none()).map(|entry| self.base_offset + i64::from(entry.relative_offset));
            if expected.is_some_and(|expected| expected != header.last_offset()) {
                return Err(corrupt(position, "the index names another batch").into());
            }
            if header.base_offset < end.unwrap_or(self.base_offset) {
                return Err(corrupt(position, "the batch has an offset that was there before").into());
            }
            end = Some(header.next_offset());
        }
        end.ok_or_else(|| corrupt(start, "no batch stands where the index ends").into())
    }

    /// The end of the segment after it was cut at `offset`: behind its last batch.
    pub(crate) fn end_offset_by_walking(&self, offset: Offset) -> Result<Offset, ReadError> {
        match self.end_offset_from_index() {
            Ok(end) => Ok(end),
            Err(_) if self.size() == 0 => Ok(self.base_offset.min(offset)),
            Err(error) => Err(error),
        }
    }

    /// First offset of the batch that holds `offset`, or of the next one. For a wrapper of magic 0 or 1, whose first offset is hidden by its codec, that of
    /// the segment.
    pub(crate) fn base_offset_of_batch(&self, offset: Offset) -> Result<Option<Offset>, ReadError> {
        let Some(found) = self.find(offset, self.size())? else { return Ok(None) };
        let file = self.log_file()?;
        let header = HeaderScan::new(&*file, found.position, self.size()).next();
        Ok(header.map_err(|error| error.at(&self.path(LOG)))?.map(|(_, header)| {
            let is_wrapper = header.leader_epoch == NO_LEADER_EPOCH && header.attributes.codec() != Ok(Codec::None);
            if is_wrapper { self.base_offset } else { header.base_offset }
        }))
    }

    /// The batch that holds `target`, from `first` on, behind which the scan stands.
    fn walk(
        &self,
        first: Option<(u64, BatchHeader)>,
        mut scan: HeaderScan<'_>,
        target: Offset,
    ) -> Result<Option<BatchPosition>, ReadError> {
        let mut next = first;
        loop {
            let found = match next.take() {
                Some(found) => Some(found),
                None => scan.next().map_err(|error| error.at(&self.path(LOG)))?,
            };
            match found {
                Some((position, header)) if header.last_offset() >= target => {
                    return Ok(Some(BatchPosition { position, size: header.size_in_bytes() as u64 }));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}
