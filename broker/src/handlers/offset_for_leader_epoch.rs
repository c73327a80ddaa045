//! OffsetForLeaderEpoch (key 23): where an epoch ends in this leader's log (KIP-101, KIP-320).
//!
//! Versions 0-4 (v1 the epoch in the answer, v2 the client's leader epoch, v3 replica id, v4 flexible). An epoch that is unknown, -1 or newer than the latest answers -1/-1
//! without an error. Source: `ReplicaManager.lastOffsetForLeaderEpoch`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use milena_metadata::image::MetadataImage;

use super::common::{code_of, partition_by_name};
use super::context::Context;

pub(super) fn handle(
    context: &Context<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = context.node.image();
    let topics = request.topics.into_iter().map(|topic| {
        let rows = topic.partitions.iter().map(|asked| row(context, &image, &topic.topic, asked)).collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(rows)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn row(context: &Context<'_>, image: &MetadataImage, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let row = EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(-1).with_end_offset(-1);
    match find(context, image, topic, asked) {
        Ok(Some((epoch, end))) => row.with_leader_epoch(epoch).with_end_offset(end),
        Ok(None) => row,
        Err(error) => row.with_error_code(error.code()),
    }
}

fn find(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ResponseError> {
    let partition = partition_by_name(context, image, topic, asked.partition)?;
    partition.check_leader(asked.current_leader_epoch).map_err(|error| code_of(&error))?;
    if asked.leader_epoch < 0 {
        return Ok(None);
    }
    Ok(partition.reader().end_offset_for_epoch(asked.leader_epoch).map(|end| (end.leader_epoch, end.end_offset)))
}
