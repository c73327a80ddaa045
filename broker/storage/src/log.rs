//! One partition's log: appends, rolls, truncations, retention. Lives in the partition's append lock; readers use the [`LogReader`] it publishes.
//!
//! ```text
//!  log_start_offset        recovery_point                log_end_offset
//!        |                       |                              |
//!  [ segment 0 ][ segment 1 ][ segment 2 ...          active   )
//!                                '- may be lost by a power cut -'
//! ```
//!
//! Here a log is opened, rolled, synced, closed and asked about itself; what makes it longer is in `append`, what makes it shorter in `cut`. A full disk changes
//! nothing, a broken one takes the log offline. Syncing happens outside the append lock ([`SyncHandle`]).
//! Source: `UnifiedLog`, `LocalLog`. Absent: high watermark (the broker's; passed in), compaction, timers.

mod append;
mod cut;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use milena_protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use uuid::Uuid;

use crate::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::descriptors::{BoundedDisk, Descriptors};
use crate::disk::{Disk, Open};
use crate::error::{DiskError, StorageError};
use crate::leader_epochs::LeaderEpochs;
use crate::log_config::LogConfig;
use crate::planted::{self, Bug};
use crate::producer_state::ProducerState;
use crate::recovery;
use crate::segment::{Place, SNAPSHOT, Segment};
use crate::snapshot;
use crate::sync::{SyncHandle, Synced, UnsyncedFiles};
use crate::view::{LogReader, View};

pub use append::{AppendInfo, AppendOrigin};
pub use cut::ScheduledDeletion;

/// What [`Log::open`] needs.
#[derive(Clone, Debug)]
pub struct OpenLog {
    /// The disk of the log dir.
    pub disk: Arc<dyn Disk>,
    /// Shared bound on open files and cached index files.
    pub descriptors: Arc<Descriptors>,
    /// The partition directory; created if it is missing.
    pub dir: PathBuf,
    /// Its partition.
    pub topic_partition: TopicPartition,
    /// Id of its topic: written to `partition.metadata`, or compared with it.
    pub topic_id: Option<Uuid>,
    /// The topic's configuration.
    pub config: Arc<LogConfig>,
    /// From `recovery-point-offset-checkpoint`; 0 if it is not listed.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`; 0 if it is not listed.
    pub log_start_offset: Offset,
    /// Whether `cleaner-offset-checkpoint` lists it: it has been compacted, whatever its policy is now.
    pub was_compacted: bool,
    /// Whether `.kafka_cleanshutdown` was there.
    pub clean_shutdown: bool,
    /// The wall clock.
    pub now: Timestamp,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

impl OpenLog {
    /// Whether compaction may have left holes between batches.
    pub(crate) fn may_have_holes(&self) -> bool {
        self.was_compacted || self.config.cleanup_policy.compact
    }
}

/// What opening a log had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments whose bytes were read and checked.
    pub recovered_segments: usize,
    /// Bytes read and checked.
    pub scanned_bytes: u64,
    /// Bytes cut from the tail.
    pub truncated_bytes: u64,
    /// Segments removed because an earlier one was cut.
    pub removed_segments: usize,
    /// Index files made anew because they were missing or wrong.
    pub rebuilt_indexes: usize,
}

/// A producer that wrote to this log (DescribeProducers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Last sequence, -1 if none is known.
    pub last_sequence: i32,
    /// Timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// Coordinator epoch of its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub current_transaction_first_offset: Option<Offset>,
}

/// One partition's log.
#[expect(clippy::struct_field_names, reason = "log start and log end are Kafka's names")]
#[derive(Debug)]
pub struct Log {
    topic_partition: TopicPartition,
    topic_id: Option<Uuid>,
    config: Arc<LogConfig>,
    producer_id_expiration_ms: i64,
    place: Arc<Place>,
    /// Oldest first, never empty; the last one is active.
    segments: Arc<[Arc<Segment>]>,
    reader: Arc<LogReader>,
    log_start_offset: Offset,
    log_end_offset: Offset,
    recovery_point: Offset,
    last_flush_time: Timestamp,
    unsynced: UnsyncedFiles,
    /// Grows when the log is cut: a sync that began before proves nothing about what was written behind the cut since.
    truncations: u64,
    producers: ProducerState,
    /// Offsets of the `.snapshot` files.
    snapshots: BTreeSet<Offset>,
    /// Whether the last five batches of every producer are known, not only what a snapshot keeps.
    is_history_complete: bool,
    leader_epochs: Arc<LeaderEpochs>,
    /// `leader-epoch-checkpoint` could not be written because the disk was full.
    leader_epochs_unwritten: bool,
    is_offline: bool,
}

impl Log {
    /// Open the log in a directory, or create it. A crash's traces are put right; the report says what that took.
    ///
    /// # Errors
    /// [`StorageError`]: `Corrupt` if bytes that were promised to be safe are bad, `InconsistentTopicId` if the directory is another topic's.
    pub fn open(open: OpenLog) -> Result<(Log, RecoveryReport), StorageError> {
        let bounded = BoundedDisk { disk: Arc::clone(&open.disk), descriptors: Arc::clone(&open.descriptors) };
        let place = Arc::new(Place::new(bounded, &open.dir));
        let loaded = recovery::load(&open, &place)?;
        let segments: Arc<[Arc<Segment>]> = loaded.segments.into();
        let leader_epochs = Arc::new(loaded.leader_epochs);
        let view = View {
            active_bytes: segments.last().map_or(0, |active| active.size()),
            size_in_bytes: segments.iter().map(|segment| segment.size()).sum(),
            segments: Arc::clone(&segments),
            log_start_offset: loaded.log_start_offset,
            log_end_offset: loaded.log_end_offset,
            first_unstable_offset: None,
            may_have_holes: open.may_have_holes(),
            leader_epochs: Arc::clone(&leader_epochs),
        };
        let recovery_point =
            if open.clean_shutdown { loaded.log_end_offset } else { open.recovery_point.min(loaded.log_end_offset) };
        let mut log = Log {
            topic_partition: open.topic_partition,
            topic_id: open.topic_id,
            config: open.config,
            producer_id_expiration_ms: open.producer_id_expiration_ms,
            place,
            segments,
            reader: Arc::new(LogReader::new(view)),
            log_start_offset: loaded.log_start_offset,
            log_end_offset: loaded.log_end_offset,
            recovery_point,
            last_flush_time: open.now,
            unsynced: UnsyncedFiles::default(),
            truncations: 0,
            is_history_complete: loaded.producers.is_empty(),
            producers: loaded.producers,
            snapshots: loaded.snapshots,
            leader_epochs,
            leader_epochs_unwritten: false,
            is_offline: false,
        };
        for segment in &loaded.unsynced {
            log.unsynced.add_segment(segment);
        }
        if loaded.names_changed {
            log.note_small_files_unsynced();
        }
        if loaded.leader_epochs_changed {
            log.write_leader_epochs()?;
        }
        log.publish();
        Ok((log, loaded.report))
    }

    fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has at least one segment")
    }

    fn publish(&mut self) {
        let active = self.active();
        let active_bytes = active.size();
        let first_unstable = self.producers.first_unstable_offset().map(|offset| offset.max(self.log_start_offset));
        self.reader.publish(|view| {
            if Arc::ptr_eq(&view.segments, &self.segments) {
                view.size_in_bytes = view.size_in_bytes + active_bytes - view.active_bytes;
            } else {
                view.segments = Arc::clone(&self.segments);
                view.size_in_bytes = self.segments.iter().map(|segment| segment.size()).sum();
            }
            view.active_bytes = active_bytes;
            view.log_start_offset = self.log_start_offset;
            view.log_end_offset = self.log_end_offset;
            view.first_unstable_offset = first_unstable;
            view.may_have_holes |= self.config.cleanup_policy.compact;
            if !Arc::ptr_eq(&view.leader_epochs, &self.leader_epochs) {
                view.leader_epochs = Arc::clone(&self.leader_epochs);
            }
        });
    }

    /// Close the active segment and begin another at the log end. Nothing happens if it is empty.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn roll(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.check_online()?;
        self.roll_active(now).map_err(|error| self.broken_unless_full(error).into())
    }

    fn roll_active(&mut self, now: Timestamp) -> Result<(), DiskError> {
        let active = Arc::clone(self.active());
        if active.size() == 0 && active.base_offset() == self.log_end_offset {
            return Ok(());
        }
        active.seal()?;
        self.write_snapshot()?;
        let next = Arc::new(Segment::create(&self.place, self.log_end_offset, now)?);
        self.unsynced.add_segment(&active);
        self.segments = self.segments.iter().map(Arc::clone).chain([next]).collect();
        self.publish();
        Ok(())
    }

    /// Producer state at the log end, if it is not on disk already.
    fn write_snapshot(&mut self) -> Result<(), DiskError> {
        if self.snapshots.contains(&self.log_end_offset) {
            return Ok(());
        }
        let path = self.place.path(self.log_end_offset, SNAPSHOT);
        let write = || {
            let file = self.place.disk().open(&path, Open::Create)?;
            file.truncate(0)?;
            file.write_all_at(&snapshot::encode(&self.producers), 0)
        };
        write().map_err(DiskError::new("write", &path))?;
        self.snapshots.insert(self.log_end_offset);
        self.unsynced.add_path(path);
        Ok(())
    }

    fn write_leader_epochs(&mut self) -> Result<(), DiskError> {
        let path = self.place.dir().join(LEADER_EPOCH_CHECKPOINT);
        let bytes = checkpoint::encode_epochs(&self.leader_epochs);
        self.leader_epochs_unwritten = true;
        self.place.disk().replace_unsynced(&path, &bytes).map_err(DiskError::new("write", &path))?;
        self.leader_epochs_unwritten = false;
        self.unsynced.add_path(path);
        Ok(())
    }

    fn note_small_files_unsynced(&mut self) {
        let dir = self.place.dir();
        if self.topic_id.is_some() {
            self.unsynced.add_path(dir.join(PARTITION_METADATA));
        }
        for &offset in &self.snapshots {
            self.unsynced.add_path(self.place.path(offset, SNAPSHOT));
        }
        self.unsynced.add_name();
    }

    fn check_online(&self) -> Result<(), StorageError> {
        if self.is_offline { Err(StorageError::Offline) } else { Ok(()) }
    }

    fn broken(&mut self, error: DiskError) -> DiskError {
        self.is_offline = true;
        error
    }

    fn broken_unless_full(&mut self, error: DiskError) -> DiskError {
        if error.is_full() { error } else { self.broken(error) }
    }

    /// The reader of this log, shared by everybody who reads.
    pub fn reader(&self) -> Arc<LogReader> {
        Arc::clone(&self.reader)
    }

    /// The partition directory.
    pub fn dir(&self) -> PathBuf {
        self.place.dir().to_path_buf()
    }

    /// Its partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Id of its topic.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// First offset.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// End of the log, exclusive.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything below is on stable storage; for `recovery-point-offset-checkpoint`.
    pub fn recovery_point(&self) -> Offset {
        if planted::is(Bug::RecoveryPointAhead) { self.log_end_offset } else { self.recovery_point }
    }

    /// Records appended since the last sync: what `flush.messages` counts.
    pub fn unflushed_records(&self) -> i64 {
        self.log_end_offset - self.recovery_point
    }

    /// Time of the last sync, of the opening at first: what `flush.ms` counts from.
    pub fn last_flush_time(&self) -> Timestamp {
        self.last_flush_time
    }

    /// Whether a failed disk, a clean stop or a deletion ended appends for good.
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// New configuration; acts from the next append or retention on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The high watermark moved: transactions decided below it are stable.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        let before = self.producers.first_unstable_offset();
        self.producers.on_high_watermark(high_watermark);
        if self.producers.first_unstable_offset() != before {
            self.publish();
        }
    }

    /// This broker leads from now on: `leader_epoch` begins at the log end.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn start_leader_epoch(&mut self, leader_epoch: LeaderEpoch) -> Result<(), StorageError> {
        self.check_online()?;
        if Arc::make_mut(&mut self.leader_epochs).assign(leader_epoch, self.log_end_offset) {
            self.publish();
            self.write_leader_epochs_when_there_is_room()?;
        }
        Ok(())
    }

    /// On a full disk they are written with a later append or at the stop: every batch carries its epoch, so nothing is lost meanwhile.
    fn write_leader_epochs_when_there_is_room(&mut self) -> Result<(), DiskError> {
        match self.write_leader_epochs() {
            Err(error) if !error.is_full() => Err(self.broken(error)),
            _ => Ok(()),
        }
    }

    /// What to sync. Take it under the append lock, run [`SyncHandle::sync`] outside, then [`Log::on_synced`] or [`Log::on_sync_failed`] under it.
    pub fn sync_handle(&self) -> SyncHandle {
        let active = (self.log_end_offset > self.recovery_point).then(|| self.active());
        self.unsynced.handle(&self.place, active, self.log_end_offset, self.truncations)
    }

    /// The recovery point moves to what was synced.
    pub fn on_synced(&mut self, synced: &Synced, now: Timestamp) {
        if synced.truncations() == self.truncations {
            self.recovery_point = self.recovery_point.max(synced.up_to());
            self.unsynced.on_synced(synced);
            self.last_flush_time = now;
        }
    }

    /// A sync failed: what it should have covered may be lost, and nothing is written any more.
    pub fn on_sync_failed(&mut self) {
        self.is_offline = true;
    }

    /// Write the waiting index entries and sync, here and now.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn flush(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.check_online()?;
        self.active().write_indexes().map_err(|error| self.broken_unless_full(error))?;
        let synced = self.sync_handle().sync().map_err(|error| self.broken(error))?;
        self.on_synced(&synced, now);
        Ok(())
    }

    /// Forget producers that wrote nothing for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(now, self.producer_id_expiration_ms);
    }

    /// A new `producer.id.expiration.ms`.
    pub fn set_producer_id_expiration_ms(&mut self, producer_id_expiration_ms: i64) {
        self.producer_id_expiration_ms = producer_id_expiration_ms;
    }

    /// Producers of this log, ordered by id.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let describe =
            |(&producer_id, entry): (&ProducerId, &crate::producer_state::ProducerStateEntry)| ActiveProducer {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_transaction_first_offset: entry.current_txn_first_offset,
            };
        self.producers.producers().iter().map(describe).collect()
    }

    /// Whether this producer has an open transaction here, at this epoch.
    pub fn has_ongoing_transaction(&self, producer_id: ProducerId, producer_epoch: ProducerEpoch) -> bool {
        let entry = self.producers.producer(producer_id);
        entry.is_some_and(|entry| entry.current_txn_first_offset.is_some() && entry.producer_epoch == producer_epoch)
    }

    /// Clean stop: writes indexes and a snapshot, syncs what is not. The log is offline afterwards; a log that was offline already is left as it is.
    ///
    /// # Errors
    /// Those of the disk: the stop of this log dir is then not a clean one.
    pub fn close(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.check_online()?;
        let active = Arc::clone(self.active());
        let closed = active
            .close_indexes()
            .and_then(|written| {
                if written {
                    self.unsynced.add_segment(&active);
                }
                let newest = self.snapshots.last().copied().unwrap_or(0);
                if self.log_end_offset > newest { self.write_snapshot() } else { Ok(()) }
            })
            .and_then(|()| if self.leader_epochs_unwritten { self.write_leader_epochs() } else { Ok(()) })
            .and_then(|()| self.sync_handle().sync());
        self.is_offline = true;
        self.on_synced(&closed?, now);
        Ok(())
    }
}
