//! Cold reads: bytes that would come from the device are read on another thread and their checksums are verified
//! before the connection's thread sends them from the page cache (promise I13).
//!
//! Without this a `sendfile` of a cold range would stall every connection on that thread (KAFKA-7504).

use std::io;

use kafka_protocol::ResponseError;
use milena_protocol::BatchView;
use milena_protocol::file_range::FileRange;
use milena_protocol::record_batch::size_at_start;

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

/// Makes sure that a range can be sent without waiting for the device.
pub async fn ensure(range: &FileRange) -> Result<(), ColdReadError> {
    if is_resident(range) {
        return Ok(());
    }
    let range = range.clone();
    match tokio::task::spawn_blocking(move || read_and_check(&range)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("the reading thread ended").into()),
    }
}

/// The first and the last byte tell; what lies between was read ahead with them.
fn is_resident(range: &FileRange) -> bool {
    let Some(descriptor) = range.source.descriptor() else { return true };
    let last = range.position + (range.len as u64).saturating_sub(1);
    milena_storage::disk::is_resident(descriptor, last) && milena_storage::disk::is_resident(descriptor, range.position)
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
