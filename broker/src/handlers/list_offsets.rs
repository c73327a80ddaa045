//! ListOffsets (key 2): the offset of a time, or of one of the special times.
//!
//! Versions 0-11: v0 where segments begin ([`v0`]), v1 one offset by a record's time (KIP-79), v2 isolation level, v4 leader epoch, v5 OFFSET_NOT_AVAILABLE, v6 flexible, v7 max timestamp (-3,
//! KIP-734), v8 local start (-4, KIP-405), v9 last tiered (-5, KIP-1005), v10 timeout, v11 earliest pending upload
//! (-6, KIP-1023). Source: `KafkaApis.handleListOffsetRequest`, `ReplicaManager.fetchOffset`.

mod v0;

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use milena_metadata::image::MetadataImage;
use milena_protocol::messages::list_offsets;
use milena_storage::LogReader;

use super::common::{code_of, partition_by_name};
use super::context::Context;
use super::{Reply, encode_with};
use crate::replica::partition::{Partition, PartitionError};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// First version that answers with a leader epoch.
const LEADER_EPOCH: i16 = 4;

/// Timestamp, offset, leader epoch: what a time comes to. -1 where there is none.
struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found { timestamp: -1, offset: -1, leader_epoch: -1 };

pub(super) fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    if context.version == 0 {
        return v0::handle(context, body);
    }
    let request = match list_offsets::decode_request(&mut body.freeze(), context.version) {
        Ok(request) => request,
        Err(error) => return Reply::Close(error.to_string()),
    };
    let image = context.node.image();
    let repeated = repeated_partitions(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut rows = Vec::with_capacity(topic.partitions.len());
        let mut said = BTreeSet::new();
        let repeated = repeated.get(topic.name.as_str());
        for asked in &topic.partitions {
            let found = if repeated.is_some_and(|repeated| repeated.contains(&asked.partition_index)) {
                if !said.insert(asked.partition_index) {
                    continue;
                }
                Err(ResponseError::InvalidRequest)
            } else {
                find(context, &image, &topic.name, asked, request.isolation_level)
            };
            rows.push(row(context.version, asked.partition_index, found));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(rows));
    }
    let response = ListOffsetsResponse::default().with_topics(topics);
    encode_with(context.head(), 64, |frame| list_offsets::encode_response(frame, &response, context.version))
}

/// By topic: a name is looked up once, however many partitions it has.
fn repeated_partitions(request: &ListOffsetsRequest) -> BTreeMap<&str, BTreeSet<i32>> {
    let mut seen: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    let mut repeated: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in &request.topics {
        let seen = seen.entry(topic.name.as_str()).or_default();
        let again = topic.partitions.iter().map(|row| row.partition_index).filter(|index| !seen.insert(*index));
        let again: Vec<i32> = again.collect();
        if !again.is_empty() {
            repeated.entry(topic.name.as_str()).or_default().extend(again);
        }
    }
    repeated
}

fn find(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation_level: i8,
) -> Result<Found, ResponseError> {
    let first_version = match asked.timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => i16::MAX,
    };
    let partition = partition_by_name(context, image, topic, asked.partition_index)?;
    if context.version < first_version {
        return Err(ResponseError::UnsupportedVersion);
    }
    let leader_epoch = partition.check_leader(asked.current_leader_epoch).map_err(|error| code_of(&error))?;
    let bound = if isolation_level == 1 { partition.last_stable_offset() } else { partition.high_watermark() };
    let look_up = || look_up(&partition, asked.timestamp, bound, leader_epoch).map_err(|error| code_of(&error));
    // A time is searched for in the segment files, compressed batches included.
    if is_in_memory(asked.timestamp) { look_up() } else { tokio::task::block_in_place(look_up) }
}

fn is_in_memory(timestamp: i64) -> bool {
    timestamp < 0 && timestamp != MAX_TIMESTAMP
}

fn look_up(partition: &Partition, timestamp: i64, bound: i64, leader_epoch: i32) -> Result<Found, PartitionError> {
    let reader = partition.reader();
    let found = match timestamp {
        LATEST => Found { timestamp: -1, offset: bound, leader_epoch },
        EARLIEST | EARLIEST_LOCAL => {
            let offset = reader.log_start_offset();
            Found { timestamp: -1, offset, leader_epoch: reader.epoch_for_offset(offset).unwrap_or(-1) }
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => NOTHING,
        MAX_TIMESTAMP => partition.read(LogReader::max_timestamp_offset)?.filter(|found| found.offset < bound).map_or(NOTHING, |found| Found {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
        }),
        _ => partition.read(|reader| reader.offset_for_timestamp(timestamp, bound))?.map_or(NOTHING, |found| Found {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
        }),
    };
    Ok(found)
}

fn row(version: i16, index: i32, found: Result<Found, ResponseError>) -> ListOffsetsPartitionResponse {
    let (error_code, found) = match found {
        Ok(found) => (0, found),
        Err(error) => (error.code(), NOTHING),
    };
    let mut row = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error_code)
        .with_timestamp(found.timestamp)
        .with_offset(found.offset);
    if version >= LEADER_EPOCH {
        row.leader_epoch = found.leader_epoch;
    }
    row
}
