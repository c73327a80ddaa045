//! Opening a partition directory: what a crash left is put right, then the log's state is read.
//!
//! After a clean stop only the tail behind the last index entry is walked. After any other stop the segments from the one that holds the recovery point on
//! are read whole: every checksum is verified, the log is cut at the first bad batch, indexes, leader epochs and producer state are made anew. Below the
//! recovery point nothing is ever cut: those bytes were on stable storage, so that a bad batch there is a failing disk and the log is not opened.
//! Opening changes nothing that opening again would not change in the same way; a crash at any moment of it is harmless.
//! `leftovers` finishes what was interrupted, `rebuild` verifies a segment, `snapshots` finds where producer state starts. Source: `LogLoader`.

mod fits;
mod leftovers;
mod rebuild;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::Offset;

use crate::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::disk::DirEntry;
use crate::error::{CorruptFile, DiskError, InconsistentTopicId, ReadError, StorageError};
use crate::leader_epochs::LeaderEpochs;
use crate::log::{OpenLog, RecoveryReport};
use crate::planted::{self, Bug};
use crate::producer_state::ProducerState;
use crate::replay::{apply, replay, walk_headers};
use crate::segment::{INDEX, LOG, Place, SNAPSHOT, Segment, SegmentFiles, TIME_INDEX, TRANSACTION_INDEX};
use crate::transaction_index::AbortedTransaction;

use fits::epochs_fit;
use rebuild::has_sound_indexes;
use snapshots::snapshot_name;

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
        let first_unflushed = if open.clean_shutdown || planted::is(Bug::TrustStaleCheckpoint) {
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
            Some(last) if first_unflushed == segments.len() => {
                let end = self.clean_end(last)?;
                if !epochs_fit(&leader_epochs, &segments, end)?
                    && let Some(epochs) = unless_damaged(epochs_of(&segments))?
                {
                    leader_epochs = epochs;
                    leader_epochs_changed = true;
                }
                end
            }
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
            let (state, from) = self.newest_snapshot(&mut snapshots, log_end_offset, &segments)?;
            producers = state;
            replay(&segments, from.max(first_base), log_end_offset, |header, marker| {
                apply(&mut producers, header, marker)
            })?;
        }
        self.remove_stray_snapshots(&mut snapshots, &segments)?;
        if planted::is(Bug::ForgetProducerState) {
            producers = ProducerState::default();
        }
        if planted::is(Bug::ReuseOffset) && log_end_offset > log_start_offset {
            log_end_offset -= 1;
        }
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

    /// Epochs from the checkpoint, up to the segments that are verified; read from the log again where that is missing, not to be understood or of another log.
    fn leader_epochs(
        &mut self,
        listing: &[DirEntry],
        segments: &[Arc<Segment>],
        first_unflushed: usize,
    ) -> Result<(LeaderEpochs, bool), StorageError> {
        let known = segments.get(..first_unflushed).unwrap_or_default();
        let path = self.open.dir.join(LEADER_EPOCH_CHECKPOINT);
        if listing.iter().any(|entry| entry.name == LEADER_EPOCH_CHECKPOINT) {
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            if let Ok(mut epochs) = checkpoint::decode_epochs(&bytes)
                && !bytes.is_empty()
            {
                let Some(unflushed) = segments.get(first_unflushed) else { return Ok((epochs, false)) };
                // What follows is read from the batches again.
                let changed = epochs.truncate_from_end(unflushed.base_offset());
                if epochs_fit(&epochs, known, unflushed.base_offset())? {
                    return Ok((epochs, changed));
                }
                let of_the_log = unless_damaged(epochs_of(known))?;
                return Ok((of_the_log.unwrap_or(epochs), true));
            }
        }
        let epochs = epochs_of(known)?;
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

    /// Verify the segments that may not be on stable storage, cut at the first bad batch. Answers the log's end.
    fn recover_tail(&mut self, tail: &mut Tail<'_>) -> Result<Offset, StorageError> {
        let Some(first) = tail.segments.get(tail.first_unflushed) else { return Ok(self.open.log_start_offset) };
        let first_base = first.base_offset();
        // Snapshots behind this point are made again: the bytes they sum up may be cut.
        self.drop_snapshots(tail.snapshots, first_base)?;
        let known = tail.segments.get(..tail.first_unflushed).unwrap_or_default();
        let (state, from) = self.newest_snapshot(tail.snapshots, first_base, known)?;
        *tail.producers = state;
        let oldest = known.first().map_or(first_base, |segment| segment.base_offset());
        replay(known, from.max(oldest), first_base, |header, marker| apply(tail.producers, header, marker))?;
        // A snapshot of an older place is dropped below as a stray one: what was read from it must be found again.
        if from != first_base && !tail.producers.is_empty() {
            self.snapshot_tail(tail, first_base)?;
        }
        let mut end = first_base;
        let mut index = tail.first_unflushed;
        while let Some(segment) = tail.segments.get(index).map(Arc::clone) {
            // A power cut can take the end of a segment and leave the name of the next one. Compaction leaves such holes on purpose. A segment that
            // begins below the end is no part of this log: an offset would have two values.
            let is_hole = segment.base_offset() > end && !self.open.may_have_holes();
            if is_hole || segment.base_offset() < end {
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
        let mut scanned = self.scan(segment, |header, marker| {
            *tail.leader_epochs_changed |= assign_newer(tail.leader_epochs, header);
            aborted.extend(apply(tail.producers, header, marker));
        })?;
        if let Some((position, reason)) = scanned.bad
            && scanned.next_offset < self.open.recovery_point
        {
            return Err(CorruptFile { path: segment.path(LOG), position, reason }.into());
        }
        *end = scanned.next_offset;
        if planted::is(Bug::KeepTornTail) {
            scanned.recovered.valid_bytes = scanned.file_bytes;
        }
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

/// Epochs as the batches tell them.
fn epochs_of(segments: &[Arc<Segment>]) -> Result<LeaderEpochs, ReadError> {
    let mut epochs = LeaderEpochs::default();
    for segment in segments {
        walk_headers(segment, 0, |_, header| {
            assign_newer(&mut epochs, header);
            Ok(())
        })?;
    }
    Ok(epochs)
}

/// A log that is damaged where it was sound once is opened all the same: who reads it there is told.
fn unless_damaged<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Err(ReadError::Corrupt(_) | ReadError::Undecodable(_)) => Ok(None),
        read => read.map(Some),
    }
}

fn assign_newer(epochs: &mut LeaderEpochs, header: &BatchHeader) -> bool {
    epochs.latest().is_none_or(|latest| header.leader_epoch > latest)
        && epochs.assign(header.leader_epoch, header.base_offset)
}

fn parse_offset(digits: &str) -> Option<Offset> {
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}
