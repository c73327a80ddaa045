//! Cold reads: bytes that would come from the device are read on another thread and their checksums are verified
//! before the connection's thread sends them from the page cache (promise I13).
//!
//! A small range is read at once in the same system call that asks whether it is there; a large one is left to
//! `sendfile`. What was appended a moment ago is in the page cache and is not asked about. Bytes that were there before
//! this process are checked once, wherever they are. A source without a descriptor has no page cache and is read and checked each time.
//!
//! Without this a `sendfile` of a cold range would stall every connection on that thread (KAFKA-7504).

use std::io;

use bytes::BytesMut;
use milena_protocol::BatchView;
use milena_protocol::file_range::{Chunk, FileRange};
use milena_protocol::legacy::message_set::MessageView;
use milena_protocol::record_batch::{BatchError, size_at_start};
use milena_storage::error::{CorruptFile, DiskError};
use milena_storage::planted::{self, Bug};
use milena_storage::{RangeCheck, disk};

use crate::replica::partition::{Partition, PartitionError};

/// Below this a copy through memory is cheaper than `sendfile`.
const READ_BELOW_BYTES: usize = 8 * 1024;
/// Bytes read at once; a batch larger than this is read whole.
const STEP_BYTES: usize = 1024 * 1024;
/// Distance between the pages that are asked whether they are in the page cache: the kernel's usual read-ahead.
const PROBE_STEP_BYTES: usize = 128 * 1024;
/// Where a batch says its magic, and a message too.
const MAGIC_OFFSET: usize = 16;
/// Length of the part of a batch that tells its size and what it is.
const HEADER_BYTES: usize = milena_protocol::record_batch::HEADER_BYTES_UP_TO_MAGIC;

/// Why a cold range is not served.
#[derive(Debug, thiserror::Error)]
pub enum ColdReadError {
    /// The device refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A batch is not what was written, or not where it was written.
    #[error("{0}")]
    Corrupt(CorruptFile),
}

impl ColdReadError {
    /// A device that refuses takes its log dir offline, a damaged batch its partition; nothing of it is sent.
    pub fn take_offline(self, partition: &Partition) -> PartitionError {
        match self {
            Self::Disk(error) => partition.on_read_failure(error),
            Self::Corrupt(damage) => partition.on_damage(&damage),
        }
    }
}

/// Makes a range into something that can be sent without waiting for the device. `just_written`: it ends at the log's
/// end and was appended moments ago. What this process has neither written nor verified is checked even if it is in the page cache.
pub async fn ready(range: FileRange, just_written: bool, check: RangeCheck) -> Result<Chunk, ColdReadError> {
    if check.is_verified()
        && let Some(descriptor) = range.source.descriptor()
    {
        if range.len < READ_BELOW_BYTES {
            let mut buffer = BytesMut::zeroed(range.len);
            if disk::read_resident(descriptor, &mut buffer, range.position) == range.len {
                return Ok(Chunk::Bytes(buffer.freeze()));
            }
        } else if just_written || probes(&range).all(|position| disk::is_resident(descriptor, position)) {
            return Ok(Chunk::File(range));
        }
    }
    let path = check.path();
    let checked = tokio::task::spawn_blocking(move || {
        let mut reading = Reading { range: &range, check, buffer: Vec::new() };
        let verified = reading.read_and_check()?;
        reading.check.verified_up_to(verified);
        Ok(range)
    });
    match checked.await {
        Ok(result) => result.map(Chunk::File),
        Err(_) => Err(DiskError::new("read", &path)(io::Error::other("the reading thread ended")).into()),
    }
}

/// Where a range is asked whether it is in the page cache: a page of each step, and the last one. A page cache is filled
/// and emptied in larger pieces than a page.
fn probes(range: &FileRange) -> impl Iterator<Item = u64> {
    let end = range.position + range.len as u64;
    // The last byte first: what is not there is missed at the end most often.
    std::iter::once(end.saturating_sub(1)).chain((range.position..end).step_by(PROBE_STEP_BYTES))
}

/// A cold range as it is read.
struct Reading<'a> {
    range: &'a FileRange,
    check: RangeCheck,
    buffer: Vec<u8>,
}

impl Reading<'_> {
    /// Reads what lies in the range, and verifies every batch that begins in it. Answers where the last whole one ends.
    fn read_and_check(&mut self) -> Result<u64, ColdReadError> {
        let end = self.range.position + self.range.len as u64;
        let mut position = self.range.position;
        while position < end {
            let step = ((end - position) as usize).min(STEP_BYTES);
            self.fill(position, step)?;
            let mut checked = 0;
            while let Some(size) = self.buffer.get(checked..).and_then(batch_size) {
                let from = position + checked as u64;
                if from + size as u64 > end {
                    // A fetch may end within a batch; the client drops that part. A damaged length only looks like that.
                    self.fill(from, size)?;
                    return self.verify(0, size, from).map(|()| from);
                }
                if checked + size > self.buffer.len() {
                    if checked > 0 {
                        break;
                    }
                    self.fill(position, size)?;
                }
                self.verify(checked, size, from)?;
                checked += size;
            }
            if checked == 0 {
                return if self.buffer.len() < HEADER_BYTES {
                    Ok(position)
                } else {
                    Err(self.corrupt(position, "what stands here is no batch"))
                };
            }
            position += checked as u64;
        }
        Ok(position)
    }

    /// Reads `len` bytes; nothing is allocated for a length that the file cannot hold.
    fn fill(&mut self, position: u64, len: usize) -> Result<(), ColdReadError> {
        let last = position + (len as u64).saturating_sub(1);
        let source = &self.range.source;
        let is_large = len > STEP_BYTES;
        let read = if is_large { source.read_exact_at(&mut [0], last) } else { Ok(()) };
        let read = read.and_then(|()| {
            self.buffer.resize(len, 0);
            source.read_exact_at(&mut self.buffer, position)
        });
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(position, "the batch reaches beyond the end of the file"),
            _ => DiskError::new("read", &self.check.path())(error).into(),
        })
    }

    /// Whether a whole batch, or message of an older magic, is the one that was written here.
    fn verify(&mut self, from: usize, size: usize, position: u64) -> Result<(), ColdReadError> {
        let bytes = self.buffer.get(from..from + size).unwrap_or_default();
        let (crc_is_valid, is_in_place) = match bytes.get(MAGIC_OFFSET) {
            Some(0 | 1) => match MessageView::parse(bytes) {
                Ok(message) => (message.crc_is_valid(), self.check.follows_message(message.offset())),
                Err(_) => (false, true),
            },
            _ => match BatchView::parse(bytes) {
                Ok(batch) => (batch.crc_is_valid(), self.check.follows(batch.header())),
                Err(_) => (false, true),
            },
        };
        if planted::is(Bug::SkipCrcOfColdReads) || (crc_is_valid && is_in_place) {
            return Ok(());
        }
        let reason = if crc_is_valid {
            "the batch has offsets that do not belong here"
        } else {
            "the batch does not match its checksum"
        };
        Err(self.corrupt(position, reason))
    }

    fn corrupt(&self, position: u64, reason: &str) -> ColdReadError {
        ColdReadError::Corrupt(CorruptFile { path: self.check.path(), position, reason: reason.to_owned() })
    }
}

fn batch_size(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    match size_at_start(bytes) {
        Ok(size) | Err(BatchError::OldMagic { size_in_bytes: size, .. }) => Some(size),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use milena_protocol::legacy::{Magic, MessageSetBuilder};
    use milena_protocol::record_batch::set_base_offset;
    use milena_protocol::records::BatchBuilder;
    use milena_protocol::types::{Offset, TopicPartition};
    use milena_storage::{Descriptors, Log, LogConfig, OpenLog, SimDisk};

    use super::*;

    fn open(disk: &SimDisk) -> Log {
        let open = OpenLog {
            disk: Arc::new(disk.clone()),
            descriptors: Descriptors::new(10, 1 << 20),
            dir: PathBuf::from("/data/topic-0"),
            topic_partition: TopicPartition::new("topic", 0),
            topic_id: None,
            config: Arc::new(LogConfig::default()),
            recovery_point: 0,
            log_start_offset: 0,
            was_compacted: false,
            clean_shutdown: true,
            now: 0,
            producer_id_expiration_ms: i64::MAX,
        };
        Log::open(open).unwrap().0
    }

    /// A fetch's size is the consumer's choice. One that ended between the size of a batch and its magic was taken for
    /// damage, and the partition went offline.
    #[tokio::test]
    async fn a_range_may_end_anywhere_in_a_batch() {
        let disk = SimDisk::new(1);
        let mut log = open(&disk);
        for magic in [Magic::V0, Magic::V1] {
            let mut messages = MessageSetBuilder::new(magic);
            for offset in log.log_end_offset()..log.log_end_offset() + 2 {
                messages.append(offset, 0, None, Some(b"value"));
            }
            log.append_as_follower(&messages.build().unwrap(), 0).unwrap();
        }
        for _ in 0..3 {
            let mut batch = BatchBuilder::new().leader_epoch(0).append(0, None, Some(b"value"), []).build().unwrap();
            set_base_offset(&mut batch, log.log_end_offset());
            log.append_as_follower(&batch, 0).unwrap();
        }
        log.close(0).unwrap();
        for max_bytes in 0..400 {
            // Opened anew: nothing of it is known to be sound.
            let plan = open(&disk).reader().read(0, max_bytes, Offset::MAX, true).unwrap();
            let (range, check) = (plan.range.unwrap(), plan.check.unwrap());
            assert!(!check.is_verified());
            let len = range.len;
            let chunk = ready(range, false, check).await;
            assert!(chunk.is_ok(), "{len} bytes: {chunk:?}");
        }
    }
}
