//! One segment: a .log file and its indexes.
//!
//! An append is one write to the .log; index entries wait in memory until the segment is sealed, the log is closed or many wait. The positions of the
//! newest batches are kept, so that a read at the tail needs no system call to find its place. Everything else is read when first needed:
//! an idle segment holds no descriptor and no index. Appending and sealing are the owner's alone, readers may come at any time.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_protocol::record_batch::{BatchHeader, batches};
use milena_protocol::types::{NO_TIMESTAMP, Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::descriptors::{BoundedDisk, Slot};
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{CorruptFile, DiskError, ReadError};
use crate::log_config::LogConfig;
use crate::offset_index::{self, OffsetIndexEntry};
use crate::scan::{HeaderScan, ScanError};
use crate::time_index::{self, TimeIndexEntry};
use crate::transaction_index::{self, AbortedTransaction};

pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TRANSACTION_INDEX: &str = ".txnindex";
pub(crate) const SNAPSHOT: &str = ".snapshot";
pub(crate) const DELETED: &str = ".deleted";

const RECENT_BATCHES_MAX: usize = 64;
/// Index entries that may wait in memory before they are written: 8 KiB of `.index`.
const PENDING_ENTRIES_MAX: usize = 1024;

/// Where a partition's files are. Shared by all of its segments, because a topic deletion renames the directory under them.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) bounded: BoundedDisk,
    dir: RwLock<Arc<Path>>,
}

impl Place {
    pub(crate) fn new(bounded: BoundedDisk, dir: &Path) -> Place {
        Place { bounded, dir: RwLock::new(Arc::from(dir)) }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.bounded.disk
    }

    pub(crate) fn dir(&self) -> Arc<Path> {
        Arc::clone(&self.dir.read())
    }

    pub(crate) fn set_dir(&self, dir: &Path) {
        *self.dir.write() = Arc::from(dir);
    }

    /// `<20 digits><suffix>` in the partition directory.
    pub(crate) fn path(&self, base_offset: Offset, suffix: &str) -> PathBuf {
        self.dir().join(format!("{base_offset:020}{suffix}"))
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    base_offset: Offset,
    place: Arc<Place>,
    log: Arc<Slot<Arc<dyn DiskFile>>>,
    offset_index: Arc<Slot<Arc<[u8]>>>,
    time_index: Arc<Slot<Arc<[u8]>>>,
    transaction_index: Arc<Slot<Arc<[u8]>>>,
    is_deleted: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of the .log.
    size: u64,
    created: Timestamp,
    bytes_since_index_entry: u64,
    /// Largest timestamp of the first batch; `None` while not read.
    first_timestamp: Option<Timestamp>,
    /// `None` while not read.
    times: Option<Times>,
    offset_entries_written: usize,
    time_entries_written: usize,
    pending_offsets: Vec<OffsetIndexEntry>,
    pending_times: Vec<TimeIndexEntry>,
    has_transaction_index: bool,
    recent: Recent,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    /// Largest timestamp so far, -1 if none, and the batch that holds it.
    largest: TimeIndexEntry,
    /// Timestamp of the last entry of the time index, -1 if none.
    last_entry: Timestamp,
}

const NO_TIMES: Times =
    Times { largest: TimeIndexEntry { timestamp: NO_TIMESTAMP, relative_offset: 0 }, last_entry: NO_TIMESTAMP };

/// The newest batches, oldest first.
#[derive(Debug, Default)]
struct Recent {
    /// Base offset of the oldest of them.
    first_offset: Offset,
    batches: VecDeque<RecentBatch>,
}

#[derive(Clone, Copy, Debug)]
struct RecentBatch {
    last_offset: Offset,
    position: u32,
    size: u32,
}

/// What the newest batches say of an offset.
enum RecentFind {
    At(BatchPosition),
    /// Behind the newest batch.
    Behind,
    /// Before the oldest of them.
    Unknown,
}

/// A batch in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPosition {
    pub(crate) position: u64,
    pub(crate) size: u64,
}

/// What a directory listing says of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SegmentFiles {
    pub(crate) log_bytes: u64,
    pub(crate) offset_index_bytes: Option<u64>,
    pub(crate) time_index_bytes: Option<u64>,
    pub(crate) has_transaction_index: bool,
}

impl Segment {
    /// A segment that is on disk already. Nothing is read.
    pub(crate) fn existing(place: &Arc<Place>, base_offset: Offset, files: &SegmentFiles, now: Timestamp) -> Segment {
        let state = State {
            size: files.log_bytes,
            created: now,
            offset_entries_written: entries_in(files.offset_index_bytes, offset_index::ENTRY_BYTES),
            time_entries_written: entries_in(files.time_index_bytes, time_index::ENTRY_BYTES),
            has_transaction_index: files.has_transaction_index,
            ..State::default()
        };
        Segment {
            base_offset,
            place: Arc::clone(place),
            log: Arc::default(),
            offset_index: Arc::default(),
            time_index: Arc::default(),
            transaction_index: Arc::default(),
            is_deleted: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// A new segment with its three empty files; what a crash left under their names is emptied.
    pub(crate) fn create(place: &Arc<Place>, base_offset: Offset, now: Timestamp) -> Result<Segment, DiskError> {
        let disk = place.disk();
        for suffix in [LOG, INDEX, TIME_INDEX] {
            let path = place.path(base_offset, suffix);
            let empty = || {
                let file = disk.open(&path, Open::Create)?;
                if file.is_empty()? { Ok(()) } else { file.truncate(0) }
            };
            empty().map_err(DiskError::new("create", &path))?;
        }
        let segment = Segment::existing(place, base_offset, &SegmentFiles::default(), now);
        {
            let mut state = segment.state.lock();
            state.times = Some(NO_TIMES);
            state.recent.first_offset = base_offset;
        }
        Ok(segment)
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of the .log.
    pub(crate) fn size(&self) -> u64 {
        self.state.lock().size
    }

    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        let mut path = self.place.path(self.base_offset, suffix);
        if self.is_deleted.load(Ordering::Acquire) {
            path.as_mut_os_string().push(DELETED);
        }
        path
    }

    /// The .log, opened if it is not.
    pub(crate) fn log_file(&self) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.place.bounded.descriptors.files().get(&self.log, || {
            let open = || {
                let path = self.path(LOG);
                let file = self.place.disk().open(&path, Open::Write);
                file.map(|file| (file, 1)).map_err(DiskError::new("open", &path))
            };
            // Retention or a topic deletion may have renamed it between the two.
            open().or_else(|error| if error.source.kind() == io::ErrorKind::NotFound { open() } else { Err(error) })
        })
    }

    /// Write `bytes`, whole batches that continue the segment, with one call, and note them in the indexes.
    pub(crate) fn append(&self, bytes: &[u8], index_interval_bytes: i32) -> Result<(), DiskError> {
        let file = self.log_file()?;
        self.times()?;
        let position = self.size();
        // The path is made only for an error: this is every append's way.
        file.write_all_at(bytes, position).map_err(|error| DiskError::new("append to", &self.path(LOG))(error))?;
        let mut state = self.state.lock();
        for batch in batches(bytes).flatten() {
            state.note(self.base_offset, batch.header(), index_interval_bytes);
        }
        Ok(())
    }

    /// Cut what a failed append left behind.
    pub(crate) fn cut_partial_append(&self) -> Result<(), DiskError> {
        let size = self.size();
        let path = self.path(LOG);
        self.log_file()?.truncate(size).map_err(DiskError::new("truncate", &path))
    }

    /// Whether an append of `bytes` whose largest timestamp is `timestamp` and last offset `last_offset` belongs in the next segment.
    pub(crate) fn should_roll(
        &self,
        config: &LogConfig,
        segment_ms: i64,
        bytes: usize,
        timestamp: Timestamp,
        last_offset: Offset,
        now: Timestamp,
    ) -> Result<bool, DiskError> {
        if i32::try_from(last_offset.wrapping_sub(self.base_offset)).is_err() {
            return Ok(true);
        }
        let (size, created, offset_entries, time_entries) = {
            let state = self.state.lock();
            (state.size, state.created, state.offset_entries(), state.time_entries())
        };
        let segment_bytes = config.segment_bytes.max(0) as u64;
        let index_bytes = config.segment_index_bytes.max(0) as usize;
        if size + bytes as u64 > segment_bytes
            || offset_entries >= index_bytes / offset_index::ENTRY_BYTES
            || time_entries + 1 >= index_bytes / time_index::ENTRY_BYTES
        {
            return Ok(true);
        }
        if size == 0 {
            return Ok(false);
        }
        let waited = match self.first_timestamp()? {
            first if first >= 0 => timestamp.saturating_sub(first),
            _ => now.saturating_sub(created),
        };
        Ok(waited > segment_ms)
    }

    /// Largest timestamp of the first batch, by which the segment is rolled; -1 if there is none.
    fn first_timestamp(&self) -> Result<Timestamp, DiskError> {
        let (known, size) = {
            let state = self.state.lock();
            (state.first_timestamp, state.size)
        };
        if let Some(first) = known {
            return Ok(first);
        }
        let file = self.log_file()?;
        let first = match HeaderScan::new(&*file, 0, size).next() {
            Ok(Some((_, header))) => header.max_timestamp,
            Ok(None) | Err(ScanError::Bad { .. }) => NO_TIMESTAMP,
            Err(ScanError::Disk(error)) => return Err(DiskError::new("read", &self.path(LOG))(error)),
        };
        self.state.lock().first_timestamp = Some(first);
        Ok(first)
    }

    fn times(&self) -> Result<Times, DiskError> {
        let entries_written = {
            let state = self.state.lock();
            match state.times {
                Some(times) => return Ok(times),
                None => state.time_entries_written,
            }
        };
        let mut times = NO_TIMES;
        if entries_written > 0 {
            let bytes = self.time_index_bytes()?;
            let last = time_index::valid_entries(&bytes).checked_sub(1);
            if let Some(entry) = last.and_then(|last| time_index::entry(&bytes, last)) {
                times = Times { largest: entry, last_entry: entry.timestamp };
            }
        }
        self.state.lock().times = Some(times);
        Ok(times)
    }

    /// Largest timestamp and the last offset of the batch that holds it, as far as the segment knows.
    pub(crate) fn largest_timestamp(&self) -> Result<Option<(Timestamp, Offset)>, DiskError> {
        let largest = self.times()?.largest;
        let offset = self.base_offset + i64::from(largest.relative_offset);
        Ok((largest.timestamp >= 0).then_some((largest.timestamp, offset)))
    }

    /// Largest timestamp, or the file's last change where the records have none.
    pub(crate) fn retention_timestamp(&self) -> Result<Timestamp, DiskError> {
        if let Some((timestamp, _)) = self.largest_timestamp()? {
            return Ok(timestamp);
        }
        let path = self.path(LOG);
        let metadata = self.place.disk().metadata(&path).map_err(DiskError::new("inspect", &path))?;
        Ok(metadata.modified)
    }

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

    /// First offset of the batch that holds `offset`, or of the next one.
    pub(crate) fn base_offset_of_batch(&self, offset: Offset) -> Result<Option<Offset>, ReadError> {
        let Some(found) = self.find(offset, self.size())? else { return Ok(None) };
        let file = self.log_file()?;
        let header = HeaderScan::new(&*file, found.position, self.size()).next();
        Ok(header.map_err(|error| error.at(&self.path(LOG)))?.map(|(_, header)| header.base_offset))
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

    /// Where to look for records of `timestamp` or later, at offset `start` or later.
    pub(crate) fn position_for_timestamp(&self, timestamp: Timestamp, start: Offset) -> Result<u64, ReadError> {
        let entries = self.state.lock().time_entries_written;
        let written = if entries == 0 { None } else { time_index::lookup(&self.time_index_bytes()?, timestamp) };
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

    fn offset_index_bytes(&self) -> Result<Arc<[u8]>, DiskError> {
        self.index_bytes(&self.offset_index, INDEX, |bytes| {
            offset_index::valid_entries(bytes) * offset_index::ENTRY_BYTES
        })
    }

    fn time_index_bytes(&self) -> Result<Arc<[u8]>, DiskError> {
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

    /// Take over what recovery found: sizes, timestamps and the index files it wrote.
    pub(crate) fn after_recovery(&self, recovered: &Recovered) {
        let mut state = self.state.lock();
        state.size = recovered.valid_bytes;
        state.first_timestamp = None;
        state.bytes_since_index_entry = 0;
        state.offset_entries_written = recovered.offset_entries.len();
        state.time_entries_written = recovered.time_entries.len();
        state.pending_offsets = Vec::new();
        state.pending_times = Vec::new();
        state.times = None;
        state.recent.forget();
        drop(state);
        self.offset_index.clear();
        self.time_index.clear();
    }

    pub(crate) fn set_transaction_index(&self, exists: bool) {
        self.state.lock().has_transaction_index = exists;
        self.transaction_index.clear();
    }

    pub(crate) fn has_transaction_index(&self) -> bool {
        self.state.lock().has_transaction_index
    }

    /// Cut everything from the batch that holds `offset` on. Index entries are cut accordingly, on disk, too.
    pub(crate) fn truncate_to(&self, offset: Offset, now: Timestamp) -> Result<(), ReadError> {
        self.write_indexes()?;
        let Some(found) = self.find(offset, self.size())? else { return Ok(()) };
        let relative = u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX);
        let offsets = self.offset_index_bytes()?;
        let (entries, _) = offsets.as_chunks::<{ offset_index::ENTRY_BYTES }>();
        let offset_entries = (0..entries.len())
            .take_while(|&index| {
                offset_index::entry(&offsets, index).is_some_and(|entry| entry.relative_offset < relative)
            })
            .count();
        let times = self.time_index_bytes()?;
        let time_entries = (0..times.len() / time_index::ENTRY_BYTES)
            .take_while(|&index| time_index::entry(&times, index).is_some_and(|entry| entry.relative_offset < relative))
            .count();
        // Indexes first: an index that is too short is only slow, one that is too long points at nothing.
        self.cut(INDEX, (offset_entries * offset_index::ENTRY_BYTES) as u64)?;
        self.cut(TIME_INDEX, (time_entries * time_index::ENTRY_BYTES) as u64)?;
        if self.has_transaction_index() {
            let bytes = self.transaction_index_bytes()?;
            let kept = transaction_index::entries(&bytes).take_while(|entry| entry.last_offset < offset).count();
            self.cut(TRANSACTION_INDEX, (kept * transaction_index::ENTRY_BYTES) as u64)?;
        }
        let path = self.path(LOG);
        self.log_file()?.truncate(found.position).map_err(DiskError::new("truncate", &path))?;
        let mut state = self.state.lock();
        state.size = found.position;
        if found.position == 0 {
            state.created = now;
        }
        state.first_timestamp = None;
        state.bytes_since_index_entry = 0;
        state.times = None;
        state.offset_entries_written = offset_entries;
        state.time_entries_written = time_entries;
        state.recent.forget();
        drop(state);
        self.offset_index.clear();
        self.time_index.clear();
        self.transaction_index.clear();
        Ok(())
    }

    fn cut(&self, suffix: &str, len: u64) -> Result<(), DiskError> {
        let path = self.path(suffix);
        let cut = || self.place.disk().open(&path, Open::Create)?.truncate(len);
        cut().map_err(DiskError::new("truncate", &path))
    }

    /// Give the files their `.deleted` names. Answers the new names.
    pub(crate) fn mark_deleted(&self) -> Result<Vec<PathBuf>, DiskError> {
        let mut renamed = Vec::new();
        let before: Vec<_> = [LOG, INDEX, TIME_INDEX, TRANSACTION_INDEX].map(|suffix| self.path(suffix)).into();
        self.is_deleted.store(true, Ordering::Release);
        for from in before {
            let mut to = from.clone();
            to.as_mut_os_string().push(DELETED);
            match self.place.disk().rename(&from, &to) {
                Ok(()) => renamed.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(DiskError::new("rename", &from)(error)),
            }
        }
        Ok(renamed)
    }

    /// Make the .log survive a power cut; `sealed`: its indexes, too.
    pub(crate) fn sync(&self, sealed: bool) -> Result<(), DiskError> {
        self.log_file()?.sync_data().map_err(|error| DiskError::new("sync", &self.path(LOG))(error))?;
        if !sealed {
            return Ok(());
        }
        let transaction_index = self.has_transaction_index().then_some(TRANSACTION_INDEX);
        for suffix in [INDEX, TIME_INDEX].into_iter().chain(transaction_index) {
            let path = self.path(suffix);
            let sync = || self.place.disk().open(&path, Open::Create)?.sync_data();
            sync().map_err(DiskError::new("sync", &path))?;
        }
        Ok(())
    }
}

fn entries_in(file_bytes: Option<u64>, entry_bytes: usize) -> usize {
    usize::try_from(file_bytes.unwrap_or(0)).unwrap_or(0) / entry_bytes
}

/// What a walk over a whole segment found: how far it is good, and what its indexes must hold.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) valid_bytes: u64,
    pub(crate) offset_entries: Vec<OffsetIndexEntry>,
    pub(crate) time_entries: Vec<TimeIndexEntry>,
}

impl State {
    fn offset_entries(&self) -> usize {
        self.offset_entries_written + self.pending_offsets.len()
    }

    fn time_entries(&self) -> usize {
        self.time_entries_written + self.pending_times.len()
    }

    fn note(&mut self, base_offset: Offset, header: &BatchHeader, index_interval_bytes: i32) {
        let relative_offset = (header.last_offset() - base_offset) as u32;
        let position = self.size as u32;
        let times = self.times.get_or_insert(NO_TIMES);
        if header.max_timestamp > times.largest.timestamp {
            times.largest = TimeIndexEntry { timestamp: header.max_timestamp, relative_offset };
        }
        if self.bytes_since_index_entry > index_interval_bytes.max(0) as u64 {
            self.pending_offsets.push(OffsetIndexEntry { relative_offset, position });
            if times.largest.timestamp > times.last_entry {
                self.pending_times.push(times.largest);
                times.last_entry = times.largest.timestamp;
            }
            self.bytes_since_index_entry = 0;
        }
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        let size = header.size_in_bytes();
        self.recent
            .push(header.base_offset, RecentBatch { last_offset: header.last_offset(), position, size: size as u32 });
        self.size += size as u64;
        self.bytes_since_index_entry += size as u64;
    }
}

impl Recent {
    fn push(&mut self, base_offset: Offset, batch: RecentBatch) {
        if self.batches.is_empty() {
            self.first_offset = base_offset;
        } else if self.batches.len() == RECENT_BATCHES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.first_offset = oldest.last_offset + 1;
        }
        self.batches.push_back(batch);
    }

    fn find(&self, target: Offset) -> RecentFind {
        if self.batches.is_empty() || target < self.first_offset {
            return RecentFind::Unknown;
        }
        match self.batches.get(self.batches.partition_point(|batch| batch.last_offset < target)) {
            Some(batch) => {
                RecentFind::At(BatchPosition { position: u64::from(batch.position), size: u64::from(batch.size) })
            }
            None => RecentFind::Behind,
        }
    }

    fn forget(&mut self) {
        self.batches = VecDeque::new();
    }
}
