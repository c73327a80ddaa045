//! What consumers from before Kafka 0.11 are sent: stored batches made message sets of magic 0 or 1.
//!
//! Few conversions run at once, on other threads than those of connections: each may hold a large batch three times,
//! as stored, decompressed and converted. Batches that the old formats have no words for (control batches, what is left
//! of compacted ones) are stepped over here, up to the high watermark: a consumer that is sent nothing would ask for the
//! same offset for ever. Source: `LazyDownConversionRecords` of Kafka 3.9, which sends half a batch instead then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use milena_net::Seat;
use milena_protocol::Offset;
use milena_protocol::file_range::Chunk;
use milena_protocol::legacy::message_set::Magic;
use milena_protocol::legacy::message_set_down::{
    DOWN_CONVERTED_BYTES_MAX, DownConvertError, DownConverted, down_convert,
};
use milena_storage::error::DiskError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::warm::{self, ColdReadError};
use crate::replica::partition::{FetchSpec, Fetched, Partition, PartitionError};

/// What one answer holds of converted records, unless the first batch alone is larger. Kafka 3.9 converts while it
/// sends; here an answer is made before it is sent.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Conversions that run at once in the whole process.
const AT_ONCE: usize = 2;
/// Answers of converted records that are made at once: what was made counts as an answer only when it is whole.
const ANSWERS_AT_ONCE: usize = 4;
/// Offset and size of a message, which its size does not count.
const OVERHEAD_BYTES: usize = 12;

/// Why a partition's records are not sent to an old consumer.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The partition cannot be read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The batch has no form that the consumer understands.
    #[error(transparent)]
    Batch(#[from] DownConvertError),
    /// The thread ended before the conversion: the process is about to end.
    #[error("the converting thread ended")]
    Ended,
}

/// The conversions of all connections.
#[derive(Debug)]
pub struct Conversions {
    running: Arc<Semaphore>,
    answers: Semaphore,
}

impl Default for Conversions {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_ONCE)), answers: Semaphore::new(ANSWERS_AT_ONCE) }
    }
}

impl Conversions {
    /// Waits until an answer may be made; to be held until it is. There was room when the request came, but many may
    /// have waited for records or for their turn since, and all that they are answered at once must not fill the memory.
    pub async fn answer(&self, seat: Option<&Seat>) -> Result<SemaphorePermit<'_>, ConvertError> {
        loop {
            if let Some(seat) = seat {
                seat.room_for_an_answer().await;
            }
            let permit = self.answers.acquire().await.map_err(|_| ConvertError::Ended)?;
            if seat.is_none_or(Seat::has_room_for_an_answer) {
                return Ok(permit);
            }
        }
    }

    /// The records that `fetched` found from `spec.fetch_offset` on, whole messages; if the format has no words for them,
    /// the first behind them that it has words for; empty if there is none below the high watermark.
    ///
    /// # Errors
    /// [`ConvertError`] about the first batch that would be sent.
    pub async fn convert(
        &self,
        partition: &Arc<Partition>,
        fetched: &mut Fetched,
        spec: FetchSpec,
        magic: Magic,
    ) -> Result<Bytes, ConvertError> {
        let mut offset = spec.fetch_offset;
        let mut found = ready(fetched).await;
        while let Some((chunk, path)) = found.map_err(|error| error.take_offline(partition))? {
            let read = self.convert_chunk(chunk, magic, offset).await?;
            let converted =
                read.map_err(|source| partition.on_read_failure(DiskError::new("read", &path)(source)))??;
            if !converted.message_set.is_empty() || converted.next_offset <= offset {
                return Ok(Bytes::from(converted.message_set));
            }
            offset = converted.next_offset;
            let mut next = match partition.fetch(FetchSpec { fetch_offset: offset, min_one_batch: true, ..spec }) {
                // Deleted since, or cut off: the next fetch begins anew.
                Err(PartitionError::OffsetOutOfRange) => break,
                fetched => fetched?,
            };
            found = ready(&mut next).await;
        }
        Ok(Bytes::new())
    }

    async fn convert_chunk(
        &self,
        chunk: Chunk,
        magic: Magic,
        offset: Offset,
    ) -> Result<io::Result<Result<DownConverted, DownConvertError>>, ConvertError> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| ConvertError::Ended)?;
        let work = move || {
            // Kept to the end of the work, also if the connection has ended before.
            let _permit = permit;
            let bytes = match chunk {
                Chunk::Bytes(bytes) => bytes,
                Chunk::File(range) => {
                    let mut buffer = vec![0; range.len];
                    range.source.read_exact_at(&mut buffer, range.position)?;
                    Bytes::from(buffer)
                }
            };
            Ok(down_convert(&bytes, magic, offset, DOWN_CONVERTED_BYTES_MAX))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ConvertError::Ended)
    }
}

/// What was found, checked and in the page cache, and the file it lies in.
async fn ready(fetched: &mut Fetched) -> Result<Option<(Chunk, PathBuf)>, ColdReadError> {
    let (Some(range), Some(check)) = (fetched.range.take(), fetched.check.take()) else { return Ok(None) };
    let path = check.path();
    warm::ready(range, fetched.just_written, check).await.map(|chunk| Some((chunk, path)))
}

/// As many of the messages as fit into `bytes_max`, but the first one in any case.
pub fn first_messages(message_set: Bytes, bytes_max: usize) -> Bytes {
    let mut end = 0;
    while let Some(size) = message_set.get(end + 8..end + OVERHEAD_BYTES).and_then(|size| size.first_chunk()) {
        let next = end + OVERHEAD_BYTES + u32::from_be_bytes(*size) as usize;
        if next > message_set.len() || (end > 0 && next > bytes_max) {
            break;
        }
        end = next;
    }
    message_set.slice(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sent_whole_and_never_none() {
        let message = |value: u8| [&[0; 8][..], &[0, 0, 0, 3], &[value; 3]].concat();
        let set = Bytes::from([message(1), message(2), message(3)].concat());
        for (bytes_max, messages) in [(0, 1), (15, 1), (29, 1), (30, 2), (44, 2), (45, 3), (1000, 3)] {
            assert_eq!(first_messages(set.clone(), bytes_max).len(), messages * 15, "{bytes_max}");
        }
        assert_eq!(first_messages(Bytes::new(), 10), Bytes::new());
        assert_eq!(first_messages(set.slice(..44), 1000).len(), 30);
    }
}
