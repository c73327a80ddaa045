//! What readers see of a log: a view that the appender publishes, and the reads on it.
//!
//! A reader copies the view (two counted pointers and a few numbers, under a lock held for nanoseconds) and never takes the append lock. Segments in a view
//! stay readable while it is held, also when retention renames them. Source: `LocalLog.read`, `LogSegment.read`, `UnifiedLog.fetchOffsetByTimestamp`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use milena_protocol::compression::{CompressionError, decompress};
use milena_protocol::file_range::{FileRange, FileSource};
use milena_protocol::legacy::message_set::{MessageRecord, MessageSetError, MessageView};
use milena_protocol::record_batch::{BatchError, BatchHeader, BatchView};
use milena_protocol::records::records;
use milena_protocol::types::{LeaderEpoch, NO_LEADER_EPOCH, Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::disk::DiskFile;
use crate::error::{CorruptFile, DiskError, OffsetOutOfRange, ReadError};
use crate::leader_epochs::{EpochEndOffset, LeaderEpochs};
use crate::scan::HeaderScan;
use crate::segment::{LOG, Segment};
use crate::transaction_index::{self, AbortedTransaction};
use crate::validate::{DECOMPRESSED_BYTES_AT_ONCE, LARGE_BATCH};

/// Records of one batch may take this much memory while a timestamp is looked for in them; large ones wait for each other.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 28;

/// Batches that are looked into at once: each may be decompressed, and anybody may ask for a timestamp.
static LOOK_UPS: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];
static NEXT_LOOK_UP: AtomicUsize = AtomicUsize::new(0);

/// What a read found.
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    /// The bytes to send: they begin with the batch that holds the offset, lie in one segment and may end inside a batch. `None`: nothing below the bound.
    pub range: Option<FileRange>,
    /// What these bytes must be.
    pub check: Option<RangeCheck>,
    /// Size of the first batch; `range` is shorter only without `min_one_batch`.
    pub first_batch_bytes: usize,
}

impl ReadPlan {
    /// Bytes to send.
    pub fn len(&self) -> usize {
        self.range.as_ref().map_or(0, |range| range.len)
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the bytes of a plan must be: whoever reads them from a device holds them against this before they are sent.
#[derive(Clone, Debug)]
pub struct RangeCheck {
    segment: Arc<Segment>,
    from: u64,
    to: u64,
    is_verified: bool,
    /// The next batch holds this offset, or begins at it; before the first batch the offset that is read from.
    next_offset: Offset,
    is_first: bool,
    /// First offset of the next segment, or the log end.
    end_offset: Offset,
    /// Whether compaction may have left holes.
    may_have_holes: bool,
}

impl RangeCheck {
    /// Whether this process wrote or verified all of these bytes.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Whether a batch may stand where it does; offsets lie outside of its checksum. Batches come in order.
    pub fn follows(&mut self, header: &BatchHeader) -> bool {
        let is_in_place = match (self.is_first, self.may_have_holes) {
            (true, true) => header.last_offset() >= self.next_offset,
            (true, false) => (header.base_offset..=header.last_offset()).contains(&self.next_offset),
            (false, true) => header.base_offset >= self.next_offset,
            (false, false) => header.base_offset == self.next_offset,
        };
        self.is_first = false;
        self.next_offset = header.next_offset();
        is_in_place && header.base_offset >= self.segment.base_offset() && self.next_offset <= self.end_offset
    }

    /// The same for a message of magic 0 or 1, which knows only the last offset in it.
    pub fn follows_message(&mut self, last_offset: Offset) -> bool {
        let is_in_place = last_offset >= self.next_offset;
        self.is_first = false;
        self.next_offset = last_offset.saturating_add(1);
        is_in_place && self.next_offset <= self.end_offset
    }

    /// Every batch that begins here and ends before `end` is sound: nobody needs to look again before it is read from the device again.
    pub fn verified_up_to(&self, end: u64) {
        self.segment.mark_verified(self.from, end.min(self.to));
    }

    /// The file, for a message about it.
    pub fn path(&self) -> PathBuf {
        self.segment.path(LOG)
    }
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Timestamp of the record.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// What the appender publishes.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Oldest first, never empty; the last one is active.
    pub(crate) segments: Arc<[Arc<Segment>]>,
    /// Bytes of the active segment that belong to this view.
    pub(crate) active_bytes: u64,
    pub(crate) size_in_bytes: u64,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) first_unstable_offset: Option<Offset>,
    /// Whether compaction may have left holes.
    pub(crate) may_have_holes: bool,
    pub(crate) leader_epochs: Arc<LeaderEpochs>,
}

/// Reads a log while it is appended to. Shared by all readers.
#[derive(Debug)]
pub struct LogReader {
    view: RwLock<View>,
}

impl LogReader {
    pub(crate) fn new(view: View) -> LogReader {
        LogReader { view: RwLock::new(view) }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.write());
    }

    fn view(&self) -> View {
        self.view.read().clone()
    }

    /// First offset of the log.
    pub fn log_start_offset(&self) -> Offset {
        self.view.read().log_start_offset
    }

    /// End of the log, exclusive.
    pub fn log_end_offset(&self) -> Offset {
        self.view.read().log_end_offset
    }

    /// First offset of the oldest transaction that is open, or decided but above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.view.read().first_unstable_offset
    }

    /// What `read_committed` consumers may read, exclusive: the first unstable offset, but never above `high_watermark`.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.first_unstable_offset().map_or(high_watermark, |unstable| unstable.min(high_watermark))
    }

    /// Bytes of all .log files.
    pub fn size_in_bytes(&self) -> u64 {
        self.view.read().size_in_bytes
    }

    /// Plan a read of at most `max_bytes` from the batch that holds `start`, up to `upper_bound_exclusive` (high watermark, last stable offset or log
    /// end). With `min_one_batch` the first batch is returned whole even if it is larger. No record is read.
    ///
    /// # Errors
    /// `OffsetOutOfRange` if `start` is below the log start or above the log end; a `start` between the bound and the log end is just empty.
    pub fn read(
        &self,
        start: Offset,
        max_bytes: usize,
        upper_bound_exclusive: Offset,
        min_one_batch: bool,
    ) -> Result<ReadPlan, ReadError> {
        let view = self.view();
        let result = view.read(start, max_bytes, upper_bound_exclusive, min_one_batch);
        if matches!(result, Err(ReadError::Disk(_) | ReadError::Corrupt(_))) {
            // The files may have gone or been cut since the view was copied: then the view of now tells the truth.
            let now = self.view();
            if !Arc::ptr_eq(&now.segments, &view.segments) || now.log_end_offset < view.log_end_offset {
                return now.read(start, max_bytes, upper_bound_exclusive, min_one_batch);
            }
        }
        result
    }

    /// Bytes of batches from the one that holds `start` to `upper_bound_exclusive`: what `min.bytes` counts.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn bytes_between(&self, start: Offset, upper_bound_exclusive: Offset) -> Result<u64, ReadError> {
        let view = self.view();
        view.check_in_range(start)?;
        let upper_bound = upper_bound_exclusive.min(view.log_end_offset);
        if start >= upper_bound {
            return Ok(0);
        }
        let (first, last) = (view.segment_of(start), view.segment_of(upper_bound));
        let mut bytes = 0;
        for index in first..=last {
            let end = if index == last { view.position_in(index, upper_bound)? } else { view.limit(index) };
            let begin = if index == first { view.position_in(index, start)? } else { 0 };
            bytes += end.saturating_sub(begin);
        }
        Ok(bytes)
    }

    /// Aborted transactions that concern `start..upper_bound_exclusive`, in the order of their markers.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn aborted_transactions(
        &self,
        start: Offset,
        upper_bound_exclusive: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let view = self.view();
        let mut found = Vec::new();
        for segment in view.segments.iter().skip(view.segment_of(start)) {
            let bytes = segment.transaction_index_bytes()?;
            if transaction_index::collect(&bytes, start, upper_bound_exclusive, &mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// The first record at or above the log start whose timestamp is `timestamp` or later, if it lies below `upper_bound_exclusive`.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` if a batch cannot be decoded.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        upper_bound_exclusive: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let view = self.view();
        for (index, segment) in view.segments.iter().enumerate().skip(view.segment_of(view.log_start_offset)) {
            let is_active = index + 1 == view.segments.len();
            let largest = segment.largest_timestamp()?;
            if !is_active && largest.is_none_or(|(largest, _)| largest < timestamp) {
                continue;
            }
            let position = segment.position_for_timestamp(timestamp, view.log_start_offset)?;
            let wanted = |header: &BatchHeader| header.max_timestamp >= timestamp;
            let matches =
                |found: &TimestampOffset| found.timestamp >= timestamp && found.offset >= view.log_start_offset;
            if let Some(found) = first_record(segment, position, view.limit(index), wanted, matches)? {
                return Ok(Some(found).filter(|found| found.offset < upper_bound_exclusive));
            }
        }
        Ok(None)
    }

    /// The first record that holds the largest timestamp of the log.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` if a batch cannot be decoded.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let view = self.view();
        let mut best: Option<(usize, Timestamp, Offset)> = None;
        for (index, segment) in view.segments.iter().enumerate() {
            if let Some((timestamp, offset)) = segment.largest_timestamp()?
                && best.is_none_or(|(_, best, _)| timestamp > best)
            {
                best = Some((index, timestamp, offset));
            }
        }
        let Some((index, timestamp, batch_last_offset)) = best else { return Ok(None) };
        let Some(segment) = view.segments.get(index) else { return Ok(None) };
        let limit = view.limit(index);
        let Some(batch) = segment.find(batch_last_offset, limit)? else { return Ok(None) };
        first_record(segment, batch.position, limit, |_| true, |found| found.timestamp >= timestamp)
    }

    /// Where segments begin, largest first, as ListOffsets v0 knows them: of the segments last changed up to `timestamp`
    /// (and of the log's end, which counts as changed `now` if the active segment holds anything), the last
    /// `max_num_offsets`. `None` asks without regard to the time, and is answered with the log's end first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn segment_offsets_before(
        &self,
        timestamp: Option<Timestamp>,
        max_num_offsets: usize,
        now: Timestamp,
    ) -> Result<Vec<Offset>, ReadError> {
        let view = self.view();
        let mut offsets: Vec<Offset> = Vec::new();
        if view.active_bytes > 0 && timestamp.is_none_or(|timestamp| now <= timestamp) && max_num_offsets > 0 {
            offsets.push(view.log_end_offset);
        }
        for segment in view.segments.iter().rev() {
            if offsets.len() >= max_num_offsets {
                break;
            }
            // From the first segment that is old enough on, the ones before it belong to it whatever their time.
            let is_old_enough = match timestamp {
                Some(timestamp) if offsets.is_empty() => segment.last_modified()? <= timestamp,
                Some(_) | None => true,
            };
            if is_old_enough {
                offsets.push(segment.base_offset().max(view.log_start_offset));
            }
        }
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        Ok(offsets)
    }

    /// The largest epoch not above `leader_epoch` and where it ends; `None` for an epoch this log has not heard of yet.
    pub fn end_offset_for_epoch(&self, leader_epoch: LeaderEpoch) -> Option<EpochEndOffset> {
        let view = self.view.read();
        view.leader_epochs.end_offset_for(leader_epoch, view.log_end_offset)
    }

    /// The newest leader epoch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.view.read().leader_epochs.latest()
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.view.read().leader_epochs.epoch_for_offset(offset)
    }
}

impl View {
    fn read(
        &self,
        start: Offset,
        max_bytes: usize,
        upper_bound_exclusive: Offset,
        min_one_batch: bool,
    ) -> Result<ReadPlan, ReadError> {
        self.check_in_range(start)?;
        let upper_bound = upper_bound_exclusive.min(self.log_end_offset);
        if start >= upper_bound {
            return Ok(ReadPlan::default());
        }
        for index in self.segment_of(start)..self.segments.len() {
            let Some(segment) = self.segments.get(index) else { break };
            let limit = self.limit(index);
            let Some(first) = segment.find(start, limit)? else {
                let next = self.end_of(index);
                if start < next && !self.may_have_holes {
                    let reason = format!("it ends before offset {start}, and the next segment begins at {next}");
                    return Err(CorruptFile { path: segment.path(LOG), position: limit, reason }.into());
                }
                continue;
            };
            let end = self.position_in(index, upper_bound)?;
            let available = usize::try_from(end.saturating_sub(first.position)).unwrap_or(usize::MAX);
            let first_batch_bytes = first.size as usize;
            let len = available.min(if min_one_batch { max_bytes.max(first_batch_bytes) } else { max_bytes });
            if len == 0 {
                let first_batch_bytes = first_batch_bytes.min(available);
                return Ok(ReadPlan { range: None, check: None, first_batch_bytes });
            }
            let source: Arc<dyn FileSource> = segment.log_file()?;
            let (from, to) = (first.position, first.position + len as u64);
            let check = RangeCheck {
                segment: Arc::clone(segment),
                from,
                to,
                is_verified: segment.is_verified(from, to),
                next_offset: start,
                is_first: true,
                end_offset: self.end_of(index),
                may_have_holes: self.may_have_holes,
            };
            let range = FileRange { source, position: first.position, len };
            return Ok(ReadPlan { range: Some(range), check: Some(check), first_batch_bytes });
        }
        Ok(ReadPlan::default())
    }

    fn check_in_range(&self, offset: Offset) -> Result<(), OffsetOutOfRange> {
        let View { log_start_offset, log_end_offset, .. } = *self;
        if (log_start_offset..=log_end_offset).contains(&offset) {
            return Ok(());
        }
        Err(OffsetOutOfRange { offset, log_start_offset, log_end_offset })
    }

    /// Index of the segment whose range holds `offset`.
    fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
    }

    /// First offset behind a segment.
    fn end_of(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset())
    }

    /// Bytes of a segment that belong to this view.
    fn limit(&self, index: usize) -> u64 {
        if index + 1 == self.segments.len() {
            return self.active_bytes;
        }
        self.segments.get(index).map_or(0, |segment| segment.size())
    }

    /// Position in segment number `index` of the first batch that ends at `offset` or later, or the end of the segment.
    fn position_in(&self, index: usize, offset: Offset) -> Result<u64, ReadError> {
        let limit = self.limit(index);
        match self.segments.get(index) {
            Some(segment) if offset < self.end_of(index) => {
                Ok(segment.find(offset, limit)?.map_or(limit, |found| found.position))
            }
            _ => Ok(limit),
        }
    }
}

/// The first record that `matches`, in batches from `position` on whose header is `wanted`.
fn first_record(
    segment: &Segment,
    position: u64,
    limit: u64,
    wanted: impl Fn(&BatchHeader) -> bool,
    matches: impl Fn(&TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, ReadError> {
    let file = segment.log_file()?;
    let mut scan = HeaderScan::new(&*file, position, limit);
    while let Some((position, header)) = scan.next().map_err(|error| error.at(&segment.path(LOG)))? {
        if !wanted(&header) {
            continue;
        }
        let _place = LOOK_UPS[NEXT_LOOK_UP.fetch_add(1, Ordering::Relaxed) % LOOK_UPS.len()].lock();
        let corrupt = |reason: String| CorruptFile { path: segment.path(LOG), position, reason };
        let undecodable = |reason: String| ReadError::Undecodable(corrupt(reason));
        let bytes = read_batch(segment, &*file, position, &header)?;
        let batch = match BatchView::parse(&bytes) {
            Err(BatchError::OldMagic { .. }) => match first_in_message(&bytes, &matches) {
                Ok(None) => continue,
                Ok(found) => return Ok(found),
                Err(error) if error.code() == 2 => return Err(corrupt(error.to_string()).into()),
                Err(error) => return Err(undecodable(error.to_string())),
            },
            batch => batch.map_err(|error| corrupt(error.to_string()))?,
        };
        if !batch.crc_is_valid() {
            return Err(corrupt("the batch has a wrong checksum".to_owned()).into());
        }
        let codec = header.attributes.codec().map_err(|id| undecodable(format!("unknown codec {id}")))?;
        let (_alone, decompressed) = match decompress(codec, batch.record_bytes(), DECOMPRESSED_BYTES_AT_ONCE) {
            Err(CompressionError::TooLarge { .. }) => {
                let alone = LARGE_BATCH.lock();
                (Some(alone), decompress(codec, batch.record_bytes(), DECOMPRESSED_BYTES_MAX))
            }
            decompressed => (None, decompressed),
        };
        let plain = decompressed.map_err(|error| undecodable(error.to_string()))?;
        for record in records(&plain, header.records_count) {
            let record = record.map_err(|error| undecodable(error.to_string()))?;
            let found = TimestampOffset {
                timestamp: header.record_timestamp(record.timestamp_delta),
                offset: header.base_offset + i64::from(record.offset_delta),
                leader_epoch: header.leader_epoch,
            };
            if matches(&found) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// As [`first_record`] in one message of magic 0 or 1, which may be a wrapper.
fn first_in_message(
    bytes: &[u8],
    matches: impl Fn(&TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, MessageSetError> {
    let message = MessageView::parse(bytes).map_err(MessageSetError::Frame)?;
    message.check_crc()?;
    let (_alone, mut large);
    let mut small = Vec::new();
    let records = match message.records(DECOMPRESSED_BYTES_AT_ONCE, &mut small) {
        Err(MessageSetError::DecompressedTooLarge { .. }) => {
            _alone = LARGE_BATCH.lock();
            large = Vec::new();
            message.records(DECOMPRESSED_BYTES_MAX, &mut large)?
        }
        records => records?,
    };
    for record in records {
        let MessageRecord { offset, timestamp, .. } = record?;
        let found = TimestampOffset { timestamp, offset, leader_epoch: NO_LEADER_EPOCH };
        if matches(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read_batch(
    segment: &Segment,
    file: &dyn DiskFile,
    position: u64,
    header: &BatchHeader,
) -> Result<Vec<u8>, DiskError> {
    let mut bytes = vec![0; header.size_in_bytes()];
    file.read_exact_at(&mut bytes, position).map_err(DiskError::new("read", &segment.path(LOG)))?;
    Ok(bytes)
}
