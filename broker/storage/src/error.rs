//! What can go wrong, one struct per fact and one enum per operation. The broker turns these into Kafka's codes.

use std::io;
use std::path::{Path, PathBuf};

use milena_protocol::types::{Offset, ProducerEpoch, ProducerId};
use uuid::Uuid;

use crate::validate::ValidationError;

/// A disk refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The answer of the operating system.
    pub source: io::Error,
}

impl DiskError {
    /// `operation` (a verb) on `path` failed with `source`; made for `map_err`.
    pub fn new(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError { operation, path: path.to_owned(), source }
    }

    /// Whether something is used up (room, quota, descriptors) while the disk itself is sound: it works again when there is more.
    pub fn is_full(&self) -> bool {
        let used_up = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        used_up.contains(&self.source.kind()) || self.is_out_of_descriptors()
    }

    /// Whether a file could not be opened for want of descriptors, so that nothing was written.
    pub fn is_out_of_descriptors(&self) -> bool {
        // EMFILE and ENFILE have no kind of their own.
        matches!(self.source.raw_os_error(), Some(23 | 24))
    }

    /// Whether the device or its file system is broken, whatever was asked of it: EIO and its kin.
    pub fn is_device_failure(&self) -> bool {
        // EIO ENXIO ENODEV EROFS EBADMSG ESHUTDOWN ESTALE EUCLEAN EREMOTEIO ENOMEDIUM
        matches!(self.source.raw_os_error(), Some(5 | 6 | 19 | 30 | 74 | 108 | 116 | 117 | 121 | 123))
    }
}

/// Bytes on disk are not what they must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is corrupt at byte {position}: {reason}", path.display())]
pub struct CorruptFile {
    /// Which file.
    pub path: PathBuf,
    /// Where the bad part begins.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}

/// An offset that the log does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} is out of range: the log starts at {log_start_offset} and ends before {log_end_offset}")]
pub struct OffsetOutOfRange {
    /// The offset asked for.
    pub offset: Offset,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// End of the log, exclusive.
    pub log_end_offset: Offset,
}

/// A sequence that does not follow the producer's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "out of order sequence number for producer {producer_id} at offset {offset}: {sequence} (incoming seq. number), {last_sequence} (current end sequence number)"
)]
pub struct OutOfOrderSequence {
    /// The producer.
    pub producer_id: ProducerId,
    /// Where the batch would have stood.
    pub offset: Offset,
    /// First sequence of the batch.
    pub sequence: i32,
    /// Last sequence known of this producer.
    pub last_sequence: i32,
}

/// A producer epoch older than the one last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "epoch of producer {producer_id} at offset {offset} is {producer_epoch}, which is smaller than the last seen epoch {current_epoch}"
)]
pub struct InvalidProducerEpoch {
    /// The producer.
    pub producer_id: ProducerId,
    /// Where the batch would have stood.
    pub offset: Offset,
    /// Epoch of the batch.
    pub producer_epoch: ProducerEpoch,
    /// The last one seen.
    pub current_epoch: ProducerEpoch,
}

/// A batch that does not belong to the producer's open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected transactional write from producer {producer_id} at offset {offset}: its transaction is open since offset {first_offset}"
)]
pub struct InvalidTxnState {
    /// The producer.
    pub producer_id: ProducerId,
    /// Where the batch would have stood.
    pub offset: Offset,
    /// First offset of the open transaction.
    pub first_offset: Offset,
}

/// A transaction marker of a coordinator that has been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid coordinator epoch for producer {producer_id}: {coordinator_epoch} (zombie), {current_epoch} (current)"
)]
pub struct TransactionCoordinatorFenced {
    /// The producer.
    pub producer_id: ProducerId,
    /// Epoch in the marker.
    pub coordinator_epoch: i32,
    /// The last one seen.
    pub current_epoch: i32,
}

/// What producer state refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerStateError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error(transparent)]
    OutOfOrderSequence(#[from] OutOfOrderSequence),
    /// INVALID_PRODUCER_EPOCH.
    #[error(transparent)]
    InvalidProducerEpoch(#[from] InvalidProducerEpoch),
    /// INVALID_TXN_STATE.
    #[error(transparent)]
    InvalidTxnState(#[from] InvalidTxnState),
    /// TRANSACTION_COORDINATOR_FENCED.
    #[error(transparent)]
    TransactionCoordinatorFenced(#[from] TransactionCoordinatorFenced),
}

/// Replicated records that do not continue this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected offset in append: first offset {first_offset}, log end offset {log_end_offset}")]
pub struct UnexpectedAppendOffset {
    /// First offset of the records.
    pub first_offset: Offset,
    /// End of this log, exclusive.
    pub log_end_offset: Offset,
}

/// Why nothing was appended. After any of these the log is as before, or [offline](crate::Log::is_offline).
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch itself is refused; each variant names its code.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// The producer's sequence, epoch or transaction is refused.
    #[error(transparent)]
    Producer(#[from] ProducerStateError),
    /// Replicated records do not continue this log.
    #[error(transparent)]
    UnexpectedAppendOffset(#[from] UnexpectedAppendOffset),
    /// KAFKA_STORAGE_ERROR, and the disk is only full: what was written of the batch has been cut again.
    #[error("the disk is full: {0}")]
    DiskFull(#[source] DiskError),
    /// KAFKA_STORAGE_ERROR: the disk failed; the log, and with it the log dir, is offline.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// KAFKA_STORAGE_ERROR: the log holds bytes that are not those that were written.
    #[error(transparent)]
    Corrupt(CorruptFile),
    /// KAFKA_STORAGE_ERROR: an earlier failure took this log offline.
    #[error("the log is offline after an earlier failure of its disk")]
    Offline,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE.
    #[error(transparent)]
    OffsetOutOfRange(#[from] OffsetOutOfRange),
    /// KAFKA_STORAGE_ERROR.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log holds bytes that are not a batch, or not the one that was written.
    #[error(transparent)]
    Corrupt(#[from] CorruptFile),
    /// The bytes are those that were written; what they mean cannot be told.
    #[error("{0}")]
    Undecodable(CorruptFile),
}

/// A partition directory that belongs to another topic of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory belongs to topic id {found}, not to {expected}")]
pub struct InconsistentTopicId {
    /// The id asked for.
    pub expected: Uuid,
    /// The id in `partition.metadata`.
    pub found: Uuid,
}

/// Why a log could not be opened, changed or closed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes below the recovery point, or of a cleanly closed log, are bad: cutting them would lose what was promised.
    #[error(transparent)]
    Corrupt(#[from] CorruptFile),
    /// Another topic's directory.
    #[error(transparent)]
    InconsistentTopicId(#[from] InconsistentTopicId),
    /// An offset outside the log.
    #[error(transparent)]
    OffsetOutOfRange(#[from] OffsetOutOfRange),
    /// An earlier failure took this log offline.
    #[error("the log is offline after an earlier failure of its disk")]
    Offline,
}

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> StorageError {
        match error {
            ReadError::OffsetOutOfRange(error) => StorageError::OffsetOutOfRange(error),
            ReadError::Disk(error) => StorageError::Disk(error),
            ReadError::Corrupt(error) | ReadError::Undecodable(error) => StorageError::Corrupt(error),
        }
    }
}
