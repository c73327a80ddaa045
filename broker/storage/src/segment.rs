//! One segment: a .log file and its indexes.
//!
//! An append is one write to the .log; what the indexes (`indexes`) and the memory of the newest batches (`recent`) learn of it is noted under the same lock.
//! Everything else is read when first needed: an idle segment holds no descriptor and no index. Appending and sealing are the owner's alone, readers may come
//! at any time; how they find a batch is in `find`. Source: `LogSegment`.

mod find;
mod indexes;
mod recent;
mod times;
mod verified;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{NO_TIMESTAMP, Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::descriptors::{BoundedDisk, Slot};
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{DiskError, ReadError};
use crate::log_config::LogConfig;
use crate::offset_index::{self, OffsetIndexEntry};
use crate::scan::{HeaderScan, ScanError, headers};
use crate::time_index::{self, TimeIndexEntry};
use crate::transaction_index;

use recent::{Recent, RecentBatch};
use times::{NO_TIMES, Times};
use verified::Verified;

pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TRANSACTION_INDEX: &str = ".txnindex";
pub(crate) const SNAPSHOT: &str = ".snapshot";
pub(crate) const DELETED: &str = ".deleted";

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
    verified: Verified,
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

    /// A new segment with its three empty files; what a crash left under their names is emptied. If it cannot be made, nothing of it stays: the
    /// segment before it goes on, and an empty one behind would say that the log ends there.
    pub(crate) fn create(place: &Arc<Place>, base_offset: Offset, now: Timestamp) -> Result<Segment, DiskError> {
        if let Err(error) = create_files(place, base_offset) {
            for path in [INDEX, TIME_INDEX, LOG].map(|suffix| place.path(base_offset, suffix)) {
                match place.disk().remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(DiskError::new("remove", &path)(error));
                    }
                    _ => {}
                }
            }
            return Err(error);
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
        for header in headers(bytes) {
            state.note(self.base_offset, &header, index_interval_bytes);
        }
        let end = state.size;
        state.verified.add(position, end);
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

    /// Largest timestamp, or the file's last change where the records have none.
    pub(crate) fn retention_timestamp(&self) -> Result<Timestamp, DiskError> {
        if let Some((timestamp, _)) = self.largest_timestamp()? {
            return Ok(timestamp);
        }
        self.last_modified()
    }

    /// When the .log file was last changed.
    pub(crate) fn last_modified(&self) -> Result<Timestamp, DiskError> {
        let path = self.path(LOG);
        let metadata = self.place.disk().metadata(&path).map_err(DiskError::new("inspect", &path))?;
        Ok(metadata.modified)
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
        // Recovery has read every byte of it.
        state.verified = Verified::default();
        state.verified.add(0, recovered.valid_bytes);
        drop(state);
        self.offset_index.clear();
        self.time_index.clear();
    }

    /// Whether this process wrote these bytes of the .log, or verified their checksums.
    pub(crate) fn is_verified(&self, from: u64, to: u64) -> bool {
        self.state.lock().verified.covers(from, to)
    }

    /// The checksums of all batches in this range of the .log are right.
    pub(crate) fn mark_verified(&self, from: u64, to: u64) {
        let mut state = self.state.lock();
        let end = to.min(state.size);
        state.verified.add(from, end);
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
        state.verified.truncate(found.position);
        drop(state);
        self.offset_index.clear();
        self.time_index.clear();
        self.transaction_index.clear();
        Ok(())
    }

    /// Give the files their `.deleted` names, the .log first: without it the others are nobody's, and one that keeps its name goes at the next start.
    /// Answers the new names.
    pub(crate) fn mark_deleted(&self) -> Result<Vec<PathBuf>, DiskError> {
        let mut renamed = Vec::new();
        let before: Vec<_> = [LOG, INDEX, TIME_INDEX, TRANSACTION_INDEX].map(|suffix| self.path(suffix)).into();
        self.is_deleted.store(true, Ordering::Release);
        for (place, from) in before.into_iter().enumerate() {
            let mut to = from.clone();
            to.as_mut_os_string().push(DELETED);
            match self.place.disk().rename(&from, &to).map_err(DiskError::new("rename", &from)) {
                Ok(()) => renamed.push(to),
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                // A longer name may need room in the directory. A removal does not, and makes some; who reads has the file open.
                Err(error) if error.is_full() && self.place.disk().remove_file(&from).is_ok() => {}
                Err(error) if place > 0 && error.is_full() => {}
                Err(error) => {
                    self.is_deleted.store(place > 0, Ordering::Release);
                    return Err(error);
                }
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
            let file = self.place.disk().open(&path, Open::Create).map_err(DiskError::new("open", &path))?;
            file.sync_data().map_err(DiskError::new("sync", &path))?;
        }
        Ok(())
    }
}

fn create_files(place: &Place, base_offset: Offset) -> Result<(), DiskError> {
    for suffix in [LOG, INDEX, TIME_INDEX] {
        let path = place.path(base_offset, suffix);
        let empty = || {
            let file = place.disk().open(&path, Open::Create)?;
            if file.is_empty()? { Ok(()) } else { file.truncate(0) }
        };
        empty().map_err(DiskError::new("create", &path))?;
    }
    Ok(())
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
