//! Cold reads: bytes that would come from the device are read on another thread and their checksums are verified
//! before the connection's thread sends them from the page cache (promise I13).
//!
//! A small range is read at once in the same system call that asks whether it is there; a large one is left to
//! `sendfile`. What was appended a moment ago is in the page cache and is not asked about.
//!
//! Without this a `sendfile` of a cold range would stall every connection on that thread (KAFKA-7504).

use std::io;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use milena_protocol::BatchView;
use milena_protocol::file_range::{Chunk, FileRange};
use milena_protocol::record_batch::size_at_start;
use milena_storage::disk;

/// Below this a copy through memory is cheaper than `sendfile`.
const READ_BELOW_BYTES: usize = 8 * 1024;
/// Bytes read at once; a batch larger than this is read whole.
const STEP_BYTES: usize = 1024 * 1024;
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
    /// Kafka's code.
    pub fn code(&self) -> ResponseError {
        match self {
            Self::Disk(_) => ResponseError::KafkaStorageError,
            Self::Corrupt { .. } => ResponseError::CorruptMessage,
        }
    }
}

/// Makes a range into something that can be sent without waiting for the device. `just_written`: it ends at the log's
/// end and was appended moments ago.
pub async fn ready(range: FileRange, just_written: bool) -> Result<Chunk, ColdReadError> {
    let Some(descriptor) = range.source.descriptor() else { return Ok(Chunk::File(range)) };
    if range.len < READ_BELOW_BYTES {
        let mut buffer = BytesMut::zeroed(range.len);
        if disk::read_resident(descriptor, &mut buffer, range.position) == range.len {
            return Ok(Chunk::Bytes(buffer.freeze()));
        }
    } else if just_written || disk::is_resident(descriptor, last_position(&range)) {
        return Ok(Chunk::File(range));
    }
    let checked = tokio::task::spawn_blocking(move || read_and_check(&range).map(|()| range));
    match checked.await {
        Ok(result) => result.map(Chunk::File),
        Err(_) => Err(io::Error::other("the reading thread ended").into()),
    }
}

/// The last byte tells of the whole range: a page cache is filled from the front, and what is read ahead with it stays.
fn last_position(range: &FileRange) -> u64 {
    range.position + (range.len as u64).saturating_sub(1)
}

fn read_and_check(range: &FileRange) -> Result<(), ColdReadError> {
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
                // A fetch may end within a batch; the client drops that part.
                return Ok(());
            }
            if checked + size > buffer.len() {
                if checked > 0 {
                    break;
                }
                fill(range, &mut buffer, position, size)?;
            }
            let whole = buffer.get(checked..checked + size).and_then(|bytes| BatchView::parse(bytes).ok());
            if !whole.is_some_and(|batch| batch.crc_is_valid()) {
                return Err(ColdReadError::Corrupt { position: from });
            }
            checked += size;
        }
        if checked == 0 {
            return if buffer.len() < OVERHEAD_BYTES { Ok(()) } else { Err(ColdReadError::Corrupt { position }) };
        }
        position += checked as u64;
    }
    Ok(())
}

fn fill(range: &FileRange, buffer: &mut Vec<u8>, position: u64, len: usize) -> io::Result<()> {
    buffer.resize(len, 0);
    range.source.read_exact_at(buffer, position)
}

fn batch_size(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < OVERHEAD_BYTES { None } else { size_at_start(bytes).ok() }
}
