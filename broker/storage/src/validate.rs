//! What a leader checks before it appends records, as pure code: bytes, configuration and time in, a verdict out.
//!
//! The bytes are changed in place wherever that is possible: base offset and leader epoch lie outside the checksum,
//! largest timestamp and timestamp type cost one more pass for it. A batch is rebuilt only if `compression.type` asks
//! for another codec or if its inner offsets are not 0, 1, 2 …: some old clients wrote them wrongly.
//!
//! ```text
//! check_first_batch  for every partition, before any is looked at          RequestUtils.hasTransactionalRecords
//! check_produce      the version's rules, before the log is looked up         ProduceRequest.validateRecords
//! prepare            all that needs no offset, outside the append lock        UnifiedLog.append, LogValidator
//! place              base offset and leader epoch, inside it                  LogValidator
//! ```
//!
//! An uncompressed batch costs one pass for the checksum and one walk that allocates nothing; a compressed one is
//! decompressed into a buffer that the thread keeps. Message sets of magic 0 and 1, from old clients, are made one batch
//! (`message_set`). Absent: producer state, high watermarks, files.
//! Kafka keeps wrong inner offsets of an uncompressed batch; here they are put right, since readers rely on them.

mod error;
mod message_set;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use milena_protocol::compression::{self, Codec, CompressionError, Level};
use milena_protocol::legacy::MessageView;
use milena_protocol::record_batch::{
    self, BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView, TimestampType, batches,
};
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::{LeaderEpoch, NO_TIMESTAMP, Offset, Timestamp, TopicPartition};
use parking_lot::{Mutex, MutexGuard};

pub use self::error::{RecordFault, RecordRejection, Rejections, ValidationError};
use self::walk::{Walked, walk};
use crate::log::AppendOrigin;
use crate::log_config::{CompressionType, LogConfig};
use crate::planted::{self, Bug};

/// First version of Produce that must hold exactly one batch of format 2 for each partition.
const FIRST_PRODUCE_OF_BATCHES: i16 = 3;
/// First version of Produce whose batches may be compressed with zstd.
const FIRST_PRODUCE_WITH_ZSTD: i16 = 7;
/// What a batch may grow to when decompressed, whatever its configuration: as much as a request may hold.
const DECOMPRESSED_BYTES_MAX: usize = 100 * 1024 * 1024;
/// What [`SCRATCHES`] batches may decompress to at the same time. Those that become larger wait for each other: what many
/// small ones decompress to must not fill the memory, however many threads append.
pub(crate) const DECOMPRESSED_BYTES_AT_ONCE: usize = 8 * 1024 * 1024;
/// Buffers for decompressed records: as many as threads that are likely to validate at once.
const SCRATCHES: usize = 8;
/// The largest buffer for decompressed records that is kept for the next batch.
const SCRATCH_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Held by the thread that validates a batch above [`DECOMPRESSED_BYTES_AT_ONCE`], or looks for a timestamp in it.
pub(crate) static LARGE_BATCH: Mutex<()> = Mutex::new(());

static SCRATCH: [Mutex<Vec<u8>>; SCRATCHES] = [const { Mutex::new(Vec::new()) }; SCRATCHES];
static NEXT_SCRATCH: AtomicUsize = AtomicUsize::new(0);

/// What `compression.type` makes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetCompression {
    /// Keep what the producer chose.
    Producer,
    /// Store with this codec, at this level where the batch comes with another one.
    Codec(Codec, Level),
}

impl TargetCompression {
    /// The codec and level with which a batch is stored that comes with codec `source`.
    fn of(self, source: Codec) -> (Codec, Level) {
        match self {
            TargetCompression::Producer => (source, Level::DEFAULT),
            TargetCompression::Codec(codec, level) => (codec, level),
        }
    }
}

/// The configuration that decides about a batch.
#[derive(Clone, Copy, Debug)]
pub struct ValidateConfig<'a> {
    /// Where the batch goes; named in messages.
    pub topic_partition: &'a TopicPartition,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type` and the level of its codec.
    pub compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`: the whole batch, compressed, its overhead included.
    pub max_message_bytes: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// What a batch may grow to when decompressed; no configuration of Kafka's, which streams.
    pub decompressed_bytes_max: usize,
}

impl<'a> ValidateConfig<'a> {
    /// The part of a log's configuration that decides about batches.
    pub fn new(topic_partition: &'a TopicPartition, config: &LogConfig) -> ValidateConfig<'a> {
        let level = |level: i32| if level == -1 { Level::DEFAULT } else { Level::new(level) };
        let compression = match config.compression_type {
            CompressionType::Producer => TargetCompression::Producer,
            CompressionType::Uncompressed => TargetCompression::Codec(Codec::None, Level::DEFAULT),
            CompressionType::Gzip => TargetCompression::Codec(Codec::Gzip, level(config.compression_gzip_level)),
            CompressionType::Snappy => TargetCompression::Codec(Codec::Snappy, Level::DEFAULT),
            CompressionType::Lz4 => TargetCompression::Codec(Codec::Lz4, Level::new(config.compression_lz4_level)),
            CompressionType::Zstd => TargetCompression::Codec(Codec::Zstd, Level::new(config.compression_zstd_level)),
        };
        let max_message_bytes = usize::try_from(config.max_message_bytes).unwrap_or(0);
        ValidateConfig {
            topic_partition,
            compacted: config.cleanup_policy.compact,
            compression,
            timestamp_type: config.message_timestamp_type,
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            max_message_bytes,
            segment_bytes: usize::try_from(config.segment_bytes).unwrap_or(0),
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX.max(max_message_bytes),
        }
    }
}

/// A batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch's header, as it stands in the bytes now.
    pub header: BatchHeader,
    /// Whether the batch was built anew, so that its size may have changed.
    pub rebuilt: bool,
    /// The broker's time for `LogAppendTime`, else -1.
    pub log_append_time: Timestamp,
}

/// Check one partition's records and make them ready to be appended at `first_offset`: [`prepare`], then [`place`].
///
/// # Errors
/// [`ValidationError`]; `records` may then have been changed and must not be used.
pub fn validate(
    records: &mut BytesMut,
    config: &ValidateConfig<'_>,
    origin: AppendOrigin,
    leader_epoch: LeaderEpoch,
    first_offset: Offset,
    now: Timestamp,
) -> Result<Validated, ValidationError> {
    let mut validated = prepare(records, config, origin, now)?;
    place(records, &mut validated, first_offset, leader_epoch);
    Ok(validated)
}

/// What Kafka stumbles over before it looks at single partitions: if this fails for any partition's records, every
/// row of the request answers so (`RequestUtils.hasTransactionalRecords`).
///
/// # Errors
/// `MalformedFirstBatch`.
pub fn check_first_batch(records: &[u8]) -> Result<(), ValidationError> {
    match record_batch::size_at_start(records) {
        Err(error @ (BatchError::UnknownMagic { .. } | BatchError::SizeTooSmall { .. })) => {
            Err(ValidationError::MalformedFirstBatch(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The rules that a Produce request's version sets for one partition's records, before anybody looks at the topic.
/// Answers of these say log start offset -1.
///
/// Before v3 there are none: some old clients send one format in the version of another
/// ([`check_first_batch`] counts there, too).
///
/// # Errors
/// [`ValidationError`]: not exactly one batch of format 2, or zstd before v7.
pub fn check_produce(records: &[u8], version: i16) -> Result<(), ValidationError> {
    if version < FIRST_PRODUCE_OF_BATCHES {
        return check_first_batch(records);
    }
    let view = only_batch(records)?;
    if version < FIRST_PRODUCE_WITH_ZSTD && view.header().attributes.codec() == Ok(Codec::Zstd) {
        return Err(ValidationError::ZstdTooEarly { version });
    }
    Ok(())
}

/// Everything that needs no offset: checks, timestamps, recompression. No lock is needed.
///
/// # Errors
/// [`ValidationError`], in the order of Kafka's checks.
pub fn prepare(
    records: &mut BytesMut,
    config: &ValidateConfig<'_>,
    origin: AppendOrigin,
    now: Timestamp,
) -> Result<Validated, ValidationError> {
    let view = match only_batch(records) {
        Err(ValidationError::OldMagic { .. }) if origin == AppendOrigin::OldClient => {
            return prepare_message_set(records, config, now);
        }
        view => view?,
    };
    let header = *view.header();
    let size = view.bytes().len();
    let from_client = origin.is_client();
    if from_client && header.base_offset != 0 {
        return Err(ValidationError::BaseOffsetNotZero { base_offset: header.base_offset });
    }
    check_message_size(size, config)?;
    let computed = view.computed_crc();
    if computed != header.crc && !planted::is(Bug::SkipCrcOfProducers) {
        return Err(ValidationError::WrongCrc { stored: header.crc, computed });
    }
    let source = header.attributes.codec().map_err(|id| ValidationError::UnknownCodec { id })?;
    if from_client {
        check_client_header(&header)?;
    }
    let (target, level) = config.compression.of(source);
    // A control batch is stored as its coordinator wrote it.
    let keeps_codec = source == target || (source == Codec::None && header.attributes.is_control());
    let walk_then_rebuild = |uncompressed: &[u8]| {
        let walked = walk(uncompressed, &header, config, now)?;
        if keeps_codec && walked.offsets_in_order {
            return Ok((walked, None));
        }
        let rebuilt = rebuild(uncompressed, &header, target, level, config.timestamp_type, now)?;
        Ok((walked, Some(rebuilt)))
    };
    let (walked, rebuilt) = if source == Codec::None {
        walk_then_rebuild(view.record_bytes())?
    } else {
        with_decompressed(source, view.record_bytes(), config, walk_then_rebuild)?
    };
    let is_rebuilt = rebuilt.is_some();
    if let Some(batch) = rebuilt {
        *records = batch;
        check_message_size(records.len(), config)?;
    } else {
        // The request may go on behind the batch with less than another one.
        records.truncate(size);
        set_timestamps(records, &walked, config.timestamp_type, now);
    }
    ready(records, is_rebuilt, config, now)
}

/// A message set of magic 0 or 1 is always rebuilt.
fn prepare_message_set(
    records: &mut BytesMut,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Result<Validated, ValidationError> {
    *records = message_set::convert(records, config, now)?;
    check_message_size(records.len(), config)?;
    ready(records, true, config, now)
}

fn ready(
    records: &[u8],
    rebuilt: bool,
    config: &ValidateConfig<'_>,
    now: Timestamp,
) -> Result<Validated, ValidationError> {
    check_segment_size(records.len(), config)?;
    let header = BatchHeader::parse(records).map_err(ValidationError::CorruptBatch)?;
    let log_append_time = match config.timestamp_type {
        TimestampType::CreateTime => NO_TIMESTAMP,
        TimestampType::LogAppendTime => now,
    };
    Ok(Validated { header, rebuilt, log_append_time })
}

/// Give a prepared batch its place in the log. Its checksum stays valid.
pub fn place(records: &mut BytesMut, validated: &mut Validated, first_offset: Offset, leader_epoch: LeaderEpoch) {
    record_batch::set_base_offset(records, first_offset);
    record_batch::set_leader_epoch(records, leader_epoch);
    validated.header.base_offset = first_offset;
    validated.header.leader_epoch = leader_epoch;
}

/// Check batches that a leader has validated already and a follower is to append as they are: whole, unharmed and in
/// the order of their offsets. A trailing batch that is cut off is left out; the second value is where it begins.
///
/// # Errors
/// `CorruptBatch`, `WrongCrc` or `OffsetsOutOfOrder`.
pub fn check_replicated(records: &[u8]) -> Result<(Vec<BatchHeader>, usize), ValidationError> {
    let mut walk = batches(records);
    let mut headers: Vec<BatchHeader> = Vec::new();
    while let Some(view) = walk.next() {
        let header = match view {
            Ok(view) => {
                let (stored, computed) = (view.header().crc, view.computed_crc());
                if computed != stored {
                    return Err(ValidationError::WrongCrc { stored, computed });
                }
                *view.header()
            }
            // From a leader's old segments: kept as they are, too.
            Err(BatchError::OldMagic { size_in_bytes, .. }) => {
                let start = walk.position() - size_in_bytes;
                let message = MessageView::parse(records.get(start..).unwrap_or_default());
                let message = message.map_err(ValidationError::CorruptBatch)?;
                message.check_crc().map_err(ValidationError::MessageSet)?;
                message.as_batch_header()
            }
            Err(error) => return Err(ValidationError::CorruptBatch(error)),
        };
        if let Some(last) = headers.last().map(BatchHeader::last_offset)
            && header.base_offset <= last
        {
            return Err(ValidationError::OffsetsOutOfOrder { offset: header.base_offset, last_offset: last });
        }
        headers.push(header);
    }
    Ok((headers, walk.position()))
}

/// `max.message.bytes` against a whole batch; equal passes.
///
/// # Errors
/// `TooLarge`.
pub fn check_message_size(size: usize, config: &ValidateConfig<'_>) -> Result<(), ValidationError> {
    if size > config.max_message_bytes {
        return Err(ValidationError::TooLarge { size, max_message_bytes: config.max_message_bytes });
    }
    Ok(())
}

/// `segment.bytes` against all that is appended at once; equal passes.
///
/// # Errors
/// `LargerThanSegment`.
pub fn check_segment_size(size: usize, config: &ValidateConfig<'_>) -> Result<(), ValidationError> {
    if size > config.segment_bytes {
        return Err(ValidationError::LargerThanSegment { size, segment_bytes: config.segment_bytes });
    }
    Ok(())
}

fn only_batch(records: &[u8]) -> Result<BatchView<'_>, ValidationError> {
    let mut all = batches(records);
    let view = match all.next() {
        None => return Err(ValidationError::NoBatch),
        Some(Err(BatchError::OldMagic { magic, .. })) => return Err(ValidationError::OldMagic { magic }),
        Some(Err(error @ (BatchError::UnknownMagic { .. } | BatchError::SizeTooSmall { .. }))) => {
            return Err(ValidationError::MalformedFirstBatch(error));
        }
        Some(Err(error)) => return Err(ValidationError::CorruptBatch(error)),
        Some(Ok(view)) => view,
    };
    match all.next() {
        None => Ok(view),
        Some(Err(error @ (BatchError::UnknownMagic { .. } | BatchError::SizeTooSmall { .. }))) => {
            Err(ValidationError::CorruptBatch(error))
        }
        Some(_) => Err(ValidationError::MoreThanOneBatch),
    }
}

/// What only a client can get wrong, in Kafka's order (`LogValidator.validateBatch`).
fn check_client_header(header: &BatchHeader) -> Result<(), ValidationError> {
    let count_from_offsets = i64::from(header.last_offset_delta) + 1;
    let count = header.records_count;
    if count_from_offsets <= 0 {
        return Err(ValidationError::OffsetRange {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
        });
    }
    if count <= 0 {
        return Err(ValidationError::RecordsCount { count });
    }
    if count_from_offsets != i64::from(count) {
        return Err(ValidationError::CountMismatch {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            count,
        });
    }
    if header.attributes.is_control() {
        return Err(ValidationError::ControlBatch);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(ValidationError::Sequence { base_sequence: header.base_sequence, producer_id: header.producer_id });
    }
    Ok(())
}

fn set_timestamps(batch: &mut [u8], walked: &Walked, timestamp_type: TimestampType, now: Timestamp) {
    let max_timestamp = match timestamp_type {
        TimestampType::CreateTime => walked.max_timestamp,
        TimestampType::LogAppendTime => now,
    };
    record_batch::set_max_timestamp_and_type(batch, timestamp_type, max_timestamp);
}

/// Run `then` over the decompressed records, in a buffer that this thread uses again and again.
fn with_decompressed<T>(
    codec: Codec,
    compressed: &[u8],
    config: &ValidateConfig<'_>,
    then: impl Fn(&[u8]) -> Result<T, ValidationError>,
) -> Result<T, ValidationError> {
    with_scratch(config, |bytes_max, scratch| {
        match compression::decompress_into(codec, compressed, bytes_max, scratch) {
            Ok(()) => then(scratch),
            Err(CompressionError::TooLarge { max_output, .. }) => {
                Err(ValidationError::DecompressedTooLarge { decompressed_bytes_max: max_output })
            }
            Err(error) => Err(ValidationError::Undecodable(error)),
        }
    })
}

/// Run `decompress` with a bound and a buffer for its output; again, alone, with the configured bound where the first
/// one was too small.
fn with_scratch<T>(
    config: &ValidateConfig<'_>,
    decompress: impl Fn(usize, &mut Vec<u8>) -> Result<T, ValidationError>,
) -> Result<T, ValidationError> {
    let bytes_max = config.decompressed_bytes_max;
    let mut scratch = free_scratch();
    let result = decompress(bytes_max.min(DECOMPRESSED_BYTES_AT_ONCE), &mut scratch);
    if scratch.capacity() > SCRATCH_BYTES_KEPT {
        *scratch = Vec::new();
    }
    drop(scratch);
    if bytes_max > DECOMPRESSED_BYTES_AT_ONCE && matches!(result, Err(ValidationError::DecompressedTooLarge { .. })) {
        let _alone = LARGE_BATCH.lock();
        return decompress(bytes_max, &mut Vec::new());
    }
    result
}

/// A buffer that nobody uses, or, where all are used, the next one that is given back in turn.
fn free_scratch() -> MutexGuard<'static, Vec<u8>> {
    SCRATCH.iter().find_map(Mutex::try_lock).unwrap_or_else(|| {
        let turn = NEXT_SCRATCH.fetch_add(1, Ordering::Relaxed);
        SCRATCH[turn % SCRATCHES].lock()
    })
}

/// The same records as a new batch: offsets 0 to n-1, another codec, everything else kept.
fn rebuild(
    uncompressed: &[u8],
    header: &BatchHeader,
    codec: Codec,
    level: Level,
    timestamp_type: TimestampType,
    now: Timestamp,
) -> Result<BytesMut, ValidationError> {
    let mut builder = BatchBuilder::with_capacity(BATCH_HEADER_BYTES + uncompressed.len())
        .compression(codec, level)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.attributes.is_transactional())
        .control(header.attributes.is_control());
    if timestamp_type == TimestampType::LogAppendTime {
        builder = builder.log_append_time(now);
    }
    for record in milena_protocol::records::records(uncompressed, header.records_count) {
        let record = record.map_err(ValidationError::Records)?;
        builder.append_view(header.record_timestamp(record.timestamp_delta), &record);
    }
    builder.build().map_err(ValidationError::Recompression)
}
