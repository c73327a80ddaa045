//! Fetch v0-3: consumers that know no batches are sent message sets of magic 0 (v0-1) or 1 (v2-3).
//!
//! They read up to the high watermark and are sent neither headers nor control batches. v0-2 limit each partition only;
//! the limit is kept to, except that one message comes in any case. (Kafka 3.9 sends nothing then, and such a consumer
//! waits for ever.) An answer holds [`ANSWER_BYTES_MAX`]: partitions behind that come back empty and are fetched next
//! time. v3's clients put what they were sent behind the rest; those before do not, so with them each request begins with
//! another partition. zstd is answered with UNSUPPORTED_COMPRESSION_TYPE (KIP-110).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use milena_metadata::image::MetadataImage;
use milena_metadata::topic_config;
use milena_protocol::file_range::Chunk;
use milena_protocol::legacy::message_set::Magic;
use milena_protocol::legacy::message_set_down::DownConvertError;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::{Context, Row, Wanted, code_of, deadline, read_when_ready};
use crate::fetch::convert::{ANSWER_BYTES_MAX, ConvertError, first_messages};
use crate::fetch::wait::FetchWaiter;
use crate::replica::partition::{FetchSpec, Fetched, Isolation, Partition};

/// First version with a limit for the whole answer, which the client keeps fair.
const MAX_BYTES: i16 = 3;

/// The format that a version's consumers understand; `None` for batches.
pub(super) fn magic(version: i16) -> Option<Magic> {
    match version {
        ..=1 => Some(Magic::V0),
        2..=3 => Some(Magic::V1),
        _ => None,
    }
}

/// The answer's rows, with their message sets, and what is to be held until the answer is made of them.
pub(super) async fn read<'a>(
    context: &Context<'a>,
    request: &FetchRequest,
    magic: Magic,
    wanted: &[Wanted],
) -> (Vec<Row>, Option<SemaphorePermit<'a>>) {
    let deadline = deadline(request);
    loop {
        let rows = read_when_ready(context, request, Isolation::ReadUncommitted, wanted, deadline).await;
        let found_bytes = rows.iter().any(|row| row.bytes() > 0);
        let seat = context.connection.seat.as_deref();
        let permit = if found_bytes { context.node.fetch_conversions.answer(seat).await.ok() } else { None };
        let rows = convert(context, request, magic, rows).await;
        let is_over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
        if !found_bytes || is_over || rows.iter().any(|row| row.records.is_some() || row.has_news()) {
            return (rows, permit);
        }
        drop(permit);
        // All that lies before the end is nothing to these consumers. Answered now, they would ask again at once.
        if let Some(deadline) = deadline {
            more(&rows, deadline).await;
        }
    }
}

async fn convert(context: &Context<'_>, request: &FetchRequest, magic: Magic, mut rows: Vec<Row>) -> Vec<Row> {
    let first = if context.version < MAX_BYTES { context.correlation_id.unsigned_abs() as usize } else { 0 };
    let (image, count) = (context.node.image(), rows.len());
    let mut left = ANSWER_BYTES_MAX.min(request.max_bytes.max(0) as usize);
    let mut nothing_yet = true;
    for place in 0..count {
        let row = &mut rows[(first + place) % count];
        let (Ok(fetched), Some(partition)) = (&mut row.outcome, &row.partition) else { continue };
        if stores_zstd(context, &image, &row.topic) {
            row.outcome = Err(ResponseError::UnsupportedCompressionType);
            continue;
        }
        if !nothing_yet {
            fetched.range = fetched.range.take().filter(|_| left > 0);
        }
        let Some(range) = &mut fetched.range else { continue };
        if !nothing_yet {
            range.len = range.len.min(left);
        }
        match one(context, partition, fetched, &row.wanted, magic).await {
            Ok(chunk) => {
                left = left.saturating_sub(chunk.len());
                nothing_yet &= chunk.is_empty();
                row.records = Some(chunk).filter(|chunk| !chunk.is_empty());
            }
            Err(error) => row.outcome = Err(error),
        }
    }
    rows
}

async fn one(
    context: &Context<'_>,
    partition: &Arc<Partition>,
    fetched: &mut Fetched,
    wanted: &Wanted,
    magic: Magic,
) -> Result<Chunk, ResponseError> {
    let spec = FetchSpec {
        current_leader_epoch: wanted.current_leader_epoch,
        fetch_offset: wanted.fetch_offset,
        last_fetched_epoch: wanted.last_fetched_epoch,
        max_bytes: wanted.max_bytes.min(ANSWER_BYTES_MAX as i32),
        isolation: Isolation::ReadUncommitted,
        min_one_batch: true,
        now: context.node.now(),
    };
    let converted = context.node.fetch_conversions.convert(partition, fetched, spec, magic).await;
    let message_set = converted.map_err(|error| {
        tracing::debug!(
            target: "kafka.server.KafkaApis",
            "{} is not converted from offset {} on: {error}", partition.topic_partition, wanted.fetch_offset
        );
        code_of_conversion(&error)
    })?;
    let is_limited = context.version < MAX_BYTES;
    Ok(Chunk::Bytes(if is_limited { first_messages(message_set, wanted.max_bytes as usize) } else { message_set }))
}

fn code_of_conversion(error: &ConvertError) -> ResponseError {
    match error {
        ConvertError::Partition(error) => code_of(error),
        ConvertError::Batch(DownConvertError::Zstd) => ResponseError::UnsupportedCompressionType,
        ConvertError::Batch(DownConvertError::TooLarge { .. }) => ResponseError::MessageTooLarge,
        ConvertError::Batch(
            DownConvertError::Batch(_)
            | DownConvertError::UnknownCodec { .. }
            | DownConvertError::Records(_)
            | DownConvertError::Message(_)
            | DownConvertError::Compression(_),
        )
        | ConvertError::Ended => ResponseError::UnknownServerError,
    }
}

/// As Kafka does, a topic whose configuration asks for zstd is not looked into.
fn stores_zstd(context: &Context<'_>, image: &MetadataImage, topic: &str) -> bool {
    let compression = topic_config::effective("compression.type", image.configs.topic(topic), &context.node.layers(image));
    compression.is_some_and(|compression| compression.to_string() == "zstd")
}

/// Waits for records behind those that were read, or whatever else the client must hear of.
async fn more(rows: &[Row], deadline: Instant) {
    let waiter = FetchWaiter::new();
    for partition in rows.iter().filter_map(|row| row.partition.as_ref()) {
        partition.fetch_waiters.add(&waiter);
    }
    let count = waiter.count();
    let has_moved = |row: &Row| match (&row.outcome, &row.partition) {
        (Ok(fetched), Some(partition)) => {
            partition.high_watermark() > fetched.high_watermark
                || partition.check_leader(row.wanted.current_leader_epoch).is_err()
        }
        _ => false,
    };
    if rows.iter().any(has_moved) {
        return;
    }
    waiter.expect(count, 1);
    // Whether woken or late: the caller reads again.
    let _ = tokio::time::timeout_at(deadline, waiter.woken()).await;
}
