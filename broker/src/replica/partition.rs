//! One partition on this broker: its log behind the append lock, its leadership, and those who wait for it.
//!
//! Appends take the append lock (async: a stalled disk suspends tasks, not threads); reads never do. State that
//! decides who waits is behind a short blocking lock that is never held across an await. Everyone who waits for the
//! high watermark holds (leader epoch, offset): when this leadership ends, the wait ends with `NotLeader`.

mod reading;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use milena_metadata::image::PartitionRegistration;
use milena_protocol::{LeaderEpoch, Offset, Timestamp, TopicPartition};
use milena_storage::error::DiskError;
use milena_storage::{AppendError, AppendInfo, AppendOrigin, Log, LogConfig, LogReader, StorageError};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::committer::{Commit, Committer};
use super::health::Health;
use super::leader::{Leader, Term};
use crate::fetch::wait::FetchWaiters;

pub use reading::{FetchSpec, Fetched, Isolation};

/// An append slower than this sends the next one off the connection threads.
const SLOW_APPEND: Duration = Duration::from_millis(1);
/// How long a sync waits for a descriptor before it asks again.
const DESCRIPTOR_WAIT: Duration = Duration::from_millis(100);

/// Why a partition does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// This broker does not lead the partition, or not any more.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The client knows an older leader epoch.
    #[error("the client's leader epoch is fenced")]
    FencedLeaderEpoch,
    /// The client knows a newer leader epoch.
    #[error("the client's leader epoch is not known here yet")]
    UnknownLeaderEpoch,
    /// The log dir failed, or the log is damaged.
    #[error("the partition is offline")]
    Offline,
    /// `acks=-1` with fewer in-sync replicas than `min.insync.replicas`.
    #[error("fewer in-sync replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// The offset is outside of the log.
    #[error("the offset is out of range")]
    OffsetOutOfRange,
    /// The log refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an append was refused.
#[derive(Debug, thiserror::Error)]
pub enum AppendFailure {
    /// The partition cannot take it.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The log refused the records.
    #[error(transparent)]
    Log(#[from] AppendError),
}

/// What is known of a partition's progress; waiters watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// `None` while this broker does not lead.
    leader_epoch: Option<LeaderEpoch>,
    high_watermark: Offset,
    /// Everything below is on stable storage.
    flushed: Offset,
    /// The leadership ended because the disk failed.
    failed: bool,
}

/// An append that stands in the log, and what its acknowledgement still waits for.
#[derive(Debug)]
pub struct Appended {
    /// What the log did.
    pub info: AppendInfo,
    /// What must come before the acknowledgement; `None` if it may leave now.
    pub wait: Option<AckWait>,
}

/// Waits for replicas and for the disk, as `acks` and `flush.messages` ask.
#[derive(Debug)]
pub struct AckWait {
    progress: watch::Receiver<Progress>,
    leader_epoch: LeaderEpoch,
    high_watermark: Option<Offset>,
    flushed: Option<Offset>,
}

impl AckWait {
    /// Ends when everything waited for has come; `NotLeader` if the leadership ends first, whatever the high
    /// watermark does later, and `Offline` if it ends because the disk failed. Cancel-safe.
    pub async fn done(mut self) -> Result<(), PartitionError> {
        let settled = self
            .progress
            .wait_for(|progress| {
                progress.leader_epoch != Some(self.leader_epoch)
                    || (self.high_watermark.is_none_or(|offset| progress.high_watermark >= offset)
                        && self.flushed.is_none_or(|offset| progress.flushed >= offset))
            })
            .await
            .map_err(|_| PartitionError::NotLeader)?;
        match *settled {
            Progress { leader_epoch, .. } if leader_epoch == Some(self.leader_epoch) => Ok(()),
            Progress { failed: true, .. } => Err(PartitionError::Offline),
            Progress { failed: false, .. } => Err(PartitionError::NotLeader),
        }
    }
}

#[derive(Debug)]
struct State {
    leader: Option<Leader>,
}

/// A partition on this broker.
#[derive(Debug)]
pub struct Partition {
    /// Its name.
    pub topic_partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: Uuid,
    /// Which of `log.dirs` holds it.
    pub log_dir: usize,
    /// Whom to ask for a sync.
    committer: Arc<Committer>,
    /// Whether the log dir serves.
    dir_health: Arc<Health>,
    log: tokio::sync::Mutex<Log>,
    reader: Arc<LogReader>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    high_watermark: AtomicI64,
    recovery_point: AtomicI64,
    last_append_was_slow: AtomicBool,
    retired: AtomicBool,
    /// Bytes in the log are not those that were written.
    damaged: AtomicBool,
    last_append_ms: AtomicI64,
    /// Whether the committer has this partition in its queue.
    commit_requested: AtomicBool,
    /// Fetches that wait for this partition.
    pub fetch_waiters: FetchWaiters,
}

impl Partition {
    /// A partition whose log is open; nobody leads it yet. `high_watermark` is the checkpointed one.
    pub fn new(
        topic_partition: TopicPartition,
        topic_id: Uuid,
        log_dir: usize,
        log: Log,
        high_watermark: Offset,
        committer: Arc<Committer>,
        dir_health: Arc<Health>,
    ) -> Arc<Self> {
        let reader = log.reader();
        let high_watermark = high_watermark.clamp(reader.log_start_offset(), reader.log_end_offset());
        let flushed = log.recovery_point();
        Arc::new(Self {
            topic_partition,
            topic_id,
            log_dir,
            committer,
            dir_health,
            log: tokio::sync::Mutex::new(log),
            reader,
            state: Mutex::new(State { leader: None }),
            progress: watch::Sender::new(Progress { leader_epoch: None, high_watermark, flushed, failed: false }),
            high_watermark: AtomicI64::new(high_watermark),
            recovery_point: AtomicI64::new(flushed),
            last_append_was_slow: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            last_append_ms: AtomicI64::new(0),
            commit_requested: AtomicBool::new(false),
            fetch_waiters: FetchWaiters::default(),
        })
    }

    /// The log's published side.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Exclusive end of what consumers see.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Exclusive end of what readers of committed data see.
    pub fn last_stable_offset(&self) -> Offset {
        self.reader.last_stable_offset(self.high_watermark())
    }

    /// Everything below is on stable storage.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// Whether the log dir has failed, or the log turned out to be damaged.
    pub fn is_offline(&self) -> bool {
        self.dir_health.is_offline() || self.damaged.load(Ordering::Acquire)
    }

    /// Takes, keeps or gives up leadership, as the metadata says; what is offline stays so. Blocks: for threads outside of the runtime.
    pub fn follow_metadata(
        &self,
        registration: &PartitionRegistration,
        local: i32,
        min_in_sync: i32,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let mut log = self.log.blocking_lock();
        if self.is_offline() {
            return Ok(());
        }
        if registration.leader != local {
            self.state.lock().leader = None;
            self.publish(None, None);
            return Ok(());
        }
        let known = self.state.lock().leader.as_ref().map(Leader::leader_epoch);
        if known == Some(registration.leader_epoch) {
            let moved = self.state.lock().leader.as_mut().and_then(|leader| leader.on_in_sync(&registration.isr));
            self.advance_high_watermark(&mut log, moved);
            return Ok(());
        }
        log.start_leader_epoch(registration.leader_epoch)?;
        let term = Term {
            leader_epoch: registration.leader_epoch,
            local,
            replicas: &registration.replicas,
            in_sync: &registration.isr,
            min_in_sync,
        };
        let leader = Leader::new(term, self.reader.log_end_offset(), self.high_watermark(), now);
        let high_watermark = leader.high_watermark();
        self.state.lock().leader = Some(leader);
        log.on_high_watermark(high_watermark);
        self.publish(Some(registration.leader_epoch), Some(high_watermark));
        Ok(())
    }

    /// Appends records as the leader. The acknowledgement may have to wait: see [`Appended::wait`].
    ///
    /// Not cancel-safe in the sense of HTTP handlers: a dropped call may still have appended.
    pub async fn append(
        self: &Arc<Self>,
        records: BytesMut,
        origin: AppendOrigin,
        acks: i16,
        now: Timestamp,
    ) -> Result<Appended, AppendFailure> {
        let mut log = self.log.lock().await;
        if self.is_offline() {
            return Err(PartitionError::Offline.into());
        }
        let leader_epoch = {
            let state = self.state.lock();
            let leader = state.leader.as_ref().ok_or(PartitionError::NotLeader)?;
            if acks == -1 && !leader.has_enough_in_sync() {
                return Err(PartitionError::NotEnoughReplicas.into());
            }
            leader.leader_epoch()
        };
        let info = self.append_measured(&mut log, records, leader_epoch, origin, now)?;
        self.last_append_ms.store(now, Ordering::Relaxed);
        let end = info.last_offset + 1;
        let flush_messages = log.config().flush_messages;
        let counts_when_flushed = flush_messages <= 1;
        if !info.duplicate && !counts_when_flushed {
            let moved = self.state.lock().leader.as_mut().and_then(|leader| leader.on_local_end(end));
            self.advance_high_watermark(&mut log, moved);
        }
        let flush_due = !info.duplicate && log.unflushed_records() >= flush_messages;
        // A duplicate, too: after a crash its first append may be in the page cache only, and nobody asks for it again.
        let must_flush = flush_due || (counts_when_flushed && log.recovery_point() < end);
        if must_flush || info.segment_rolled {
            self.request_commit();
        }
        drop(log);
        let flushed = (acks != 0 && must_flush).then_some(end);
        let high_watermark = (acks == -1 && self.high_watermark() < end).then_some(end);
        let wait = (flushed.is_some() || high_watermark.is_some()).then(|| AckWait {
            progress: self.progress.subscribe(),
            leader_epoch,
            high_watermark,
            flushed,
        });
        Ok(Appended { info, wait })
    }

    /// A disk that stalls must not take a connection thread with it: after one slow append the next ones run where
    /// the runtime may replace the thread, until one is fast again.
    fn append_measured(
        &self,
        log: &mut Log,
        records: BytesMut,
        leader_epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        let started = Instant::now();
        let result = if self.last_append_was_slow.load(Ordering::Relaxed) {
            tokio::task::block_in_place(|| log.append_as_leader(records, leader_epoch, origin, now))
        } else {
            log.append_as_leader(records, leader_epoch, origin, now)
        };
        self.last_append_was_slow.store(started.elapsed() > SLOW_APPEND, Ordering::Relaxed);
        match &result {
            Ok(info) if !info.duplicate => self.note_room(),
            Err(AppendError::DiskFull(error)) => self.note_full(error),
            Err(AppendError::Corrupt(damage)) => _ = self.on_damage(damage),
            _ => {}
        }
        self.notice(log);
        result
    }

    fn note_full(&self, error: &DiskError) {
        if self.dir_health.note_full() {
            tracing::error!(
                target: "kafka.log.LogManager",
                "no room for {}: producers are refused until there is some, everything else goes on: {error}",
                self.topic_partition
            );
        }
    }

    fn note_room(&self) {
        if self.dir_health.note_room() {
            let name = &self.topic_partition;
            tracing::info!(target: "kafka.log.LogManager", "there is room for {name} again: producers are served");
        }
    }

    /// Leader epoch first, then leadership: `Partition.checkCurrentLeaderEpoch`. A negative epoch skips the check.
    pub fn check_leader(&self, client_epoch: LeaderEpoch) -> Result<LeaderEpoch, PartitionError> {
        if self.is_offline() {
            return Err(PartitionError::Offline);
        }
        let leader_epoch = self.leader_epoch().ok_or(PartitionError::NotLeader)?;
        if client_epoch >= 0 && client_epoch < leader_epoch {
            return Err(PartitionError::FencedLeaderEpoch);
        }
        if client_epoch > leader_epoch {
            return Err(PartitionError::UnknownLeaderEpoch);
        }
        Ok(leader_epoch)
    }

    /// The epoch of this broker's leadership.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.progress.borrow().leader_epoch
    }

    /// Lends the log to an operation that changes it, off the connection threads.
    pub async fn with_log<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self.log.lock().await;
        let result = tokio::task::block_in_place(|| change(&mut log));
        self.notice(&log);
        result
    }

    /// The same from a thread outside of the runtime.
    pub fn with_log_blocking<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self.log.blocking_lock();
        let result = change(&mut log);
        self.notice(&log);
        result
    }

    /// New topic configuration; acts from the next request on.
    pub async fn configure(&self, config: Arc<LogConfig>, min_in_sync: i32) {
        let mut log = self.log.lock().await;
        log.set_config(config);
        let moved = self.state.lock().leader.as_mut().and_then(|leader| leader.on_min_in_sync(min_in_sync));
        self.advance_high_watermark(&mut log, moved);
    }

    /// DeleteRecords up to an offset, -1 for the high watermark. Answers the low watermark.
    pub async fn delete_records(&self, up_to: Offset) -> Result<Offset, PartitionError> {
        self.check_leader(-1)?;
        let high_watermark = self.high_watermark();
        let start =
            self.with_log(|log| log.delete_records(up_to, high_watermark)).await.map_err(|error| match error {
                StorageError::OffsetOutOfRange(_) => PartitionError::OffsetOutOfRange,
                other => PartitionError::Storage(other),
            })?;
        self.fetch_waiters.wake_all();
        Ok(start)
    }

    fn request_commit(self: &Arc<Self>) {
        if !self.commit_requested.swap(true, Ordering::AcqRel) {
            let this: Arc<dyn Commit> = Arc::<Self>::clone(self);
            self.committer.request(Arc::downgrade(&this));
        }
    }

    /// The committer synced everything below `flushed`.
    fn on_flushed(&self, log: &mut Log, flushed: Offset) {
        self.recovery_point.fetch_max(log.recovery_point(), Ordering::AcqRel);
        let moved = self.state.lock().leader.as_mut().and_then(|leader| leader.on_local_end(flushed));
        self.advance_high_watermark(log, moved);
        self.progress.send_if_modified(|progress| {
            let further = flushed > progress.flushed;
            progress.flushed = progress.flushed.max(flushed);
            further
        });
    }

    /// `flush.ms`: what has waited that long for a sync gets one, without any acknowledgement waiting for it.
    pub fn sync_if_older_than_flush_ms(self: &Arc<Self>, now: Timestamp) {
        let due = self.with_log_blocking(|log| {
            log.unflushed_records() > 0 && now.saturating_sub(log.last_flush_time()) >= log.config().flush_ms
        });
        if due {
            self.request_commit();
        }
    }

    /// This broker gives the partition up: its topic is gone, or the broker stops. Its log may now be closed.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.resign();
    }

    /// Whether this broker has given it up.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn resign(&self) {
        self.state.lock().leader = None;
        self.publish(None, None);
    }

    /// Takes over how far the log is on stable storage, and whether it still is online: one that went offline without
    /// having been closed has met a failing disk.
    fn notice(&self, log: &Log) {
        self.recovery_point.fetch_max(log.recovery_point(), Ordering::AcqRel);
        if !log.is_offline() || self.is_retired() {
            return;
        }
        self.fail_log_dir(&format!("a write of {} failed", self.topic_partition));
    }

    fn fail_log_dir(&self, reason: &str) {
        if self.dir_health.fail() {
            tracing::error!(
                target: "kafka.log.LogManager",
                "the log dir of {} is offline from now on: {reason}", self.topic_partition
            );
        }
        self.fail();
    }

    /// The log dir has failed: who waits for this partition is told.
    pub fn fail(&self) {
        self.state.lock().leader = None;
        self.progress.send_modify(|progress| {
            progress.leader_epoch = None;
            progress.failed = true;
        });
        self.fetch_waiters.wake_all();
    }

    /// Must be called under the append lock, so that high watermarks reach the log in order.
    fn advance_high_watermark(&self, log: &mut Log, moved: Option<Offset>) {
        let Some(high_watermark) = moved else { return };
        log.on_high_watermark(high_watermark);
        let before = self.high_watermark.swap(high_watermark, Ordering::AcqRel);
        self.progress.send_modify(|progress| progress.high_watermark = high_watermark);
        let bytes = self.reader.bytes_between(before, high_watermark).unwrap_or(u64::MAX >> 1);
        self.fetch_waiters.arrived(bytes as i64);
    }

    fn publish(&self, leader_epoch: Option<LeaderEpoch>, high_watermark: Option<Offset>) {
        if let Some(high_watermark) = high_watermark {
            self.high_watermark.store(high_watermark, Ordering::Release);
        }
        self.progress.send_modify(|progress| {
            progress.leader_epoch = leader_epoch;
            if let Some(high_watermark) = high_watermark {
                progress.high_watermark = high_watermark;
            }
        });
        self.fetch_waiters.wake_all();
    }
}

impl Commit for Partition {
    fn commit(&self, now: Timestamp) {
        // Cleared before the handle is taken: an append after this asks again.
        self.commit_requested.store(false, Ordering::Release);
        if self.is_offline() {
            return self.fail();
        }
        let synced = loop {
            match self.with_log_blocking(|log| log.sync_handle()).sync() {
                // No sync has failed: a descriptor was wanted, and there will be one.
                Err(error) if error.operation == "open" && error.is_full() && !self.is_retired() => {
                    let name = &self.topic_partition;
                    tracing::warn!(target: "kafka.log.LogManager", "the sync of {name} has to wait: {error}");
                    std::thread::sleep(DESCRIPTOR_WAIT);
                }
                synced => break synced,
            }
        };
        self.with_log_blocking(|log| match synced {
            Ok(synced) => {
                let up_to = synced.up_to();
                log.on_synced(&synced, now);
                self.on_flushed(log, up_to);
            }
            Err(error) => {
                tracing::error!(
                    target: "kafka.log.LogManager",
                    "sync of {} failed and is not tried again: {error}", self.topic_partition
                );
                log.on_sync_failed();
            }
        });
    }
}
