//! One partition's log: appends, rolls, truncations, retention. Lives in the partition's append lock; readers use the [`LogReader`] it publishes.
//!
//! ```text
//!  log_start_offset        recovery_point                log_end_offset
//!        |                       |                              |
//!  [ segment 0 ][ segment 1 ][ segment 2 ...          active   )
//!                                '- may be lost by a power cut -'
//! ```
//!
//! An append checks, gives the batch its offset and writes it with one call; nothing else touches the disk unless a segment is full. What fails changes
//! nothing: a full disk's partial batch is cut again, a broken disk takes the log offline. Syncing happens outside the append lock ([`SyncHandle`]).
//! Source: `UnifiedLog`, `LocalLog`. Absent: high watermark (the broker's; passed in), compaction, timers.

mod cut;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use milena_protocol::record_batch::{BatchHeader, BatchView, batches};
use milena_protocol::types::{LeaderEpoch, NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use uuid::Uuid;

use crate::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::descriptors::{BoundedDisk, Descriptors};
use crate::disk::{Disk, Open};
use crate::error::{AppendError, DiskError, ProducerStateError, StorageError, UnexpectedAppendOffset};
use crate::leader_epochs::LeaderEpochs;
use crate::log_config::LogConfig;
use crate::producer_state::{BATCHES_RETAINED, BatchMetadata, Checked, EndTxn, ProducerState};
use crate::recovery;
use crate::replay::{self, end_txn_of};
use crate::segment::{Place, SNAPSHOT, Segment};
use crate::snapshot;
use crate::sync::{SyncHandle, Synced, UnsyncedFiles};
use crate::transaction_index::AbortedTransaction;
use crate::validate::{self, ValidateConfig, Validated};
use crate::view::{LogReader, View};

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
    /// Whether `.kafka_cleanshutdown` was there.
    pub clean_shutdown: bool,
    /// The wall clock.
    pub now: Timestamp,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
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

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client's Produce: everything is checked, one batch, never a control batch.
    Client,
    /// A coordinator of this broker, or a transaction marker: sequences are not checked.
    Coordinator,
    /// Records from the leader: offsets are kept.
    Replication,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record (of the original batch if `duplicate`).
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp of the batch.
    pub max_timestamp: Timestamp,
    /// The broker's time with `LogAppendTime`, or of the original batch if `duplicate`; else -1.
    pub log_append_time: Timestamp,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// End of the log after the append, exclusive.
    pub log_end_offset: Offset,
    /// The batch was in the log already; nothing was written.
    pub duplicate: bool,
    /// Records appended.
    pub records: i64,
    /// Bytes appended.
    pub bytes: usize,
    /// A segment was closed: sync soon ([`Log::sync_handle`]), and the recovery point then follows.
    pub segment_rolled: bool,
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

    /// Check a batch, give it the next offset and append it. Exactly one batch.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_as_leader(
        &mut self,
        mut records: BytesMut,
        leader_epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        let config = ValidateConfig::new(&self.topic_partition, &self.config);
        let validated = validate::prepare(&mut records, &config, origin, now)?;
        self.append_prepared(records, validated, leader_epoch, origin, now)
    }

    /// Append a batch that [`validate::prepare`] has checked, outside the append lock or inside.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_prepared(
        &mut self,
        mut records: BytesMut,
        mut validated: Validated,
        leader_epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        if self.is_offline {
            return Err(AppendError::Offline);
        }
        validate::place(&mut records, &mut validated, self.log_end_offset, leader_epoch);
        let header = validated.header;
        let marker = BatchView::parse(&records).ok().and_then(|batch| end_txn_of(&batch));
        if let Checked::Duplicate(batch) = self.check_producer(&header, marker, origin)? {
            return Ok(AppendInfo {
                first_offset: batch.first_offset(),
                last_offset: batch.last_offset,
                max_timestamp: batch.timestamp,
                log_append_time: batch.timestamp,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
                duplicate: true,
                records: 0,
                bytes: 0,
                segment_rolled: false,
            });
        }
        let segment_rolled = self.roll_if_needed(records.len(), header.max_timestamp, header.last_offset(), now)?;
        self.write(&records)?;
        self.note_appended(leader_epoch, header.base_offset, header.next_offset());
        Ok(AppendInfo {
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            log_append_time: validated.log_append_time,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            duplicate: false,
            records: i64::from(header.records_count),
            bytes: records.len(),
            segment_rolled,
        })
    }

    /// Append batches as their leader stored them; a trailing partial batch is left out. Appends nothing if there is no whole batch.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_as_follower(&mut self, records: &[u8], now: Timestamp) -> Result<AppendInfo, AppendError> {
        if self.is_offline {
            return Err(AppendError::Offline);
        }
        let (headers, whole_bytes) = validate::check_replicated(records)?;
        let records = records.get(..whole_bytes).unwrap_or_default();
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Ok(self.nothing_appended());
        };
        if first.base_offset < self.log_end_offset {
            let (first_offset, log_end_offset) = (first.base_offset, self.log_end_offset);
            return Err(UnexpectedAppendOffset { first_offset, log_end_offset }.into());
        }
        let max_timestamp = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(NO_TIMESTAMP);
        let segment_rolled = self.roll_if_needed(records.len(), max_timestamp, last.last_offset(), now)?;
        self.write(records)?;
        for header in &headers {
            self.note_appended(header.leader_epoch, header.base_offset, header.next_offset());
        }
        Ok(AppendInfo {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            max_timestamp,
            records: headers.iter().map(|header| i64::from(header.records_count)).sum(),
            bytes: records.len(),
            segment_rolled,
            ..self.nothing_appended()
        })
    }

    fn nothing_appended(&self) -> AppendInfo {
        AppendInfo {
            first_offset: self.log_end_offset,
            last_offset: self.log_end_offset - 1,
            max_timestamp: NO_TIMESTAMP,
            log_append_time: NO_TIMESTAMP,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            duplicate: false,
            records: 0,
            bytes: 0,
            segment_rolled: false,
        }
    }

    fn check_producer(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTxn>,
        origin: AppendOrigin,
    ) -> Result<Checked, AppendError> {
        if !header.has_producer_id() {
            return Ok(Checked::New);
        }
        if let Some(marker) = marker {
            self.producers.check_marker(header, &marker)?;
            return Ok(Checked::New);
        }
        if header.attributes.is_control() {
            return Ok(Checked::New);
        }
        match self.producers.check_data(header, origin) {
            Err(ProducerStateError::OutOfOrderSequence(_)) if !self.is_history_complete => {
                self.complete_history().map_err(|error| match error {
                    StorageError::Disk(error) => AppendError::Disk(error),
                    _ => AppendError::Offline,
                })?;
                Ok(self.producers.check_data(header, origin)?)
            }
            checked => Ok(checked?),
        }
    }

    /// A `.snapshot` keeps one batch of a producer: the headers of the last two segments give the others back. Done once, when a sequence does not fit.
    fn complete_history(&mut self) -> Result<(), StorageError> {
        let from = self.segments.len().saturating_sub(2);
        let last_two = self.segments.get(from..).unwrap_or_default();
        let first = last_two.first().map_or(self.log_end_offset, |segment| segment.base_offset());
        let mut histories: std::collections::BTreeMap<ProducerId, Vec<BatchMetadata>> =
            std::collections::BTreeMap::new();
        let producers = &self.producers;
        replay::replay(last_two, first.max(self.log_start_offset), self.log_end_offset, |header, _| {
            let known = producers.producer(header.producer_id);
            if header.attributes.is_control() || known.is_none_or(|entry| entry.producer_epoch != header.producer_epoch)
            {
                return;
            }
            let history = histories.entry(header.producer_id).or_default();
            if history.len() == BATCHES_RETAINED {
                history.remove(0);
            }
            history.push(BatchMetadata::of(header));
        })?;
        for (producer_id, history) in histories {
            if let Some(entry) = self.producers.producer_mut(producer_id)
                && history.last().map(|batch| batch.last_offset)
                    == entry.batches().last().map(|batch| batch.last_offset)
            {
                entry.set_batches(history);
            }
        }
        self.is_history_complete = true;
        Ok(())
    }

    fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has at least one segment")
    }

    /// One write. The `.txnindex` entries of markers among the batches go first, so that none is ever missing.
    fn write(&mut self, records: &[u8]) -> Result<(), AppendError> {
        let active = Arc::clone(self.active());
        let has_markers = batches(records).flatten().any(|batch| batch.header().attributes.is_control());
        if !has_markers {
            active.append(records, self.config.index_interval_bytes).map_err(|error| self.failed_append(error))?;
            for batch in batches(records).flatten() {
                replay::apply(&mut self.producers, batch.header(), None);
            }
            return Ok(());
        }
        let mut producers = self.producers.clone();
        let aborted: Vec<AbortedTransaction> = batches(records)
            .flatten()
            .filter_map(|batch| replay::apply(&mut producers, batch.header(), end_txn_of(&batch)))
            .collect();
        let had_transaction_index = active.has_transaction_index();
        let written = active.append_aborted_transactions(&aborted).and_then(|before| {
            active.append(records, self.config.index_interval_bytes).inspect_err(|_| {
                // Nothing to add if that fails, too: the error above takes care of the log.
                _ = active.cut_transaction_index(before);
            })
        });
        written.map_err(|error| self.failed_append(error))?;
        if !had_transaction_index && active.has_transaction_index() {
            self.unsynced.add_name();
        }
        self.producers = producers;
        Ok(())
    }

    /// What a failed write left behind is cut; where that is impossible, or the disk is not just full, the log goes offline.
    fn failed_append(&mut self, error: DiskError) -> AppendError {
        let is_cut = self.active().cut_partial_append().is_ok();
        if error.is_full() && is_cut {
            return AppendError::DiskFull(error);
        }
        self.is_offline = true;
        AppendError::Disk(error)
    }

    fn note_appended(&mut self, leader_epoch: LeaderEpoch, base_offset: Offset, next_offset: Offset) {
        if self.leader_epochs.latest() != Some(leader_epoch) {
            self.leader_epochs_unwritten |= Arc::make_mut(&mut self.leader_epochs).assign(leader_epoch, base_offset);
        }
        self.log_end_offset = next_offset;
        self.publish();
        // The records are written; what follows is only convenience and is tried again while the disk is full.
        let epochs = if self.leader_epochs_unwritten { self.write_leader_epochs() } else { Ok(()) };
        let indexes = self.active().write_indexes_if_many();
        self.is_offline |= [epochs, indexes].iter().any(|result| matches!(result, Err(error) if !error.is_full()));
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
            if !Arc::ptr_eq(&view.leader_epochs, &self.leader_epochs) {
                view.leader_epochs = Arc::clone(&self.leader_epochs);
            }
        });
    }

    fn roll_if_needed(
        &mut self,
        bytes: usize,
        max_timestamp: Timestamp,
        last_offset: Offset,
        now: Timestamp,
    ) -> Result<bool, AppendError> {
        let segment_ms = self.config.segment_ms.saturating_sub(self.roll_jitter_ms());
        let active = self.active();
        let rolls = active.should_roll(&self.config, segment_ms, bytes, max_timestamp, last_offset, now)?;
        if !rolls {
            return Ok(false);
        }
        self.roll_active(now)
            .map_err(|error| if error.is_full() { AppendError::DiskFull(error) } else { self.broken(error).into() })?;
        Ok(true)
    }

    /// Where in `segment.jitter.ms` this segment is rolled: fixed for the segment, different between partitions.
    fn roll_jitter_ms(&self) -> i64 {
        let jitter_ms = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if jitter_ms <= 0 {
            return 0;
        }
        let name = format!("{}/{}", self.topic_partition, self.active().base_offset());
        i64::from(crc32c::crc32c(name.as_bytes())) % jitter_ms
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
        self.recovery_point
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
            self.write_leader_epochs().map_err(|error| self.broken_unless_full(error))?;
        }
        Ok(())
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
