//! Reading from a partition: a plan on what the appender published, without the append lock; and what a failed read means.

use std::sync::atomic::Ordering;

use milena_protocol::file_range::FileRange;
use milena_protocol::{LeaderEpoch, Offset, Timestamp};
use milena_storage::error::{CorruptFile, DiskError};
use milena_storage::leader_epochs::EpochEndOffset;
use milena_storage::planted::{self, Bug};
use milena_storage::{AbortedTransaction, LogReader, RangeCheck, ReadError, StorageError};

use super::{Partition, PartitionError};

/// What was appended this short a time ago has not been written back, let alone dropped from the page cache.
const JUST_WRITTEN_MS: Timestamp = 5_000;

/// Whose records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset.
    ReadCommitted,
}

/// What a fetch wants of one partition.
#[derive(Debug, Clone, Copy)]
pub struct FetchSpec {
    /// -1 skips the check.
    pub current_leader_epoch: LeaderEpoch,
    /// First offset wanted.
    pub fetch_offset: Offset,
    /// Epoch of the reader's last record, -1 unknown.
    pub last_fetched_epoch: LeaderEpoch,
    /// Most bytes wanted, not negative.
    pub max_bytes: i32,
    /// Whose records.
    pub isolation: Isolation,
    /// Whether one whole batch comes even if it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// The time.
    pub now: Timestamp,
}

/// What a fetch found in one partition.
#[derive(Debug)]
pub struct Fetched {
    /// Exclusive end of what is on all in-sync replicas.
    pub high_watermark: Offset,
    /// Exclusive end of what is decided.
    pub last_stable_offset: Offset,
    /// First offset.
    pub log_start_offset: Offset,
    /// Whole or cut batches; `None` if nothing is to be had.
    pub range: Option<FileRange>,
    /// Whether it ends at the log's end and was appended moments ago: it is in the page cache.
    pub just_written: bool,
    /// What the bytes of the range must be.
    pub check: Option<RangeCheck>,
    /// For readers of committed data: the aborted transactions within.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log parts from this one here (KIP-595): nothing else is to be had.
    pub diverging: Option<EpochEndOffset>,
}

impl Partition {
    /// Plans a read of one partition. Never waits and never takes the append lock.
    pub fn fetch(&self, spec: FetchSpec) -> Result<Fetched, PartitionError> {
        self.check_leader(spec.current_leader_epoch)?;
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.reader.last_stable_offset(high_watermark);
        let log_start_offset = self.reader.log_start_offset();
        let mut fetched = Fetched {
            high_watermark,
            last_stable_offset,
            log_start_offset,
            range: None,
            just_written: false,
            check: None,
            aborted: None,
            diverging: None,
        };
        if spec.last_fetched_epoch >= 0 {
            let end =
                self.reader.end_offset_for_epoch(spec.last_fetched_epoch).ok_or(PartitionError::OffsetOutOfRange)?;
            if end.leader_epoch < spec.last_fetched_epoch || end.end_offset < spec.fetch_offset {
                fetched.diverging = Some(end);
                return Ok(fetched);
            }
        }
        let upper_bound = match spec.isolation {
            _ if planted::is(Bug::ServeAboveHighWatermark) => self.reader.log_end_offset(),
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        let max_bytes = spec.max_bytes.max(0) as usize;
        let plan = self.read(|reader| reader.read(spec.fetch_offset, max_bytes, upper_bound, spec.min_one_batch))?;
        (fetched.range, fetched.check) = (plan.range, plan.check);
        let reaches_the_end = fetched.range.as_ref().is_some_and(|range| range.len < max_bytes);
        fetched.just_written =
            reaches_the_end && spec.now - self.last_append_ms.load(Ordering::Relaxed) < JUST_WRITTEN_MS;
        if spec.isolation == Isolation::ReadCommitted {
            fetched.aborted = Some(match &fetched.range {
                Some(_) => self.read(|reader| reader.aborted_transactions(spec.fetch_offset, upper_bound))?,
                None => Vec::new(),
            });
        }
        Ok(fetched)
    }

    /// Reads from the log's files. What a device refuses takes the log dir offline, as Kafka's `LogDirFailureChannel` does,
    /// and bytes that are not those that were written the partition alone.
    pub fn read<T>(&self, read: impl FnOnce(&LogReader) -> Result<T, ReadError>) -> Result<T, PartitionError> {
        read(&self.reader).map_err(|error| match error {
            ReadError::OffsetOutOfRange(_) => PartitionError::OffsetOutOfRange,
            ReadError::Disk(error) => self.on_read_failure(error),
            ReadError::Corrupt(error) => self.on_damage(&error),
            ReadError::Undecodable(error) => PartitionError::Storage(StorageError::Corrupt(error)),
        })
    }

    /// The device refused to read.
    pub fn on_read_failure(&self, error: DiskError) -> PartitionError {
        // Files go with their topic or by retention, and without descriptors nothing is wrong with the disk.
        let is_gone = error.source.kind() == std::io::ErrorKind::NotFound;
        if !self.is_retired() && !is_gone && !error.is_full() {
            self.fail_log_dir(&error.to_string());
            return PartitionError::Offline;
        }
        PartitionError::Storage(StorageError::Disk(error))
    }

    /// The log holds something else than what was written: nobody reads or writes it any more, until a start that finds it mended.
    pub fn on_damage(&self, damage: &CorruptFile) -> PartitionError {
        if !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::error!(
                target: "kafka.log.LogManager",
                "{} is offline from now on, the other partitions are not: {damage}", self.topic_partition
            );
        }
        self.fail();
        PartitionError::Offline
    }
}
