//! Why records are refused. The broker turns each variant into the code that stands beside it; the texts are Kafka's.

use std::fmt;

use milena_protocol::compression::CompressionError;
use milena_protocol::legacy::MessageSetError;
use milena_protocol::record_batch::BatchError;
use milena_protocol::records::RecordError;
use milena_protocol::types::{Offset, ProducerId, Timestamp, TopicPartition};

/// How many rejected records Kafka names in the message about them.
const REJECTIONS_NAMED: usize = 3;
/// How many rejected records are kept one by one; a small batch may decompress to millions.
const REJECTIONS_KEPT: usize = 1000;

/// Why one partition's records are not appended.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// 87 INVALID_RECORD: no whole batch.
    #[error("Produce requests must have at least one record batch per partition")]
    NoBatch,
    /// 87 INVALID_RECORD: several batches.
    #[error("Produce requests are only allowed to contain exactly one record batch per partition")]
    MoreThanOneBatch,
    /// 87 INVALID_RECORD: a message set of format 0 or 1.
    #[error("Produce requests are only allowed to contain record batches with magic version 2, not {magic}")]
    OldMagic {
        /// The format.
        magic: i8,
    },
    /// 76 UNSUPPORTED_COMPRESSION_TYPE.
    #[error("Produce requests with version {version} are not allowed to use ZStandard compression")]
    ZstdTooEarly {
        /// The version of the request.
        version: i16,
    },
    /// 2 CORRUPT_MESSAGE in *every* row of the request, with error_message: a first batch of impossible size or
    /// undefined format, at which Kafka stumbles before it looks at single partitions.
    #[error(transparent)]
    MalformedFirstBatch(BatchError),
    /// 2 CORRUPT_MESSAGE: what follows the first batch, or comes from a leader, is malformed; or a batch has no room
    /// for its own header.
    #[error(transparent)]
    CorruptBatch(BatchError),
    /// 2 CORRUPT_MESSAGE.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    WrongCrc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// 87 INVALID_RECORD.
    #[error("The baseOffset of the record batch in the append should be 0, but it is {base_offset}")]
    BaseOffsetNotZero {
        /// The client's base offset.
        base_offset: Offset,
    },
    /// 10 MESSAGE_TOO_LARGE.
    #[error("The record batch size is {size} bytes which exceeds the maximum configured value of {max_message_bytes}")]
    TooLarge {
        /// Size of the batch, its overhead included.
        size: usize,
        /// `max.message.bytes`.
        max_message_bytes: usize,
    },
    /// 18 RECORD_LIST_TOO_LARGE.
    #[error("Message batch size is {size} bytes which exceeds the maximum configured segment size of {segment_bytes}")]
    LargerThanSegment {
        /// Size of what was to be appended.
        size: usize,
        /// `segment.bytes`.
        segment_bytes: usize,
    },
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: an id of 5 to 7.
    #[error("Unknown compression type id: {id}")]
    UnknownCodec {
        /// The id.
        id: u8,
    },
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: broken or truncated compressed data.
    #[error(transparent)]
    Undecodable(CompressionError),
    /// 10 MESSAGE_TOO_LARGE: nobody configures this bound, but the Java producer splits its batch at this code.
    #[error("the decompressed records exceed {decompressed_bytes_max} bytes")]
    DecompressedTooLarge {
        /// The bound.
        decompressed_bytes_max: usize,
    },
    /// -1 UNKNOWN_SERVER_ERROR: the batch could not be compressed as the topic wants it.
    #[error(transparent)]
    Recompression(CompressionError),
    /// 87 INVALID_RECORD.
    #[error("Batch has an invalid offset range: [{base_offset}, {last_offset}]")]
    OffsetRange {
        /// First offset.
        base_offset: Offset,
        /// Last offset, before the first.
        last_offset: Offset,
    },
    /// 87 INVALID_RECORD.
    #[error("Invalid reported count for record batch: {count}")]
    RecordsCount {
        /// The declared number of records.
        count: i32,
    },
    /// 87 INVALID_RECORD.
    #[error("Inconsistent batch offset range [{base_offset}, {last_offset}] and count of records {count}")]
    CountMismatch {
        /// First offset.
        base_offset: Offset,
        /// Last offset.
        last_offset: Offset,
        /// The declared number of records.
        count: i32,
    },
    /// 87 INVALID_RECORD.
    #[error("Clients are not allowed to write control records")]
    ControlBatch,
    /// 87 INVALID_RECORD.
    #[error("Invalid sequence number {base_sequence} in record batch with producerId {producer_id}")]
    Sequence {
        /// The negative sequence number.
        base_sequence: i32,
        /// The producer.
        producer_id: ProducerId,
    },
    /// 87 INVALID_RECORD: the bytes are not the declared number of records.
    #[error(transparent)]
    Records(RecordError),
    /// 32 INVALID_TIMESTAMP if any record's timestamp is refused, else 87 INVALID_RECORD; with `record_errors` (v8+)
    /// and [`ValidationError::error_message`].
    #[error("{} records of {topic_partition} are refused", rejections.count)]
    Rejected {
        /// Where they were to go.
        topic_partition: TopicPartition,
        /// The refused records.
        rejections: Rejections,
    },
    /// The code that stands beside each variant there: from an old client, a message set that is none.
    #[error(transparent)]
    MessageSet(MessageSetError),
    /// 87 INVALID_RECORD, from an old client: messages of different formats.
    #[error("Batch magic {magic} is not the same as the first batch's magic byte {first}")]
    MixedMagic {
        /// Format of the later message or batch.
        magic: i8,
        /// Format of the first message.
        first: i8,
    },
    /// 87 INVALID_RECORD, from an old client.
    #[error("Compressed outer record has more than one batch")]
    MoreThanOneWrapper,
    /// -1 UNKNOWN_SERVER_ERROR, as Kafka answers: a message with a timestamp below -1.
    #[error("Invalid negative timestamp {timestamp}")]
    NegativeTimestamp {
        /// The timestamp.
        timestamp: Timestamp,
    },
    /// 2 CORRUPT_MESSAGE, from a leader only: batches that do not follow each other.
    #[error("batch at offset {offset} after one that ends at {last_offset}")]
    OffsetsOutOfOrder {
        /// First offset of the later batch.
        offset: Offset,
        /// Last offset of the one before.
        last_offset: Offset,
    },
}

impl ValidationError {
    /// Kafka's code for this error, as the documentation of the variants says.
    pub fn code(&self) -> i16 {
        match self {
            ValidationError::MalformedFirstBatch(_)
            | ValidationError::CorruptBatch(_)
            | ValidationError::WrongCrc { .. }
            | ValidationError::OffsetsOutOfOrder { .. } => 2,
            ValidationError::TooLarge { .. } | ValidationError::DecompressedTooLarge { .. } => 10,
            ValidationError::LargerThanSegment { .. } => 18,
            ValidationError::ZstdTooEarly { .. } => 76,
            ValidationError::UnknownCodec { .. }
            | ValidationError::Records(RecordError::LengthTooLong)
            | ValidationError::Undecodable(_)
            | ValidationError::NegativeTimestamp { .. }
            | ValidationError::Recompression(_) => -1,
            ValidationError::MessageSet(error) => error.code(),
            ValidationError::Rejected { .. } if self.is_timestamp() => 32,
            ValidationError::NoBatch
            | ValidationError::MoreThanOneBatch
            | ValidationError::OldMagic { .. }
            | ValidationError::BaseOffsetNotZero { .. }
            | ValidationError::OffsetRange { .. }
            | ValidationError::RecordsCount { .. }
            | ValidationError::CountMismatch { .. }
            | ValidationError::ControlBatch
            | ValidationError::Sequence { .. }
            | ValidationError::MixedMagic { .. }
            | ValidationError::MoreThanOneWrapper
            | ValidationError::Records(_)
            | ValidationError::Rejected { .. } => 87,
        }
    }

    /// Whether the row names the true log start offset (v5+) if the append found this error; else it says -1, as it
    /// does for everything that [`check_produce`](super::check_produce) finds. The codes 2, 10 and 18 never name it
    /// (`ReplicaManager.appendToLocalLog`).
    pub fn answers_log_start_offset(&self) -> bool {
        matches!(self.code(), -1 | 32 | 87)
    }

    /// Whether a refused timestamp decides about the code of a `Rejected`.
    pub fn is_timestamp(&self) -> bool {
        let ValidationError::Rejected { rejections, .. } = self else { return false };
        rejections.has_timestamp
    }

    /// The answer's `record_errors` (v8+): index in the batch and text of the refused records, of the first thousand.
    pub fn record_errors(&self) -> impl Iterator<Item = (i32, String)> {
        let (topic_partition, rejections) = match self {
            ValidationError::Rejected { topic_partition, rejections } => (Some(topic_partition), &rejections.first[..]),
            _ => (None, &[][..]),
        };
        topic_partition.into_iter().flat_map(move |topic_partition| {
            rejections.iter().map(move |rejection| (rejection.batch_index, rejection.message(topic_partition)))
        })
    }

    /// The answer's `error_message` (v8+): null for all but refused records and a malformed first
    /// batch.
    pub fn error_message(&self) -> Option<String> {
        match self {
            ValidationError::MalformedFirstBatch(error) => Some(error.to_string()),
            ValidationError::Rejected { .. } if self.is_timestamp() => {
                Some("One or more records have been rejected due to invalid timestamp".to_owned())
            }
            ValidationError::Rejected { topic_partition, rejections } => {
                let named: Vec<String> = rejections
                    .first
                    .iter()
                    .take(REJECTIONS_NAMED)
                    .map(|rejection| {
                        let message = rejection.message(topic_partition);
                        format!("RecordError(batchIndex={}, message='{message}')", rejection.batch_index)
                    })
                    .collect();
                Some(format!(
                    "One or more records have been rejected due to {} record errors in total, and only showing the \
                     first three errors at most: [{}]",
                    rejections.count,
                    named.join(", ")
                ))
            }
            _ => None,
        }
    }
}

/// The records of a batch that are refused: their number, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    first: Vec<RecordRejection>,
    count: usize,
    has_timestamp: bool,
}

impl Rejections {
    pub(super) fn add(&mut self, batch_index: i32, fault: RecordFault) {
        self.count += 1;
        self.has_timestamp |= match fault {
            RecordFault::Timestamp { .. } | RecordFault::TimestampType { .. } => true,
            RecordFault::NoKey | RecordFault::Magic { .. } => false,
        };
        if self.first.len() < REJECTIONS_KEPT {
            self.first.push(RecordRejection { batch_index, fault });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A record that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRejection {
    /// Its index in the batch.
    pub batch_index: i32,
    /// Why.
    pub fault: RecordFault,
}

impl RecordRejection {
    /// Kafka's text about it.
    pub fn message(&self, topic_partition: &TopicPartition) -> String {
        match self.fault {
            RecordFault::NoKey => {
                format!("Compacted topic cannot accept message without key in topic partition {topic_partition}")
            }
            fault => fault.to_string(),
        }
    }
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A compacted topic needs keys.
    NoKey,
    /// A timestamp too far from the broker's time.
    Timestamp {
        /// The record's timestamp.
        timestamp: Timestamp,
        /// The record's offset in the client's batch.
        offset: Offset,
        /// The earliest timestamp allowed.
        earliest: Timestamp,
        /// The latest timestamp allowed.
        latest: Timestamp,
    },
    /// A message of another format than the wrapper around it.
    Magic {
        /// The message's offset.
        offset: Offset,
        /// The message's format.
        magic: i8,
        /// The wrapper's format.
        wrapper: i8,
    },
    /// A producer must not claim that the broker set the timestamp.
    TimestampType {
        /// The record's offset in the client's batch.
        offset: Offset,
        /// The record's timestamp.
        timestamp: Timestamp,
        /// Size of its key.
        key_bytes: usize,
        /// Size of its value.
        value_bytes: usize,
    },
}

impl fmt::Display for RecordFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFault::NoKey => formatter.write_str("Compacted topic cannot accept message without key"),
            RecordFault::Timestamp { timestamp, offset, earliest, latest } => write!(
                formatter,
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be \
                 within [{earliest}, {latest}]"
            ),
            RecordFault::Magic { offset, magic, wrapper } => write!(
                formatter,
                "The magic {magic} of the message with offset {offset} does not match outer magic {wrapper}"
            ),
            RecordFault::TimestampType { offset, timestamp, key_bytes, value_bytes } => write!(
                formatter,
                "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp}, \
                 key={key_bytes} bytes, value={value_bytes} bytes). Producer should not set timestamp type to \
                 LogAppendTime."
            ),
        }
    }
}
