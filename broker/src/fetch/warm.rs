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
use milena_protocol::file_range::{Chunk, FileRange};
use milena_protocol::legacy::message_set::MessageView;
use milena_protocol::record_batch::size_at_start;
use milena_protocol::{BatchView, Offset};
use milena_storage::error::{CorruptFile, DiskError};
use milena_storage::planted::{self, Bug};
use milena_storage::{Unverified, disk};

use crate::replica::partition::{Partition, PartitionError};

/// Below this a copy through memory is cheaper than `sendfile`.
const READ_BELOW_BYTES: usize = 8 * 1024;
/// Bytes read at once; a batch larger than this is read whole.
const STEP_BYTES: usize = 1024 * 1024;
/// Distance between the pages that are asked whether they are in the page cache: the kernel's usual read-ahead.
const PROBE_STEP_BYTES: usize = 128 * 1024;
/// Where a batch says its magic, and a message too.
const MAGIC_OFFSET: usize = 16;
/// Length of the part of a batch that tells its size.
const OVERHEAD_BYTES: usize = milena_protocol::record_batch::LOG_OVERHEAD;

/// Why a cold range is not served.
#[derive(Debug, thiserror::Error)]
pub enum ColdReadError {
    /// The device refused.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
    /// A batch is not what was written.
    #[error("the batch at byte {position} does not match its checksum")]
    Corrupt {
        /// Where in the file.
        position: u64,
    },
}

impl ColdReadError {
    /// A device that refuses takes its log dir offline, a damaged batch its partition; nothing of it is sent.
    pub fn take_offline(self, partition: &Partition, offset: Offset) -> PartitionError {
        let path = partition.reader().path_of(offset);
        match self {
            Self::Disk(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                let reason = "the file is shorter than what was written to it".to_owned();
                partition.on_damage(&CorruptFile { path, position: 0, reason })
            }
            Self::Disk(source) => partition.on_read_failure(DiskError::new("read", &path)(source)),
            Self::Corrupt { position } => {
                let reason = "the batch does not match its checksum".to_owned();
                partition.on_damage(&CorruptFile { path, position, reason })
            }
        }
    }
}

/// Makes a range into something that can be sent without waiting for the device. `just_written`: it ends at the log's
/// end and was appended moments ago. What is `unverified` is checked even if it is in the page cache.
pub async fn ready(
    range: FileRange,
    just_written: bool,
    unverified: Option<Unverified>,
) -> Result<Chunk, ColdReadError> {
    if unverified.is_none()
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
    let checked = tokio::task::spawn_blocking(move || {
        let verified = read_and_check(&range)?;
        if let Some(unverified) = unverified {
            unverified.verified_up_to(verified);
        }
        Ok(range)
    });
    match checked.await {
        Ok(result) => result.map(Chunk::File),
        Err(_) => Err(io::Error::other("the reading thread ended").into()),
    }
}

/// Where a range is asked whether it is in the page cache: a page of each step, and the last one. A page cache is filled
/// and emptied in larger pieces than a page.
fn probes(range: &FileRange) -> impl Iterator<Item = u64> {
    let end = range.position + range.len as u64;
    // The last byte first: what is not there is missed at the end most often.
    std::iter::once(end.saturating_sub(1)).chain((range.position..end).step_by(PROBE_STEP_BYTES))
}

/// Reads what lies in the range, and verifies every batch that ends in it. Answers where the last of them ends.
fn read_and_check(range: &FileRange) -> Result<u64, ColdReadError> {
    let end = range.position + range.len as u64;
    let mut position = range.position;
    let mut buffer = Vec::new();
    while position < end {
        let step = ((end - position) as usize).min(STEP_BYTES);
        fill(range, &mut buffer, position, step)?;
        let mut checked = 0;
        while let Some(size) = buffer.get(checked..).and_then(batch_size) {
            let from = position + checked as u64;
            if from + size as u64 > end {
                // A fetch may end within a batch; the client drops that part. A damaged length only looks like that.
                return if is_sound_at(range, from, size)? {
                    Ok(from)
                } else {
                    Err(ColdReadError::Corrupt { position: from })
                };
            }
            if checked + size > buffer.len() {
                if checked > 0 {
                    break;
                }
                fill(range, &mut buffer, position, size)?;
            }
            if !buffer.get(checked..checked + size).is_some_and(is_sound) {
                return Err(ColdReadError::Corrupt { position: from });
            }
            checked += size;
        }
        if checked == 0 {
            return if buffer.len() < OVERHEAD_BYTES { Ok(position) } else { Err(ColdReadError::Corrupt { position }) };
        }
        position += checked as u64;
    }
    Ok(position)
}

/// Whether a whole batch, or message of an older magic, has the checksum it was written with.
fn is_sound(bytes: &[u8]) -> bool {
    if planted::is(Bug::SkipCrcOfColdReads) {
        return true;
    }
    match bytes.get(MAGIC_OFFSET) {
        Some(0 | 1) => MessageView::parse(bytes).is_ok_and(|message| message.crc_is_valid()),
        _ => BatchView::parse(bytes).is_ok_and(|batch| batch.crc_is_valid()),
    }
}

/// The same for one that reaches beyond the range; one that the file does not hold is not sound.
fn is_sound_at(range: &FileRange, position: u64, size: usize) -> io::Result<bool> {
    let is_whole = |read: io::Result<()>| match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    };
    // Nothing is allocated for a length that the file cannot hold.
    if !is_whole(range.source.read_exact_at(&mut [0], position + size as u64 - 1))? {
        return Ok(false);
    }
    let mut bytes = vec![0; size];
    Ok(is_whole(range.source.read_exact_at(&mut bytes, position))? && is_sound(&bytes))
}

fn fill(range: &FileRange, buffer: &mut Vec<u8>, position: u64, len: usize) -> io::Result<()> {
    buffer.resize(len, 0);
    range.source.read_exact_at(buffer, position)
}

fn batch_size(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < OVERHEAD_BYTES { None } else { size_at_start(bytes).ok() }
}
