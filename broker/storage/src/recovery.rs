//! Opening a partition directory: what a crash left is put right, then the log's state is read.
//!
//! After a clean stop only the tail behind the last index entry is walked. After any other stop the segments from the one that holds the recovery point on
//! are read whole: every checksum is verified, the log is cut at the first bad batch, indexes, leader epochs and producer state are made anew. Below the
//! recovery point nothing is ever cut: those bytes were on stable storage, so that a bad batch there is a failing disk and the log is not opened.
//! Opening changes nothing that opening again would not change in the same way; a crash at any moment of it is harmless.
//! Source: `LogLoader`, `LogSegment.recover`, `UnifiedLog.rebuildProducerState`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::record_batch::{BatchHeader, BatchView};
use milena_protocol::records::records;
use milena_protocol::types::{NO_TIMESTAMP, Offset};

use crate::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::disk::{DirEntry, Open};
use crate::error::{CorruptFile, DiskError, InconsistentTopicId, ReadError, StorageError};
use crate::leader_epochs::LeaderEpochs;
use crate::log::{OpenLog, RecoveryReport};
use crate::offset_index::{self, OffsetIndexEntry};
use crate::producer_state::{EndTxn, ProducerState};
use crate::scan::{BatchScan, HeaderScan, ScanError};
use crate::segment::{
    DELETED, INDEX, LOG, Place, Recovered, SNAPSHOT, Segment, SegmentFiles, TIME_INDEX, TRANSACTION_INDEX,
};
use crate::snapshot;
use crate::time_index::{self, TimeIndexEntry};
use crate::transaction_index::AbortedTransaction;

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
const TEMPORARY: &str = ".tmp";

/// The state of a log as found on disk.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) producers: ProducerState,
    /// Offsets of the `.snapshot` files, ascending.
    pub(crate) snapshots: BTreeSet<Offset>,
    pub(crate) leader_epochs: LeaderEpochs,
    /// Whether `leader-epoch-checkpoint` has to be written.
    pub(crate) leader_epochs_changed: bool,
    /// Segments whose bytes may not be on stable storage.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// Whether the directory or one of its small files was changed.
    pub(crate) names_changed: bool,
    pub(crate) report: RecoveryReport,
}

pub(crate) fn load(open: &OpenLog, place: &Arc<Place>) -> Result<Loaded, StorageError> {
    let mut loader = Loader { open, place, report: RecoveryReport::default(), names_changed: false };
    loader.create_dir()?;
    let listing = loader.finish_interrupted_work()?;
    loader.topic_id(&listing)?;
    let (files, snapshots) = loader.files(&listing)?;
    loader.load(&files, snapshots, &listing)
}

struct Loader<'a> {
    open: &'a OpenLog,
    place: &'a Arc<Place>,
    report: RecoveryReport,
    names_changed: bool,
}

impl Loader<'_> {
    fn create_dir(&mut self) -> Result<(), DiskError> {
        let dir = &self.open.dir;
        match self.place.disk().metadata(dir) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.names_changed = true;
                self.place.disk().create_dir_all(dir).map_err(DiskError::new("create", dir))
            }
            Err(error) => Err(DiskError::new("inspect", dir)(error)),
        }
    }

    fn list(&self) -> Result<Vec<DirEntry>, DiskError> {
        let dir = &self.open.dir;
        self.place.disk().read_dir(dir).map_err(DiskError::new("list", dir))
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.names_changed = true;
        let path = self.open.dir.join(name);
        match self.place.disk().remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::new("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Deletions go on, half-made files go, a compaction that got as far as `.swap` is finished. Answers the directory's listing.
    fn finish_interrupted_work(&mut self) -> Result<Vec<DirEntry>, StorageError> {
        let mut listing = self.list()?;
        let is_leftover = |name: &str| [DELETED, CLEANED, TEMPORARY].iter().any(|suffix| name.ends_with(suffix));
        let cleaned = listing.iter().filter(|entry| entry.name.ends_with(CLEANED));
        let first_cleaned = cleaned.filter_map(|entry| base_offset_of(&entry.name)).min();
        let mut leftovers: Vec<String> =
            listing.iter().filter(|entry| is_leftover(&entry.name)).map(|entry| entry.name.clone()).collect();
        let mut swaps: Vec<&DirEntry> = listing.iter().filter(|entry| entry.name.ends_with(SWAP)).collect();
        if let Some(first_cleaned) = first_cleaned {
            // A swap at or behind a file that is still being cleaned belongs to the same unfinished split.
            let (unfinished, finished): (Vec<&DirEntry>, Vec<&DirEntry>) = swaps
                .into_iter()
                .partition(|entry| base_offset_of(&entry.name).is_none_or(|base| base >= first_cleaned));
            leftovers.extend(unfinished.into_iter().map(|entry| entry.name.clone()));
            swaps = finished;
        }
        let swaps: Vec<String> = swaps.into_iter().map(|entry| entry.name.clone()).collect();
        for name in &leftovers {
            self.remove(name)?;
        }
        if !swaps.is_empty() {
            self.finish_swaps(&swaps, &listing)?;
        }
        if !leftovers.is_empty() || !swaps.is_empty() {
            listing = self.list()?;
        }
        Ok(listing)
    }

    fn finish_swaps(&mut self, swaps: &[String], listing: &[DirEntry]) -> Result<(), StorageError> {
        let mut replaced: Option<(Offset, Offset)> = None;
        for name in swaps.iter().filter(|name| name.strip_suffix(SWAP).is_some_and(|name| name.ends_with(LOG))) {
            let Some(base) = base_offset_of(name) else { continue };
            let path = self.open.dir.join(name);
            let open = || {
                let file = self.place.disk().open(&path, Open::Read)?;
                let len = file.len()?;
                Ok((file, len))
            };
            let (file, len) = open().map_err(DiskError::new("open", &path))?;
            let mut end = base;
            let mut scan = HeaderScan::new(&*file, 0, len);
            while let Some((_, header)) = scan.next().map_err(|error| error.at(&path))? {
                end = header.next_offset();
            }
            let (first, last) = replaced.unwrap_or((base, end));
            replaced = Some((first.min(base), last.max(end)));
        }
        if let Some((first, end)) = replaced {
            for entry in listing.iter().filter(|entry| !swaps.contains(&entry.name)) {
                let is_segment_file =
                    [LOG, INDEX, TIME_INDEX, TRANSACTION_INDEX].iter().any(|suffix| entry.name.ends_with(suffix));
                if is_segment_file && base_offset_of(&entry.name).is_some_and(|base| (first..end).contains(&base)) {
                    self.remove(&entry.name)?;
                }
            }
        }
        for name in swaps {
            let (from, to) = (self.open.dir.join(name), self.open.dir.join(name.strip_suffix(SWAP).unwrap_or(name)));
            self.names_changed = true;
            self.place.disk().rename(&from, &to).map_err(DiskError::new("rename", &from))?;
        }
        Ok(())
    }

    fn topic_id(&mut self, listing: &[DirEntry]) -> Result<(), StorageError> {
        let Some(expected) = self.open.topic_id else { return Ok(()) };
        let path = self.open.dir.join(PARTITION_METADATA);
        if listing.iter().any(|entry| entry.name == PARTITION_METADATA) {
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            match checkpoint::decode_partition_metadata(&bytes) {
                Ok(found) if found == expected => return Ok(()),
                Ok(found) => return Err(InconsistentTopicId { expected, found }.into()),
                // Torn when the directory was created and the power failed.
                Err(_) => {}
            }
        }
        self.names_changed = true;
        let bytes = checkpoint::encode_partition_metadata(expected);
        self.place.disk().replace_unsynced(&path, &bytes).map_err(DiskError::new("write", &path))?;
        Ok(())
    }

    fn files(&mut self, listing: &[DirEntry]) -> Result<(BTreeMap<Offset, SegmentFiles>, BTreeSet<Offset>), DiskError> {
        let mut files: BTreeMap<Offset, SegmentFiles> = BTreeMap::new();
        let mut snapshots = BTreeSet::new();
        for entry in listing {
            if let Some(base) = entry.name.strip_suffix(LOG).and_then(parse_offset) {
                files.entry(base).or_default().log_bytes = entry.len;
            } else if let Some(offset) = entry.name.strip_suffix(SNAPSHOT).and_then(parse_offset) {
                snapshots.insert(offset);
            }
        }
        let mut orphans = Vec::new();
        for entry in listing {
            for suffix in [INDEX, TIME_INDEX, TRANSACTION_INDEX] {
                let Some(base) = entry.name.strip_suffix(suffix).and_then(parse_offset) else { continue };
                match (files.get_mut(&base), suffix) {
                    (Some(files), INDEX) => files.offset_index_bytes = Some(entry.len),
                    (Some(files), TIME_INDEX) => files.time_index_bytes = Some(entry.len),
                    (Some(files), _) => files.has_transaction_index = true,
                    (None, _) => orphans.push(entry.name.clone()),
                }
            }
        }
        for name in orphans {
            self.remove(&name)?;
        }
        Ok((files, snapshots))
    }

    fn load(
        mut self,
        files: &BTreeMap<Offset, SegmentFiles>,
        mut snapshots: BTreeSet<Offset>,
        listing: &[DirEntry],
    ) -> Result<Loaded, StorageError> {
        let open = self.open;
        let mut segments: Vec<Arc<Segment>> =
            files.iter().map(|(&base, files)| Arc::new(Segment::existing(self.place, base, files, open.now))).collect();
        let first_unflushed = if open.clean_shutdown {
            segments.len()
        } else {
            segments.partition_point(|segment| segment.base_offset() <= open.recovery_point).saturating_sub(1)
        };
        let mut unsynced = Vec::new();
        for (segment, files) in segments.iter().zip(files.values()).take(first_unflushed) {
            if !has_sound_indexes(files) {
                self.rebuild_indexes(segment)?;
                unsynced.push(Arc::clone(segment));
            }
        }
        let (mut leader_epochs, mut leader_epochs_changed) = self.leader_epochs(listing, &segments, first_unflushed)?;
        let mut producers = ProducerState::default();
        let mut log_end_offset = match segments.last() {
            None => open.log_start_offset.max(0),
            Some(last) if first_unflushed == segments.len() => self.clean_end(last)?,
            Some(_) => {
                let mut tail = Tail {
                    segments: &mut segments,
                    first_unflushed,
                    snapshots: &mut snapshots,
                    producers: &mut producers,
                    leader_epochs: &mut leader_epochs,
                    leader_epochs_changed: &mut leader_epochs_changed,
                };
                let end = self.recover_tail(&mut tail)?;
                unsynced.extend(segments.iter().skip(first_unflushed).map(Arc::clone));
                end
            }
        };
        if log_end_offset < open.log_start_offset {
            // Everything that is left lies below the log start; who wrote it is remembered.
            if !producers.is_empty() {
                self.write_snapshot(&producers, open.log_start_offset)?;
            }
            for offset in std::mem::take(&mut snapshots) {
                self.remove(&snapshot_name(offset))?;
            }
            snapshots.extend((!producers.is_empty()).then_some(open.log_start_offset));
            while let Some(segment) = segments.pop() {
                self.remove_segment(&segment)?;
            }
            unsynced.clear();
            leader_epochs_changed |= leader_epochs.clear();
            log_end_offset = open.log_start_offset;
        }
        if segments.is_empty() {
            self.names_changed = true;
            segments.push(Arc::new(Segment::create(self.place, log_end_offset, open.now)?));
        }
        let first_base = segments.first().map_or(0, |segment| segment.base_offset());
        let log_start_offset = open.log_start_offset.max(first_base);
        // An epoch that began at the log end has no records yet; it stays, and the next one replaces it.
        leader_epochs_changed |= leader_epochs.truncate_from_end(log_end_offset.saturating_add(1));
        leader_epochs_changed |= leader_epochs.truncate_from_start(log_start_offset);
        if first_unflushed >= files.len() {
            self.drop_snapshots(&mut snapshots, log_end_offset)?;
            let (state, from) = self.newest_snapshot(&mut snapshots, log_end_offset)?;
            producers = state;
            replay(&segments, from.max(first_base), log_end_offset, |header, marker| {
                apply(&mut producers, header, marker)
            })?;
        }
        self.remove_stray_snapshots(&mut snapshots, &segments)?;
        Ok(Loaded {
            segments,
            log_start_offset,
            log_end_offset,
            producers,
            snapshots,
            leader_epochs,
            leader_epochs_changed,
            unsynced,
            names_changed: self.names_changed,
            report: self.report,
        })
    }

    /// Epochs from the checkpoint; read from the log again where that is missing or not to be understood.
    fn leader_epochs(
        &mut self,
        listing: &[DirEntry],
        segments: &[Arc<Segment>],
        first_unflushed: usize,
    ) -> Result<(LeaderEpochs, bool), StorageError> {
        let path = self.open.dir.join(LEADER_EPOCH_CHECKPOINT);
        if listing.iter().any(|entry| entry.name == LEADER_EPOCH_CHECKPOINT) {
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            if let Ok(epochs) = checkpoint::decode_epochs(&bytes)
                && !bytes.is_empty()
            {
                return Ok((epochs, false));
            }
        }
        let mut epochs = LeaderEpochs::default();
        for segment in segments.iter().take(first_unflushed) {
            walk_headers(segment, 0, |_, header| {
                assign_newer(&mut epochs, header);
                Ok(())
            })?;
        }
        let changed = !epochs.entries().is_empty();
        Ok((epochs, changed))
    }

    /// The end of a log that was closed cleanly: from the last index entry on, headers only.
    fn clean_end(&mut self, last: &Arc<Segment>) -> Result<Offset, StorageError> {
        if last.size() == 0 {
            return Ok(last.base_offset());
        }
        match last.end_offset_from_index() {
            Ok(end) => Ok(end),
            // The index may be the one that is wrong: the log itself decides.
            Err(ReadError::Corrupt(_)) => self.rebuild_indexes(last),
            Err(error) => Err(error.into()),
        }
    }

    /// Make the indexes of a segment anew whose bytes must all be good. Answers the segment's end.
    fn rebuild_indexes(&mut self, segment: &Arc<Segment>) -> Result<Offset, StorageError> {
        let mut end = segment.base_offset();
        let scanned = self.scan(segment, |batch| end = batch.header().next_offset())?;
        if let Some((position, reason)) = scanned.bad {
            return Err(CorruptFile { path: segment.path(LOG), position, reason }.into());
        }
        self.write_indexes(segment, &scanned.recovered)?;
        Ok(end)
    }

    fn write_indexes(&mut self, segment: &Arc<Segment>, recovered: &Recovered) -> Result<(), DiskError> {
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

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let write = || {
            let file = self.place.disk().open(path, Open::Create)?;
            file.truncate(0)?;
            file.write_all_at(bytes, 0)
        };
        write().map_err(DiskError::new("write", path))
    }

    /// Read a whole segment and verify it; `good` sees every batch up to the first bad one.
    fn scan(&mut self, segment: &Segment, mut good: impl FnMut(&BatchView<'_>)) -> Result<Scanned, DiskError> {
        let file = segment.log_file()?;
        let path = segment.path(LOG);
        let limit = file.len().map_err(DiskError::new("inspect", &path))?;
        let mut scan = BatchScan::new(&*file, limit);
        let mut builder = IndexBuilder::new(segment.base_offset(), self.open.config.index_interval_bytes);
        let mut next_offset = segment.base_offset();
        let bad = loop {
            match scan.next() {
                Ok(None) => break None,
                Ok(Some((position, batch))) => {
                    let header = batch.header();
                    let relative = i32::try_from(header.last_offset().saturating_sub(segment.base_offset()));
                    if header.base_offset < next_offset || relative.is_err() {
                        let reason =
                            format!("the batch has base offset {} where {next_offset} is next", header.base_offset);
                        break Some((position, reason));
                    }
                    next_offset = header.next_offset();
                    builder.note(header);
                    good(&batch);
                }
                Err(ScanError::Bad { position, reason }) => break Some((position, reason)),
                Err(ScanError::Disk(error)) => return Err(DiskError::new("read", &path)(error)),
            }
        };
        self.report.scanned_bytes += builder.recovered.valid_bytes;
        self.report.recovered_segments += 1;
        Ok(Scanned { file_bytes: limit, next_offset, bad, recovered: builder.finish() })
    }

    /// Verify the segments that may not be on stable storage, cut at the first bad batch. Answers the log's end.
    fn recover_tail(&mut self, tail: &mut Tail<'_>) -> Result<Offset, StorageError> {
        let Some(first) = tail.segments.get(tail.first_unflushed) else { return Ok(self.open.log_start_offset) };
        let first_base = first.base_offset();
        // Snapshots behind this point are made again: the bytes they sum up may be cut.
        self.drop_snapshots(tail.snapshots, first_base)?;
        let (state, from) = self.newest_snapshot(tail.snapshots, first_base)?;
        *tail.producers = state;
        let known = tail.segments.get(..tail.first_unflushed).unwrap_or_default();
        let oldest = known.first().map_or(first_base, |segment| segment.base_offset());
        replay(known, from.max(oldest), first_base, |header, marker| apply(tail.producers, header, marker))?;
        let mut end = first_base;
        let mut index = tail.first_unflushed;
        while let Some(segment) = tail.segments.get(index).map(Arc::clone) {
            // A power cut can take the end of a segment and leave the name of the next one. Compaction leaves such holes on purpose.
            if segment.base_offset() > end && !self.open.config.cleanup_policy.compact {
                if end < self.open.recovery_point {
                    let reason = format!("the segment begins at offset {} where {end} is next", segment.base_offset());
                    return Err(CorruptFile { path: segment.path(LOG), position: 0, reason }.into());
                }
                self.remove_segments_from(tail, index)?;
                break;
            }
            if index > tail.first_unflushed {
                self.snapshot_tail(tail, segment.base_offset())?;
            }
            index += 1;
            if self.recover_segment(&segment, tail, &mut end)? {
                self.remove_segments_from(tail, index)?;
            }
        }
        if end > tail.segments.first().map_or(0, |segment| segment.base_offset()) {
            self.snapshot_tail(tail, end)?;
        }
        Ok(end)
    }

    /// The log was cut before segment number `index`.
    fn remove_segments_from(&mut self, tail: &mut Tail<'_>, index: usize) -> Result<(), DiskError> {
        // Newest first: at every moment the rest is a log.
        while tail.segments.len() > index
            && let Some(removed) = tail.segments.pop()
        {
            self.report.removed_segments += 1;
            self.report.truncated_bytes += removed.size();
            self.remove_segment(&removed)?;
        }
        Ok(())
    }

    fn recover_segment(
        &mut self,
        segment: &Arc<Segment>,
        tail: &mut Tail<'_>,
        end: &mut Offset,
    ) -> Result<bool, StorageError> {
        let mut aborted = Vec::new();
        let scanned = self.scan(segment, |batch| {
            *tail.leader_epochs_changed |= assign_newer(tail.leader_epochs, batch.header());
            aborted.extend(apply(tail.producers, batch.header(), end_txn_of(batch)));
        })?;
        if let Some((position, reason)) = scanned.bad
            && scanned.next_offset < self.open.recovery_point
        {
            return Err(CorruptFile { path: segment.path(LOG), position, reason }.into());
        }
        *end = scanned.next_offset;
        let valid_bytes = scanned.recovered.valid_bytes;
        let is_cut = valid_bytes < scanned.file_bytes;
        if is_cut {
            self.report.truncated_bytes += scanned.file_bytes - valid_bytes;
            let path = segment.path(LOG);
            let file = segment.log_file()?;
            // What was cut must not come back behind what will be written here.
            file.truncate(valid_bytes).and_then(|()| file.sync_data()).map_err(DiskError::new("truncate", &path))?;
        }
        self.write_indexes(segment, &scanned.recovered)?;
        if segment.has_transaction_index() || !aborted.is_empty() {
            let entries: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::encode).collect();
            self.write_whole(&segment.path(TRANSACTION_INDEX), &entries)?;
            segment.set_transaction_index(true);
        }
        Ok(is_cut)
    }

    fn write_snapshot(&mut self, producers: &ProducerState, offset: Offset) -> Result<(), DiskError> {
        self.names_changed = true;
        self.write_whole(&self.place.path(offset, SNAPSHOT), &snapshot::encode(producers))
    }

    fn snapshot_tail(&mut self, tail: &mut Tail<'_>, offset: Offset) -> Result<(), DiskError> {
        self.write_snapshot(tail.producers, offset)?;
        tail.snapshots.insert(offset);
        Ok(())
    }

    fn remove_segment(&mut self, segment: &Segment) -> Result<(), DiskError> {
        // The .log goes last: while it is there, the segment is found again.
        for suffix in [INDEX, TIME_INDEX, TRANSACTION_INDEX, LOG] {
            self.remove(&format!("{:020}{suffix}", segment.base_offset()))?;
        }
        // Without this a power cut could bring a later segment back and not an earlier one.
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let dir = &self.open.dir;
        self.place.disk().sync_dir(dir).map_err(DiskError::new("sync", dir))
    }

    /// Remove the snapshots above `offset`.
    fn drop_snapshots(&mut self, snapshots: &mut BTreeSet<Offset>, offset: Offset) -> Result<(), DiskError> {
        for above in snapshots.split_off(&offset.saturating_add(1)) {
            self.remove(&snapshot_name(above))?;
        }
        Ok(())
    }

    /// State and offset of the newest snapshot not above `offset` that can be read; those that cannot are removed.
    fn newest_snapshot(
        &mut self,
        snapshots: &mut BTreeSet<Offset>,
        offset: Offset,
    ) -> Result<(ProducerState, Offset), DiskError> {
        while let Some(&newest) = snapshots.range(..=offset).next_back() {
            let path = self.place.path(newest, SNAPSHOT);
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            if let Ok(entries) = snapshot::decode(&bytes) {
                let expiration_ms = self.open.producer_id_expiration_ms;
                return Ok((ProducerState::from_snapshot(entries, self.open.now, expiration_ms), newest));
            }
            snapshots.remove(&newest);
            self.remove(&snapshot_name(newest))?;
        }
        Ok((ProducerState::default(), 0))
    }

    /// Keep the snapshots at the segments' beginnings and the newest one.
    fn remove_stray_snapshots(
        &mut self,
        snapshots: &mut BTreeSet<Offset>,
        segments: &[Arc<Segment>],
    ) -> Result<(), DiskError> {
        let newest = snapshots.last().copied();
        let is_stray = |offset: Offset| {
            Some(offset) != newest && segments.binary_search_by_key(&offset, |segment| segment.base_offset()).is_err()
        };
        for offset in snapshots.extract_if(.., |&offset| is_stray(offset)).collect::<Vec<_>>() {
            self.remove(&snapshot_name(offset))?;
        }
        Ok(())
    }
}

/// What the recovery of the unflushed segments reads and changes.
struct Tail<'a> {
    segments: &'a mut Vec<Arc<Segment>>,
    first_unflushed: usize,
    snapshots: &'a mut BTreeSet<Offset>,
    producers: &'a mut ProducerState,
    leader_epochs: &'a mut LeaderEpochs,
    leader_epochs_changed: &'a mut bool,
}

struct Scanned {
    file_bytes: u64,
    next_offset: Offset,
    bad: Option<(u64, String)>,
    recovered: Recovered,
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

fn assign_newer(epochs: &mut LeaderEpochs, header: &BatchHeader) -> bool {
    epochs.latest().is_none_or(|latest| header.leader_epoch > latest)
        && epochs.assign(header.leader_epoch, header.base_offset)
}

fn has_sound_indexes(files: &SegmentFiles) -> bool {
    let is_whole = |bytes: Option<u64>, entry_bytes: usize| bytes.is_some_and(|bytes| bytes % entry_bytes as u64 == 0);
    is_whole(files.offset_index_bytes, offset_index::ENTRY_BYTES)
        && is_whole(files.time_index_bytes, time_index::ENTRY_BYTES)
}

fn snapshot_name(offset: Offset) -> String {
    format!("{offset:020}{SNAPSHOT}")
}

fn parse_offset(digits: &str) -> Option<Offset> {
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

fn base_offset_of(name: &str) -> Option<Offset> {
    name.split('.').next().and_then(parse_offset)
}
