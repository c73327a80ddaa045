//! What makes a log shorter: DeleteRecords, retention, truncation, topic deletion.
//!
//! At every moment of these the files that are left are a log without a hole: old segments go oldest first, new ones newest first, and where several go each
//! name is on stable storage before the next one changes. Files that readers may still use are renamed first and removed later by the caller.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::types::{Offset, Timestamp};
use uuid::Uuid;

use super::Log;
use crate::checkpoint::PARTITION_METADATA;
use crate::disk::Disk;
use crate::error::{DiskError, OffsetOutOfRange, StorageError};
use crate::log_dir::unique_dir_name;
use crate::producer_state::ProducerState;
use crate::replay;
use crate::retention::{self, SegmentSummary};
use crate::segment::{SNAPSHOT, Segment};
use crate::snapshot;

/// Files that were renamed to `.deleted` (or a directory to `-delete`) and are to be removed at `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledDeletion {
    /// When: the deletion's time plus `file.delete.delay.ms`.
    pub at: Timestamp,
    /// Files and directories.
    pub paths: Vec<PathBuf>,
}
impl ScheduledDeletion {
    /// Remove them now. What is already gone is no error.
    ///
    /// # Errors
    /// The first refusal of the disk; everything else was tried, too.
    pub fn execute(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let mut first_error = None;
        for path in &self.paths {
            let removed = match disk.metadata(path) {
                Ok(metadata) if metadata.is_dir => disk.remove_dir_all(path),
                Ok(_) => disk.remove_file(path),
                Err(error) => Err(error),
            };
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                first_error.get_or_insert(DiskError::new("remove", path)(error));
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl Log {
    /// DeleteRecords: the log starts at `up_to` from now on, also inside a batch; -1 means the high watermark. Answers the log start offset.
    ///
    /// # Errors
    /// `OffsetOutOfRange` above the high watermark.
    pub fn delete_records(&mut self, up_to: Offset, high_watermark: Offset) -> Result<Offset, StorageError> {
        self.check_online()?;
        let offset = if up_to == -1 { high_watermark } else { up_to };
        if offset < 0 || offset > high_watermark.min(self.log_end_offset) {
            let (log_start_offset, log_end_offset) = (self.log_start_offset, high_watermark);
            return Err(OffsetOutOfRange { offset, log_start_offset, log_end_offset }.into());
        }
        self.increment_log_start_offset(offset)?;
        Ok(self.log_start_offset)
    }

    /// The log starts at `offset` if that is later than now: DeleteRecords, or what the leader of this partition says.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn increment_log_start_offset(&mut self, offset: Offset) -> Result<(), StorageError> {
        if offset <= self.log_start_offset {
            return Ok(());
        }
        self.log_start_offset = offset;
        self.producers.on_high_watermark(offset);
        let epochs_changed = Arc::make_mut(&mut self.leader_epochs).truncate_from_start(offset);
        self.publish();
        if epochs_changed {
            self.write_leader_epochs_when_there_is_room()?;
        }
        Ok(())
    }

    /// Apply retention: what is to go is renamed and no longer read; the caller executes the deletion at its time.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn run_retention(
        &mut self,
        now: Timestamp,
        high_watermark: Offset,
    ) -> Result<Option<ScheduledDeletion>, StorageError> {
        self.check_online()?;
        let uses_time = self.config.cleanup_policy.delete && self.config.retention_ms >= 0;
        let mut summaries = Vec::with_capacity(self.segments.len());
        for (index, segment) in self.segments.iter().enumerate() {
            let end_offset = self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset());
            let size = segment.size();
            let largest_timestamp = if uses_time && size > 0 { segment.retention_timestamp()? } else { now };
            summaries.push(SegmentSummary { end_offset, size, largest_timestamp });
        }
        let count = retention::deletable(&summaries, &self.config, now, self.log_start_offset, high_watermark);
        if count == 0 {
            return Ok(None);
        }
        if count == self.segments.len() {
            self.roll_active(now).map_err(|error| self.broken_unless_full(error))?;
        }
        let removed: Vec<Arc<Segment>> = self.segments.iter().take(count).map(Arc::clone).collect();
        let mut paths = Vec::new();
        self.segments = self.segments.iter().skip(count).map(Arc::clone).collect();
        let mut first_base = self.segments.first().map_or(self.log_end_offset, |segment| segment.base_offset());
        self.increment_log_start_offset(first_base)?;
        self.publish();
        // Oldest first, each name on stable storage before the next one: what a crash in between leaves has no hole.
        for (index, segment) in removed.iter().enumerate() {
            if index > 0 {
                self.sync_dir().map_err(|error| self.broken(error))?;
            }
            match segment.mark_deleted() {
                Ok(renamed) => paths.extend(renamed),
                Err(error) if !error.is_full() => return Err(self.broken(error).into()),
                Err(error) => {
                    // It stays, below the log start, and so do those behind it: without them there would be a hole.
                    let stay = removed.iter().skip(index).chain(self.segments.iter());
                    self.segments = stay.map(Arc::clone).collect();
                    self.publish();
                    if index == 0 {
                        return Err(error.into());
                    }
                    first_base = segment.base_offset();
                    break;
                }
            }
            self.unsynced.forget_segment(segment);
        }
        let kept = self.snapshots.split_off(&first_base);
        for offset in std::mem::replace(&mut self.snapshots, kept) {
            let path = self.place.path(offset, SNAPSHOT);
            self.unsynced.forget_path(&path);
            paths.push(path);
        }
        self.unsynced.add_name();
        Ok(Some(ScheduledDeletion { at: now.saturating_add(self.config.file_delete_delay_ms), paths }))
    }

    /// The log is about to be cut at `offset`: the recovery point goes back if it lies behind. Its checkpoint is written before the cut, or a crash in the
    /// middle of it would look like a disk that lost what it had promised. Answers whether the recovery point moved.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn prepare_truncation(&mut self, offset: Offset) -> Result<bool, StorageError> {
        if offset >= self.recovery_point {
            return Ok(false);
        }
        let holding = self.segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1);
        let batch_start = match self.segments.get(holding) {
            Some(segment) => segment.base_offset_of_batch(offset)?,
            None => None,
        };
        self.recovery_point = batch_start.unwrap_or(offset).min(offset);
        // A sync that is under way would move it forward again.
        self.truncations += 1;
        Ok(true)
    }

    /// Cut the log to end at `offset`, or before it if that lies inside a batch. Answers whether anything was cut. Call [`Log::prepare_truncation`] and write
    /// the recovery point's checkpoint first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn truncate_to(&mut self, offset: Offset, now: Timestamp) -> Result<bool, StorageError> {
        self.check_online()?;
        if offset >= self.log_end_offset {
            return Ok(false);
        }
        if offset < self.segments.first().map_or(0, |segment| segment.base_offset()) {
            self.truncate_fully_and_start_at(offset, now)?;
            return Ok(true);
        }
        let result = self.cut(offset, now);
        if result.is_err() {
            self.is_offline = true;
        }
        result.map(|()| true)
    }

    fn cut(&mut self, offset: Offset, now: Timestamp) -> Result<(), StorageError> {
        let kept = self.segments.partition_point(|segment| segment.base_offset() <= offset).max(1);
        let removed: Vec<Arc<Segment>> = self.segments.iter().skip(kept).map(Arc::clone).collect();
        let segments: Vec<Arc<Segment>> = self.segments.iter().take(kept).map(Arc::clone).collect();
        let last = segments.last().map(Arc::clone).expect("at least one is kept");
        // Newest first: at every moment the rest is a log.
        for segment in removed.iter().rev() {
            self.unsynced.forget_segment(segment);
            self.remove_segment(segment, now)?;
        }
        last.truncate_to(offset, now)?;
        last.sync(true)?;
        self.segments = segments.into();
        self.log_end_offset = last.end_offset_by_walking(offset)?;
        self.after_cut(now)
    }

    /// Remove a segment so that no power cut brings it back.
    fn remove_segment(&self, segment: &Segment, now: Timestamp) -> Result<(), DiskError> {
        let paths = segment.mark_deleted()?;
        ScheduledDeletion { at: now, paths }.execute(self.place.disk())?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let dir = self.place.dir();
        self.place.disk().sync_dir(&dir).map_err(DiskError::new("sync", &dir))
    }

    fn after_cut(&mut self, now: Timestamp) -> Result<(), StorageError> {
        let end = self.log_end_offset;
        self.truncations += 1;
        self.recovery_point = self.recovery_point.min(end);
        self.log_start_offset = self.log_start_offset.min(end);
        for offset in self.snapshots.split_off(&(end + 1)) {
            let path = self.place.path(offset, SNAPSHOT);
            self.unsynced.forget_path(&path);
            ScheduledDeletion { at: now, paths: vec![path] }.execute(self.place.disk())?;
        }
        if Arc::make_mut(&mut self.leader_epochs).truncate_from_end(end) {
            self.write_leader_epochs()?;
        }
        let mut from = self.segments.first().map_or(0, |segment| segment.base_offset());
        self.producers = ProducerState::default();
        for &offset in self.snapshots.iter().rev() {
            let path = self.place.path(offset, SNAPSHOT);
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            if let Ok(entries) = snapshot::decode(&bytes) {
                self.producers = ProducerState::from_snapshot(entries, now, self.producer_id_expiration_ms);
                from = offset.max(from);
                break;
            }
        }
        let producers = &mut self.producers;
        replay::replay(&self.segments, from, end, |header, marker| replay::apply(producers, header, marker))?;
        self.is_history_complete = self.producers.is_empty();
        self.publish();
        Ok(())
    }

    /// Empty the log and let it start and end at `offset`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: Timestamp) -> Result<(), StorageError> {
        self.check_online()?;
        let result = self.restart_at(offset, now);
        if result.is_err() {
            self.is_offline = true;
        }
        result
    }

    fn restart_at(&mut self, offset: Offset, now: Timestamp) -> Result<(), StorageError> {
        for segment in self.segments.iter().rev() {
            self.remove_segment(segment, now)?;
        }
        self.unsynced.clear();
        for snapshot in std::mem::take(&mut self.snapshots) {
            let paths = vec![self.place.path(snapshot, SNAPSHOT)];
            ScheduledDeletion { at: now, paths }.execute(self.place.disk())?;
        }
        self.segments = Arc::from([Arc::new(Segment::create(&self.place, offset, now)?)]);
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.recovery_point = self.recovery_point.min(offset);
        Arc::make_mut(&mut self.leader_epochs).clear();
        self.write_leader_epochs()?;
        self.sync_dir()?;
        self.after_cut(now)
    }

    /// Topic deletion: the directory becomes `<topic>-<partition>.<32 hex digits>-delete`, which the caller removes at its time. The log is offline afterwards;
    /// readers that still hold it go on reading.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn delete(&mut self, unique: Uuid, now: Timestamp) -> Result<ScheduledDeletion, StorageError> {
        let from = self.place.dir();
        let to = from.with_file_name(unique_dir_name(&self.topic_partition, unique, "delete"));
        let renamed = self.place.disk().rename(&from, &to).map_err(DiskError::new("rename", &from));
        self.is_offline = true;
        match renamed {
            Ok(()) => self.place.set_dir(&to),
            // A longer name may need room. A removal does not, and makes some; who reads has the files open.
            Err(error) if error.is_full() => {
                self.remove_directory(&from).map_err(DiskError::new("remove", &from))?;
                return Ok(ScheduledDeletion { at: now, paths: Vec::new() });
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(parent) = from.parent() {
            self.place.disk().sync_dir(parent).map_err(DiskError::new("sync", parent))?;
        }
        Ok(ScheduledDeletion { at: now.saturating_add(self.config.file_delete_delay_ms), paths: vec![to] })
    }

    /// The topic's id goes last: what a crash leaves must not be taken for the log of a new topic of that name.
    fn remove_directory(&self, dir: &Path) -> io::Result<()> {
        let disk = self.place.disk();
        for entry in disk.read_dir(dir)?.iter().filter(|entry| entry.name != PARTITION_METADATA) {
            disk.remove_file(&dir.join(&entry.name))?;
        }
        disk.remove_dir_all(dir)
    }
}
